//! Values: any CBOR in, one encoding out, and nothing else gets through.

#![allow(clippy::unwrap_used)]

use avvy_model::{AssetHash, InvalidValue, PropKey, Props, PropsPatch, Value, ValueLimits};
use proptest::collection::vec;
use proptest::prelude::*;

const LIMITS: ValueLimits =
    ValueLimits { max_value_bytes: 256, max_nesting: 4, max_key_bytes: 16, max_props_bytes: 512 };

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn parse(text: &str) -> Result<String, InvalidValue> {
    let value = Value::parse(&hex(text), &LIMITS)?;
    Ok(value.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}

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

/// A value and how to write it down badly.
#[derive(Clone, Debug)]
enum Tree {
    Int(bool, u64),
    Float(f64),
    Simple(u8),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Tree>),
    Map(Vec<(String, Tree)>),
    Asset([u8; 32]),
}

/// Choices of an encoder that likes variety.
struct Choices<'a>(std::iter::Cycle<std::slice::Iter<'a, u8>>);

impl Choices<'_> {
    fn pick(&mut self, of: u8) -> u8 {
        self.0.next().unwrap() % of
    }

    /// A head of any width that holds the argument.
    fn head(&mut self, major: u8, argument: u64, out: &mut Vec<u8>) {
        let least = match argument {
            0..=23 => 0,
            24..=0xff => 1,
            0x100..=0xffff => 2,
            0x1_0000..=0xffff_ffff => 3,
            _ => 4,
        };
        let width = least + self.pick(5 - least);
        let bytes = argument.to_be_bytes();
        match width {
            0 => out.push(major << 5 | argument as u8),
            _ => {
                out.push(major << 5 | (23 + width));
                out.extend_from_slice(&bytes[8 - (1 << (width - 1))..]);
            }
        }
    }

    fn string(&mut self, major: u8, bytes: &[u8], chunks: &[&[u8]], out: &mut Vec<u8>) {
        if self.pick(2) == 0 {
            self.head(major, bytes.len() as u64, out);
            return out.extend_from_slice(bytes);
        }
        out.push(major << 5 | 31);
        for chunk in chunks {
            self.head(major, chunk.len() as u64, out);
            out.extend_from_slice(chunk);
        }
        out.push(0xff);
    }
}

impl Tree {
    fn write(&self, choices: &mut Choices<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Int(negative, n) => choices.head(u8::from(*negative), *n, out),
            Self::Simple(byte) => out.push(*byte),
            Self::Float(float) => match choices.pick(2) {
                0 if f64::from(*float as f32) == *float => {
                    out.push(0xfa);
                    out.extend_from_slice(&(*float as f32).to_be_bytes());
                }
                _ => {
                    out.push(0xfb);
                    out.extend_from_slice(&float.to_be_bytes());
                }
            },
            Self::Bytes(bytes) => {
                let chunks: Vec<_> = bytes.chunks(3).collect();
                choices.string(2, bytes, &chunks, out);
            }
            Self::Text(text) => {
                let (a, b) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
                choices.string(3, text.as_bytes(), &[a.as_bytes(), b.as_bytes()], out);
            }
            Self::Asset(hash) => {
                choices.head(6, Value::ASSET_TAG, out);
                choices.head(2, 32, out);
                out.extend_from_slice(hash);
            }
            Self::Array(items) => choices.container(4, items.len(), out, |choices, out| {
                items.iter().for_each(|item| item.write(choices, out));
            }),
            Self::Map(entries) => {
                let turn = usize::from(choices.pick(4)) % entries.len().max(1);
                choices.container(5, entries.len(), out, |choices, out| {
                    for (key, value) in entries[turn..].iter().chain(&entries[..turn]) {
                        choices.head(3, key.len() as u64, out);
                        out.extend_from_slice(key.as_bytes());
                        value.write(choices, out);
                    }
                });
            }
        }
    }
}

