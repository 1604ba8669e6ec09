//! What the nodes of a fleet share in Redis, where others may write, too.

use std::fmt::Debug;

use avvy_auth::Revocation;
use avvy_model::{BraneId, Epoch, NodeId, UserId};
use avvy_persistence::cache::{BraneRecords, Member, Model, RecordsByKey, fuzzing};
use avvy_persistence::{BraneRecord, Life};
use bytes::Bytes;
use uuid::Uuid;

use crate::after;

/// Under which values are found.
const KEY: &str = "avvyland:brane:3:07070707-0707-0707-0707-070707070707";

/// What is read there, by the first byte of an input.
const VALUE: u8 = 0;
const NOTICE: u8 = 1;
const KEY_OF_NOTICE: u8 = 2;
const REVOKED: u8 = 3;
const BRANE: u8 = 4;

/// What stands under a key, what nodes tell each other, a page of what was
/// revoked, and the record of a brane.
pub fn cache(bytes: &[u8]) {
    match bytes.split_first() {
        Some((&VALUE, bytes)) => value(bytes),
        Some((&NOTICE, bytes)) => notice(bytes),
        Some((&KEY_OF_NOTICE, bytes)) => {
            key::<BraneRecords>(bytes);
            key::<RecordsByKey>(bytes);
        }
        Some((&REVOKED, bytes)) => revoked(bytes),
        Some((&BRANE, bytes)) => brane(bytes),
        _ => {}
    }
}

fn value(bytes: &[u8]) {
    let found = fuzzing::frame(KEY, &Bytes::copy_from_slice(bytes));
    let Some((body, written)) = found else { return };
    assert_eq!(written, bytes, "a value has one frame");
    body.iter().for_each(|body| brane(body));
}

fn notice(bytes: &[u8]) {
    let Some(written) = fuzzing::notice(bytes) else { return };
    assert_eq!(fuzzing::notice(written.as_bytes()).as_ref(), Some(&written));
}

/// The key that a notice names.
fn key<M: Model<Key: Debug>>(bytes: &[u8]) {
    let Some(key) = str::from_utf8(bytes).ok().and_then(M::key_of) else { return };
    let text = M::key_text(&key);
    assert!(text.len() <= 192 && !text.contains(' '), "{text:?}");
    assert_eq!(M::key_of(&text), Some(key));
}

fn revoked(bytes: &[u8]) {
    let Some((members, pages)) = fuzzing::page(bytes) else { return };
    let again = pages.iter().flat_map(|page| fuzzing::page(page).expect("it was written").0);
    assert_eq!(again.collect::<Vec<_>>(), members);
    for Member { name, until_s } in members {
        if let Some(revocation) = Revocation::of(&name, until_s) {
            assert_eq!((revocation.name(), revocation.until_s()), (name, until_s));
        }
    }
}

fn brane(bytes: &[u8]) {
    let Some(record) = BraneRecords::decode(bytes) else { return };
    assert_eq!(BraneRecords::encode(&record), bytes, "a record has one form");
    assert!(BraneRecords::weight(&record) > 0);
}

/// One of each, as nodes write it.
pub fn seeds() -> Vec<Vec<u8>> {
    let (id, user) = (BraneId::from_bytes([7; 16]), UserId::from_bytes([9; 16]));
    let (node, epoch) = (NodeId::from_bytes([8; 16]), Epoch(3));
    let brane = BraneRecord {
        name: "Workshop".to_owned(),
        description: "Where we build.".to_owned(),
        tags: vec!["wood".to_owned()],
        life: Life::Archived { since_ms: 8, successor: Some(BraneId::from_bytes([6; 16])) },
        by_operator: true,
        version: 3,
        ..BraneRecord::new(id, user, 7)
    };
    let brane = BraneRecords::encode(&brane);
    let values = [Some(brane.clone().into()), None];
    let framed = values.into_iter().flat_map(|body| fuzzing::framed(KEY, 1_000, 9_000, body));
    let notices = [
        format!("gone brane {id}"),
        "added revoked".to_owned(),
        format!("moved {id} {epoch} {node}"),
        format!("here {node}"),
    ];
    let keys = [id.to_string(), format!("users/{user}")];
    let token = Revocation::token(user, Uuid::from_u128(5), Some(100), 50);
    let before = Revocation::Before { user, issued_s: 40, is_lasting: true };
    let member = |one: Revocation| {
        let name = one.name();
        [&[name.len() as u8][..], &name, &one.until_s().to_le_bytes()].concat()
    };
    let page = [member(token), member(before)].concat();
    let framed = framed.map(|frame| after(VALUE, &frame));
    let notices = notices.iter().map(|notice| after(NOTICE, notice.as_bytes()));
    let keys = keys.iter().map(|key| after(KEY_OF_NOTICE, key.as_bytes()));
    let others = [after(REVOKED, &page), after(BRANE, &brane)];
    framed.chain(notices).chain(keys).chain(others).collect()
}
