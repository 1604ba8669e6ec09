//! Properties and patches of them.

use avvy_model::{InvalidValue, PropKey, Props, PropsPatch, Value};

use crate::{LIMITS, hex};

fn key(text: &str) -> PropKey {
    PropKey::new(text, &LIMITS).unwrap()
}

#[test]
fn properties_are_a_map_with_bounded_keys() {
    let props = |text: &str| Props::parse(&hex(text), &LIMITS);
    assert_eq!(props("a0").unwrap(), Props::default());
    assert_eq!(props("bfff").unwrap(), Props::default());
    assert!(props("a0").unwrap().is_empty());
    assert_eq!(
        props("a26162016161 02".replace(' ', "").as_str()).unwrap().as_bytes(),
        hex("a2616102616201")
    );
    assert_eq!(props("a16000"), Err(InvalidValue::Key));
    assert_eq!(props(&format!("a171{}00", "61".repeat(17))), Err(InvalidValue::Key));
    assert!(props(&format!("a170{}00", "61".repeat(16))).is_ok());
    for wrong in ["80", "00", "f6", "a10000", "a2616100616100", "a161", "a1616100 00"] {
        assert_eq!(props(&wrong.replace(' ', "")), Err(InvalidValue::Malformed), "{wrong}");
    }
}

#[test]
fn properties_together_are_bounded() {
    let entry =
        |n: u8| format!("62{:02x}{:02x}58f0{}", b'a' + n / 26, b'a' + n % 26, "00".repeat(240));
    let map = |count: u8, head: &str, tail: &str| {
        hex(&format!("{head}{}{tail}", (0..count).map(entry).collect::<String>()))
    };
    assert!(Props::parse(&map(2, "a2", ""), &LIMITS).is_ok());
    assert_eq!(Props::parse(&map(3, "a3", ""), &LIMITS), Err(InvalidValue::PropsTooLarge));
    assert_eq!(Props::parse(&map(3, "bf", "ff"), &LIMITS), Err(InvalidValue::PropsTooLarge));
    assert_eq!(Props::parse(&map(20, "bf", ""), &LIMITS), Err(InvalidValue::PropsTooLarge));
}

#[test]
fn a_patch_sets_and_removes_and_can_be_undone() {
    let patch = |entries: &[(&str, Option<i64>)]| {
        let entries = entries.iter().map(|(k, v)| (key(k), v.map(Value::int)));
        PropsPatch::new(entries.collect()).unwrap()
    };
    let (first, undo) =
        Props::default().patched(&patch(&[("b", Some(1)), ("aa", Some(2))]), &LIMITS).unwrap();
    assert_eq!(undo, patch(&[("b", None), ("aa", None)]));
    assert_eq!(first.iter().map(|(k, _)| k).collect::<Vec<_>>(), ["b", "aa"]);
    assert_eq!(first.get("aa"), Some(Value::int(2)));
    assert_eq!(first.get("a"), None);
    let change = patch(&[("a", Some(9)), ("aa", None), ("b", Some(3)), ("zz", None)]);
    let (second, undo) = first.patched(&change, &LIMITS).unwrap();
    assert_eq!(second.as_bytes(), hex("a2616109616203"));
    assert_eq!(undo, patch(&[("a", None), ("aa", Some(2)), ("b", Some(1)), ("zz", None)]));
    assert_eq!(second.patched(&undo, &LIMITS).unwrap().0, first);
    let large = PropsPatch::new(vec![(key("k"), Some(Value::text(&"x".repeat(600))))]).unwrap();
    assert_eq!(first.patched(&large, &LIMITS), Err(InvalidValue::PropsTooLarge));
    let twice = vec![(key("k"), None), (key("k"), Some(Value::null()))];
    assert_eq!(PropsPatch::new(twice), Err(InvalidValue::Malformed));
}