impl Choices<'_> {
    fn container(
        &mut self,
        major: u8,
        count: usize,
        out: &mut Vec<u8>,
        body: impl FnOnce(&mut Self, &mut Vec<u8>),
    ) {
        let indefinite = self.pick(2) == 0;
        if indefinite {
            out.push(major << 5 | 31);
        } else {
            self.head(major, count as u64, out);
        }
        body(self, out);
        if indefinite {
            out.push(0xff);
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let number = prop_oneof![0..30u64, 0..300u64, 0..70_000u64, any::<u64>()];
    let float =
        prop_oneof![any::<f64>(), any::<f32>().prop_map(f64::from), Just(1.5), Just(f64::NAN)];
    let leaf = prop_oneof![
        (any::<bool>(), number).prop_map(|(negative, n)| Tree::Int(negative, n)),
        float.prop_map(Tree::Float),
        (0xf4..0xf7u8).prop_map(Tree::Simple),
        vec(any::<u8>(), 0..30).prop_map(Tree::Bytes),
        ".{0,12}".prop_map(Tree::Text),
        any::<[u8; 32]>().prop_map(Tree::Asset),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Tree::Array),
            prop::collection::btree_map(".{0,4}", inner, 0..5)
                .prop_map(|entries| Tree::Map(entries.into_iter().collect())),
        ]
    })
}

/// What another library makes of a value, written again.
fn through_ciborium(bytes: &[u8]) -> Vec<u8> {
    let value: ciborium::Value = ciborium::from_reader(bytes).unwrap();
    let mut out = Vec::new();
    ciborium::into_writer(&value, &mut out).unwrap();
    out
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// However a value is written, it becomes the same bytes, which are
    /// canonical, and which another library writes the same.
    #[test]
    fn every_way_to_write_a_value_ends_in_one(
        tree in tree(), a in vec(any::<u8>(), 1..40), b in vec(any::<u8>(), 1..40),
    ) {
        let write = |choices: &[u8]| {
            let mut out = Vec::new();
            tree.write(&mut Choices(choices.iter().cycle()), &mut out);
            out
        };
        let (one, other) = (write(&a), write(&b));
        let value = Value::parse(&one, &ValueLimits::NONE).unwrap();
        prop_assert_eq!(&value, &Value::parse(&other, &ValueLimits::NONE).unwrap());
        prop_assert_eq!(&value, &Value::parse(value.as_bytes(), &ValueLimits::NONE).unwrap());
        prop_assert_eq!(&Value::from_canonical(value.as_bytes()).unwrap(), &value);
        prop_assert_eq!(Value::from_canonical(&one).is_ok(), one == value.as_bytes());
        prop_assert_eq!(through_ciborium(value.as_bytes()), value.as_bytes());
        prop_assert!(value.as_bytes().len() <= one.len());
        for end in 0..one.len() {
            prop_assert!(Value::parse(&one[..end], &ValueLimits::NONE).is_err());
        }
    }

    /// Any bytes: an error, or a value within the limits that stays what it is.
    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes in vec(wild_byte(), 0..60)) {
        for limits in [LIMITS, ValueLimits::NONE, ValueLimits::default()] {
            if let Ok(value) = Value::parse(&bytes, &limits) {
                prop_assert!(value.as_bytes().len() <= limits.max_value_bytes);
                prop_assert_eq!(&Value::from_canonical(value.as_bytes()).unwrap(), &value);
            }
            if let Ok(props) = Props::parse(&bytes, &limits) {
                prop_assert!(props.as_bytes().len() <= limits.max_props_bytes);
                prop_assert_eq!(&Props::from_canonical(props.as_bytes()).unwrap(), &props);
                prop_assert!(props.iter().all(|(key, _)| key.len() <= limits.max_key_bytes));
            }
        }
        if let Ok(value) = Value::from_canonical(&bytes) {
            prop_assert_eq!(Value::parse(&bytes, &ValueLimits::NONE).unwrap(), value);
        }
        if let Ok(props) = Props::from_canonical(&bytes) {
            prop_assert_eq!(Props::parse(&bytes, &ValueLimits::NONE).unwrap(), props);
        }
    }
}

/// Bytes that are often heads.
fn wild_byte() -> impl Strategy<Value = u8> {
    let heads = vec![
        0x00, 0x18, 0x1b, 0x20, 0x40, 0x41, 0x5f, 0x60, 0x61, 0x62, 0x7f, 0x80, 0x81, 0x82, 0x9f,
        0xa0, 0xa1, 0xa2, 0xbf, 0xda, 0xf4, 0xf6, 0xf9, 0xfa, 0xfb, 0xff,
    ];
    prop_oneof![3 => prop::sample::select(heads), 1 => any::<u8>()]
}
