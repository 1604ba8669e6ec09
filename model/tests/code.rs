//! Codes are for ever: clients of any age compare with these numbers.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use avvy_model::Code;

/// Every code ever given out. Lines are added and never changed or removed.
const GIVEN: &[(u16, &str)] = &[
    (1000, "malformed"),
    (1001, "too_large"),
    (1002, "unknown_operation"),
    (1003, "unsupported_version"),
    (1004, "not_authenticated"),
    (1005, "token_invalid"),
    (1006, "token_expired"),
    (1007, "forbidden"),
    (1008, "not_found"),
    (1009, "rate_limited"),
    (1010, "unavailable"),
    (1011, "internal"),
    (1012, "not_joined"),
    (1013, "already_joined"),
    (1014, "too_many_channels"),
    (1015, "exists"),
    (1016, "unsupported_media_type"),
    (1017, "timeout"),
    (1018, "brane_full"),
    (1019, "damaged"),
    (1020, "method_not_allowed"),
    (1021, "too_many_branes"),
    (1022, "no_pose"),
    (1023, "too_many_sessions"),
    (1024, "moved"),
    (1025, "token_revoked"),
    (1026, "proof_invalid"),
    (1027, "banned"),
    (1028, "muted"),
    (1029, "key_reused"),
    (1030, "in_progress"),
    (1031, "precondition_failed"),
    (1032, "precondition_required"),
    (1033, "brane_archived"),
    (1034, "brane_deleted"),
    (1035, "archived_by_operator"),
    (1100, "conflict"),
    (1102, "published"),
    (1103, "not_published"),
    (1104, "superseded"),
    (1105, "in_group"),
    (1106, "in_transfer"),
    (1107, "tree_too_large"),
    (1108, "gallery_full"),
    (1109, "too_many_own_objects"),
    (1110, "too_many_own_bytes"),
    (1111, "too_many_prototypes"),
    (1112, "too_many_drafts"),
    (2000, "object_not_found"),
    (2001, "object_exists"),
    (2002, "parent_not_found"),
    (2003, "parent_not_group"),
    (2004, "cycle"),
    (2005, "too_deep"),
    (2006, "too_many_objects"),
    (2007, "handles_exhausted"),
    (2008, "root_protected"),
    (2009, "out_of_range"),
    (2010, "value_too_large"),
    (2011, "props_too_large"),
    (2012, "value_malformed"),
    (2013, "empty"),
    (2014, "batch_too_large"),
    (2015, "touches_too_many"),
    (2016, "not_permitted"),
    (2017, "outcome_unknown"),
    (2018, "client_unknown"),
    (2019, "client_taken"),
    (2020, "edit_too_large"),
    (2021, "brane_too_large"),
    (2022, "role_unknown"),
    (2023, "role_in_use"),
    (2024, "grant_not_found"),
    (2025, "grant_exists"),
    (2026, "beyond_own_rights"),
    (2027, "too_many_rights"),
    (2028, "ruling_invalid"),
    (2029, "property_reserved"),
    (2030, "prototype_followed"),
    (2031, "prototype_not_followed"),
    (2032, "prototype_in_use"),
    (2033, "too_many_followed"),
    (2034, "cell_taken"),
    (2035, "cells_overlap"),
    (2036, "footprint_invalid"),
    (2037, "too_many_cells"),
    (2038, "carrier_not_found"),
    (2039, "slot_not_found"),
    (2040, "slot_taken"),
    (2041, "interface_invalid"),
];

#[test]
fn no_code_changes_or_is_used_again() {
    let now: Vec<_> = Code::ALL.iter().map(|code| (code.number(), code.name())).collect();
    assert_eq!(now, GIVEN);
}

#[test]
fn numbers_and_names_are_unique() {
    let numbers: BTreeSet<_> = Code::ALL.iter().map(|code| code.number()).collect();
    let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!((numbers.len(), names.len()), (Code::ALL.len(), Code::ALL.len()));
}

#[test]
fn a_code_is_found_by_its_number_and_its_name() {
    for code in Code::ALL {
        assert_eq!(Code::from_number(code.number()), Some(*code));
        assert_eq!(Code::from_name(code.name()), Some(*code));
        assert_eq!(code.to_string(), code.name());
    }
    let known: BTreeSet<_> = Code::ALL.iter().map(|code| code.number()).collect();
    for number in 0..=u16::MAX {
        assert_eq!(Code::from_number(number).is_some(), known.contains(&number));
    }
    assert_eq!(Code::from_name("no_such_code"), None);
}

#[test]
fn every_code_has_a_meaning_for_people() {
    for code in Code::ALL {
        assert!(code.meaning().ends_with('.') || code.meaning().ends_with('`'), "{code}");
        assert!(code.meaning().len() > 8, "{code}");
    }
}
