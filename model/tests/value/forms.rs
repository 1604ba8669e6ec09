//! The many forms of a value, by hand: the one that is kept, what is
//! malformed, and what is too large.

use avvy_model::{AssetHash, InvalidValue, Props, Value, ValueLimits};

use crate::{LIMITS, hex, parse};

#[test]
fn longer_heads_become_the_shortest() {
    for (text, becomes) in [
        ("1817", "17"),
        ("190017", "17"),
        ("1a00000018", "1818"),
        ("1b00000000000000ff", "18ff"),
        ("1b0000000000000100", "190100"),
        ("1b00000000ffffffff", "1affffffff"),
        ("3800", "20"),
        ("3b00000000000000ff", "38ff"),
        ("5800", "40"),
        ("780161", "6161"),
        ("9a00000000", "80"),
        ("b90001780161f5", "a16161f5"),
        ("fa3fc00000", "f93e00"),
        ("fb3ff8000000000000", "f93e00"),
        ("fb40f86a0000000000", "fa47c35000"),
        ("f97e01", "f97e00"),
        ("fb7ff0000000000001", "f97e00"),
        ("fa33800000", "f90001"),
    ] {
        assert_eq!(parse(text).as_deref(), Ok(becomes), "{text}");
    }
}

#[test]
fn an_asset_is_a_tag_around_32_bytes() {
    let asset = Value::asset(AssetHash([7; 32]));
    let text = format!("da003f6a615820{}", "07".repeat(32));
    assert_eq!(parse(&text).as_deref(), Ok(&*text));
    assert_eq!(asset.as_bytes(), hex(&text));
    let wide = format!("db00000000003f6a61590020{}", "07".repeat(32));
    assert_eq!(parse(&wide).as_deref(), Ok(&*text));
    for wrong in [
        format!("da003f6a61581f{}", "07".repeat(31)),
        format!("da003f6a625820{}", "07".repeat(32)),
        format!("da003f6a615f5820{}ff", "07".repeat(32)),
        format!("da003f6a617820{}", "07".repeat(32)),
        "da003f6a61f6".to_owned(),
        "da003f6a61".to_owned(),
    ] {
        assert_eq!(parse(&wrong), Err(InvalidValue::Malformed), "{wrong}");
    }
}

#[test]
fn keys_are_sorted_and_come_once() {
    assert_eq!(
        parse("a3626161016162026161 03".replace(' ', "").as_str()).unwrap(),
        "a361610361620262616101"
    );
    for twice in ["a2616101616102", "bf616101616102ff", "a261610178016102", "81a2616101616102"] {
        assert_eq!(parse(twice), Err(InvalidValue::Malformed), "{twice}");
    }
}

#[test]
fn lengths_that_lie_end_with_the_bytes() {
    for text in [
        "5bffffffffffffffff00",
        "7bffffffffffffffff61",
        "9bffffffffffffffff00",
        "bbffffffffffffffff616100",
        "5b7fffffffffffffff",
        "9b7fffffffffffffff",
        "9affffffff",
        "ba00ffffff",
        "5f5bffffffffffffffff",
        "7f7bffffffffffffffffff",
        "8200",
        "a16161",
        "5f",
        "7f",
        "9f",
        "bf",
        "bf6161",
        "5f00ff",
        "7f4161ff",
        "5f5f4100ffff",
        "7f7f6161ffff",
        "5f6161ff",
        "ff",
        "81ff",
        "9fa0",
        "",
        "18",
        "19ff",
        "1b00000000000000",
        "f9",
        "fa000000",
        "fb00000000000000",
        "61ff",
        "62c328",
        "7f61c361bcff",
        "1c",
        "1d",
        "1e",
        "1f",
        "3f",
        "5c",
        "7c",
        "9c",
        "bc",
        "dc",
        "df",
        "f818",
        "fc",
        "fd",
        "fe",
    ] {
        assert_eq!(parse(text), Err(InvalidValue::Malformed), "{text}");
    }
}

