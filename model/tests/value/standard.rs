//! The vectors of the standard.

use avvy_model::{InvalidValue, Value};

use crate::{hex, parse};

/// RFC 8949, appendix A: those of the subset that are deterministic already.
const DETERMINISTIC: &[&str] = &[
    "00",
    "01",
    "0a",
    "17",
    "1818",
    "1819",
    "1864",
    "1903e8",
    "1a000f4240",
    "1b000000e8d4a51000",
    "1bffffffffffffffff",
    "3bffffffffffffffff",
    "20",
    "29",
    "3863",
    "3903e7",
    "f90000",
    "f98000",
    "f93c00",
    "fb3ff199999999999a",
    "f93e00",
    "f97bff",
    "fa47c35000",
    "fa7f7fffff",
    "fb7e37e43c8800759c",
    "f90001",
    "f90400",
    "f9c400",
    "fbc010666666666666",
    "f97c00",
    "f97e00",
    "f9fc00",
    "f4",
    "f5",
    "f6",
    "40",
    "4401020304",
    "60",
    "6161",
    "6449455446",
    "62225c",
    "62c3bc",
    "63e6b0b4",
    "64f0908591",
    "80",
    "83010203",
    "8301820203820405",
    "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
    "a0",
    "a26161016162820203",
    "826161a161626163",
    "a56161614161626142616361436164614461656145",
];

/// RFC 8949, appendix A: those of the subset that are not, with what they become.
const OTHER_FORMS: &[(&str, &str)] = &[
    ("fa7f800000", "f97c00"),
    ("fa7fc00000", "f97e00"),
    ("faff800000", "f9fc00"),
    ("fb7ff0000000000000", "f97c00"),
    ("fb7ff8000000000000", "f97e00"),
    ("fbfff0000000000000", "f9fc00"),
    ("5f42010243030405ff", "450102030405"),
    ("7f657374726561646d696e67ff", "6973747265616d696e67"),
    ("9fff", "80"),
    ("9f018202039f0405ffff", "8301820203820405"),
    ("9f01820203820405ff", "8301820203820405"),
    ("83018202039f0405ff", "8301820203820405"),
    ("83019f0203ff820405", "8301820203820405"),
    (
        "9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff",
        "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
    ),
    ("bf61610161629f0203ffff", "a26161016162820203"),
    ("826161bf61626163ff", "826161a161626163"),
    ("bf6346756ef563416d7421ff", "a263416d74216346756ef5"),
];

/// RFC 8949, appendix A: what is outside the subset.
const OUTSIDE: &[&str] = &[
    "c249010000000000000000",
    "c349010000000000000000",
    "f7",
    "f0",
    "f8ff",
    "c074323031332d30332d32315432303a30343a30305a",
    "c11a514b67b0",
    "c1fb41d452d9e8200000",
    "d74401020304",
    "d818456449455446",
    "d82076687474703a2f2f7777772e6578616d706c652e636f6d",
    "a201020304",
];

#[test]
fn the_vectors_of_the_standard() {
    for text in DETERMINISTIC {
        assert_eq!(parse(text).as_deref(), Ok(*text));
        assert!(Value::from_canonical(&hex(text)).is_ok(), "{text}");
    }
    for (text, becomes) in OTHER_FORMS {
        assert_eq!(parse(text).as_deref(), Ok(*becomes), "{text}");
        assert_eq!(Value::from_canonical(&hex(text)), Err(InvalidValue::Malformed), "{text}");
    }
    for text in OUTSIDE {
        assert_eq!(parse(text), Err(InvalidValue::Malformed), "{text}");
    }
}
