//! Interfaces: an object offers up to nine slots of a 3 x 3 grid, and others
//! are attached to them.
//!
//! What an object offers is its property [`Object::SLOTS_KEY`], a list of
//! numbers from 1 to 9, row by row. What it is attached to is its property
//! [`Object::ATTACHED_KEY`], a map `{to: id, slot: number}`.

use minicbor::Decoder;

use crate::{Object, ObjectId, PropKey, Props, PropsPatch, Value, ValueLimits};

/// A place of the 3 x 3 grid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(u8);

impl Slot {
    /// The slot of this number, 1 to 9.
    pub fn new(number: u8) -> Option<Self> {
        (1..=9).contains(&number).then_some(Self(number))
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// The slots that an object offers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Slots(u16);

impl Slots {
    /// Those that an object with these properties offers, none without the
    /// property; `None` when it says something else than slots.
    pub fn of(props: &Props) -> Option<Self> {
        let Some(value) = props.get(Object::SLOTS_KEY) else { return Some(Self::default()) };
        let mut d = Decoder::new(value.as_bytes());
        let count = d.array().ok()??;
        let mut slots = Self::default();
        for _ in 0..count {
            slots.0 |= 1 << Slot::new(d.u8().ok()?)?.number();
        }
        // Each once.
        (u64::from(slots.0.count_ones()) == count).then_some(slots)
    }

    /// Whether this one is offered.
    pub const fn has(self, slot: Slot) -> bool {
        self.0 & 1 << slot.0 != 0
    }
}

/// What an object is attached to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Attachment {
    /// The object that offers the slot: the carrier.
    pub to: ObjectId,
    /// Which one.
    pub slot: Slot,
}

impl Attachment {
    const TO: &str = "to";
    const SLOT: &str = "slot";

    /// That of an object with these properties, if any; `Err` when the
    /// property says something else than an attachment.
    ///
    /// # Errors
    /// [`NotAttachment`].
    pub fn of(props: &Props) -> Result<Option<Self>, NotAttachment> {
        let [value] = props.values([Object::ATTACHED_KEY]);
        value.map(|value| Self::from_value(value).ok_or(NotAttachment)).transpose()
    }

    /// The one that a value of [`Object::ATTACHED_KEY`] says.
    pub fn from_value(value: &[u8]) -> Option<Self> {
        let fields = Props::from_canonical(value).ok()?;
        let [to, slot] = fields.values([Self::TO, Self::SLOT]);
        Some(Self {
            to: Decoder::new(to?).str().ok()?.parse().ok()?,
            slot: Slot::new(Decoder::new(slot?).u8().ok()?)?,
        })
    }

    /// The property that says so.
    pub fn entry(&self) -> Option<(PropKey, Value)> {
        let key = |name| PropKey::new(name, &ValueLimits::NONE);
        let to = (key(Self::TO).ok()?, Value::text(&self.to.to_string()));
        let slot = (key(Self::SLOT).ok()?, Value::int(self.slot.number().into()));
        let map = Props::from_entries(vec![to, slot], &ValueLimits::NONE).ok()?;
        Some((key(Object::ATTACHED_KEY).ok()?, Value::from_canonical(map.as_bytes()).ok()?))
    }

    /// The change of properties that ends any attachment.
    pub fn end() -> PropsPatch {
        let key = PropKey::new(Object::ATTACHED_KEY, &ValueLimits::NONE);
        key.and_then(|key| PropsPatch::new(vec![(key, None)])).unwrap_or_default()
    }
}

/// A value that names no object and slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a map of an object's id and a slot from 1 to 9")]
pub struct NotAttachment;

impl Object {
    /// The property that says which slots an object offers.
    pub const SLOTS_KEY: &str = "slots";
    /// The property that says what an object is attached to.
    pub const ATTACHED_KEY: &str = "attached";
}