#[test]
fn more_than_one_item_is_none() {
    assert_eq!(parse("0000"), Err(InvalidValue::Malformed));
    assert_eq!(parse("8000"), Err(InvalidValue::Malformed));
    assert_eq!(Value::from_canonical(&[0, 0]), Err(InvalidValue::Malformed));
    let mut decoder = minicbor::Decoder::new(&[0x01, 0x18, 0x02, 0x03]);
    let read: Vec<_> = (0..3).map(|_| Value::read(&mut decoder, &LIMITS).unwrap()).collect();
    assert_eq!(read, [Value::int(1), Value::int(2), Value::int(3)]);
}

#[test]
fn depth_is_bounded_whatever_the_limits() {
    let deep = |open: &str, close: &str, levels: usize| {
        hex(&format!("{}00{}", open.repeat(levels), close.repeat(levels)))
    };
    let forms = [("81", ""), ("9f", "ff"), ("a16161", ""), ("bf6161", "ff"), ("8101", "")];
    for (open, close) in &forms[..4] {
        assert!(Value::parse(&deep(open, close, 4), &LIMITS).is_ok());
        let refused = Value::parse(&deep(open, close, 5), &LIMITS);
        assert_eq!(refused, Err(InvalidValue::TooLarge));
    }
    for (open, close) in forms {
        let bytes = deep(open, close, 200_000);
        assert!(Value::parse(&bytes, &ValueLimits::NONE).is_err());
        assert!(Value::from_canonical(&bytes).is_err());
        assert!(Props::parse(&bytes, &ValueLimits::NONE).is_err());
    }
    let deepest = deep("81", "", Value::MAX_NESTING as usize);
    assert!(Value::parse(&deepest, &ValueLimits::NONE).is_ok());
    assert!(Value::from_canonical(&deepest).is_ok());
    assert!(Value::from_canonical(&[&[0x81], &*deepest].concat()).is_err());
}

#[test]
fn size_is_bounded() {
    let text = |len: usize| [&[0x79, (len >> 8) as u8, len as u8], &*vec![b'a'; len]].concat();
    assert!(Value::parse(&text(253), &ValueLimits { max_value_bytes: 254, ..LIMITS }).is_err());
    assert!(Value::parse(&text(253), &ValueLimits { max_value_bytes: 255, ..LIMITS }).is_ok());
    let longest = text(256);
    let exact = ValueLimits { max_value_bytes: 259, ..LIMITS };
    assert!(Value::parse(&longest, &exact).is_ok());
    let less = ValueLimits { max_value_bytes: 258, ..LIMITS };
    assert_eq!(Value::parse(&longest, &less), Err(InvalidValue::TooLarge));
    // A flood of small items, in either kind of length.
    for head in [&[0x9a, 0, 0x0f, 0x42, 0x40][..], &[0x9f]] {
        let flood = [head, &vec![0; 1_000_000]].concat();
        assert_eq!(Value::parse(&flood, &LIMITS), Err(InvalidValue::TooLarge));
    }
}

#[test]
fn floats_take_the_shortest_form_that_holds_them() {
    for (float, len) in [
        (0.0, 3),
        (-0.0, 3),
        (1.5, 3),
        (65_504.0, 3),
        (65_505.0, 5),
        (5.960_464_477_539_063e-8, 3),
        (2.980_232_238_769_531_3e-8, 5),
        (f64::from(f32::MAX), 5),
        (f64::from(f32::MIN_POSITIVE), 5),
        (f64::from(f32::MAX) * 2.0, 9),
        (0.1, 9),
        (f64::MIN_POSITIVE, 9),
        (f64::INFINITY, 3),
        (f64::NEG_INFINITY, 3),
        (f64::NAN, 3),
        (-f64::NAN, 3),
    ] {
        assert_eq!(Value::float(float).as_bytes().len(), len, "{float}");
    }
    assert_eq!(Value::float(-f64::NAN), Value::float(f64::NAN));
    assert_ne!(Value::float(-0.0), Value::float(0.0));
}
