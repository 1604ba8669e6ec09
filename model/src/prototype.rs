//! What a brane follows of the prototypes that its objects were made from.
//!
//! An object whose property [`Object::PROTOTYPE_KEY`] names a prototype is an
//! instance of it. Of a prototype that the brane follows, an instance has the
//! defaults, except for those keys that it has itself: its own properties are
//! what it overrides. Nothing of that is written to the instances, so another
//! version under any number of them is one change.
//!
//! What is followed is a property of the root: its key is
//! [`Followed::PREFIX`] and the prototype's id, its value the map
//! `{number, version, defaults}`. So the journal, snapshots, differences,
//! copies and the state hash hold it as they hold any other property of the
//! root, which every viewer has. Only the server sets such a property, as only
//! it can say what the defaults are: by [`Follow`], which no client can send.

use minicbor::Decoder;

use crate::{
    Handle, InvalidValue, Object, Operation, PropKey, Props, PropsPatch, PrototypeId, Target,
    Value, ValueLimits,
};

/// A version of a prototype that a brane follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Followed {
    /// Which version.
    pub version: PrototypeId,
    /// Its number among the prototype's versions, for people.
    pub number: u32,
    /// What instances have that do not have it themselves.
    pub defaults: Props,
}

impl Followed {
    /// With what the keys of root properties begin that say what is followed.
    pub const PREFIX: &str = "prototype:";

    const NUMBER: &str = "number";
    const VERSION: &str = "version";
    const DEFAULTS: &str = "defaults";

    /// The root's property of a prototype.
    pub fn key(prototype: PrototypeId) -> PropKey {
        key(&format!("{}{prototype}", Self::PREFIX))
    }

    /// Whether a property of the root is for the server alone to set.
    pub fn is_key(key: &str) -> bool {
        key.starts_with(Self::PREFIX)
    }

    /// What the root with these properties says of a prototype. A value that
    /// the server did not set, from before it was for it alone, says nothing.
    pub fn of_root(root: &Props, prototype: PrototypeId) -> Option<Self> {
        Self::from_value(root.get(Self::key(prototype).as_str())?.as_bytes())
    }

    /// All that the root with these properties follows, by key.
    pub fn all(root: &Props) -> impl Iterator<Item = (PrototypeId, Self)> {
        root.iter().filter_map(|(key, value)| {
            let prototype = key.strip_prefix(Self::PREFIX)?.parse().ok()?;
            Some((prototype, Self::from_value(value)?))
        })
    }

    /// Bytes of keys and values in a root's properties that say what is
    /// followed, and how many there are.
    pub fn weigh(root: &Props) -> (usize, usize) {
        let entries = root.iter().filter(|(key, _)| Self::is_key(key));
        entries.fold((0, 0), |(bytes, count), (key, value)| {
            // A key of this length has a head of two bytes.
            (bytes + 2 + key.len() + value.len(), count + 1)
        })
    }

    /// The root's property.
    ///
    /// # Errors
    /// [`InvalidValue::Malformed`] when the defaults are nested as deep as
    /// values can be.
    pub fn to_value(&self) -> Result<Value, InvalidValue> {
        let entries = vec![
            (key(Self::NUMBER), Value::int(self.number.into())),
            (key(Self::VERSION), Value::text(&self.version.to_string())),
            (key(Self::DEFAULTS), Value::from_canonical(self.defaults.as_bytes())?),
        ];
        Value::from_canonical(Props::from_entries(entries, &ValueLimits::NONE)?.as_bytes())
    }

    fn from_value(value: &[u8]) -> Option<Self> {
        let fields = Props::from_canonical(value).ok()?;
        let number = fields.get(Self::NUMBER)?;
        Some(Self {
            number: Decoder::new(number.as_bytes()).u32().ok()?,
            version: prototype_id(fields.get(Self::VERSION)?.as_bytes())?,
            defaults: Props::from_canonical(fields.get(Self::DEFAULTS)?.as_bytes()).ok()?,
        })
    }
}

impl Object {
    /// Of which prototype it is an instance, if any.
    pub fn prototype(&self) -> Option<PrototypeId> {
        let [prototype] = self.props.values([Self::PROTOTYPE_KEY]);
        prototype_id(prototype?)
    }

    /// The properties that it has in a brane whose root has `root`: its own,
    /// and the defaults of its prototype if the brane follows that. `None`
    /// when these are just its own.
    pub fn in_effect(&self, root: &Props) -> Option<Props> {
        let followed = Followed::of_root(root, self.prototype()?)?;
        Some(self.props.over(&followed.defaults))
    }
}

fn key(text: &str) -> PropKey {
    PropKey::new(text, &ValueLimits::NONE).expect("a key that is not empty")
}

/// The prototype that the value of [`Object::PROTOTYPE_KEY`] names: the text of
/// an id as it is always written, in lower case.
pub fn prototype_id(value: &[u8]) -> Option<PrototypeId> {
    let text = Decoder::new(value).str().ok()?;
    let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    text.parse().ok().filter(|_| is_lower)
}

/// What becomes of a prototype in a brane.
#[derive(Clone, PartialEq, Debug)]
pub enum FollowStep {
    /// The brane begins to follow it.
    Adopt(Followed),
    /// It follows another version of it.
    Update {
        /// The version that it follows.
        from: PrototypeId,
        /// The one that it is to follow.
        to: Followed,
    },
    /// It follows it no longer.
    Drop,
}

/// An edit by which a brane follows a prototype, another version of it, or
/// none any more, and what is done in the same edit. Only the server makes
/// one, for a user whose rights decide.
#[derive(Clone, PartialEq, Debug)]
pub struct Follow {
    prototype: PrototypeId,
    step: FollowStep,
    operations: Vec<Operation>,
}

impl Follow {
    /// The step, and then these operations, such as the creation of a first
    /// instance.
    ///
    /// # Errors
    /// As [`Followed::to_value`].
    pub fn new(
        prototype: PrototypeId,
        step: FollowStep,
        then: Vec<Operation>,
    ) -> Result<Self, InvalidValue> {
        let value = match &step {
            FollowStep::Adopt(to) | FollowStep::Update { to, .. } => Some(to.to_value()?),
            FollowStep::Drop => None,
        };
        let patch = PropsPatch::new(vec![(Followed::key(prototype), value)])?;
        let mut operations =
            vec![Operation::Update { target: Target::Handle(Handle::ROOT), patch }];
        operations.extend(then);
        Ok(Self { prototype, step, operations })
    }

    /// Of which prototype.
    pub const fn prototype(&self) -> PrototypeId {
        self.prototype
    }

    /// What becomes of it.
    pub const fn step(&self) -> &FollowStep {
        &self.step
    }

    /// The update of the root that it is, and what follows.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }
}
