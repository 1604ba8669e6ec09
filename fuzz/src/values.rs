//! Property values.

use avvy_model::{Props, Value, ValueLimits};

/// One value, made canonical.
pub fn value(bytes: &[u8]) {
    let Ok(value) = Value::parse(bytes, &ValueLimits::default()) else { return };
    let again = Value::from_canonical(value.as_bytes());
    assert_eq!(again.as_ref(), Ok(&value), "the canonical form is canonical");
}

/// The properties of an object.
pub fn props(bytes: &[u8]) {
    let Ok(props) = Props::parse(bytes, &ValueLimits::default()) else { return };
    let again = Props::from_canonical(props.as_bytes());
    assert_eq!(again.as_ref(), Ok(&props), "the canonical form is canonical");
    for (key, value) in props.iter() {
        assert_eq!(props.get(key).map(|found| found.as_bytes().to_vec()), Some(value.to_vec()));
    }
}
