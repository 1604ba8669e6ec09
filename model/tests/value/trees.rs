//! Drawn values, written down in drawn ways, and drawn bytes.

use avvy_model::{Props, Value, ValueLimits};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::LIMITS;

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

/// Bytes that are often heads.
fn wild_byte() -> impl Strategy<Value = u8> {
    let heads = vec![
        0x00, 0x18, 0x1b, 0x20, 0x40, 0x41, 0x5f, 0x60, 0x61, 0x62, 0x7f, 0x80, 0x81, 0x82, 0x9f,
        0xa0, 0xa1, 0xa2, 0xbf, 0xda, 0xf4, 0xf6, 0xf9, 0xfa, 0xfb, 0xff,
    ];
    prop_oneof![3 => prop::sample::select(heads), 1 => any::<u8>()]
}
