//! Portals: an object leads to another brane.
//!
//! An object whose property [`Object::PORTAL_KEY`] is the id of a brane is a
//! portal to it. Whoever goes through arrives at the object there that its
//! property [`Object::PORTAL_EXIT_KEY`] names, or where the brane lets people
//! in if it names none or one that is not there.
//!
//! A portal is **two-way** when the object at its exit is a portal that leads
//! back to it. So which it is depends on both branes as they are when somebody
//! asks, and no edit has to reach into two of them at once.

use std::str::FromStr;

use minicbor::Decoder;

use crate::{BraneId, Object, ObjectId, PropKey, Props, Value, ValueLimits};

/// Where an object leads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Portal {
    /// The brane.
    pub to: BraneId,
    /// The object there at which one arrives.
    pub exit: Option<ObjectId>,
}

impl Portal {
    /// That of an object with these properties. What names no brane makes no
    /// portal, and what names no object no exit.
    pub fn of(props: &Props) -> Option<Self> {
        let [to, exit] = props.values([Object::PORTAL_KEY, Object::PORTAL_EXIT_KEY]);
        Some(Self { to: Self::brane(to?)?, exit: exit.and_then(id) })
    }

    /// The brane that a value of [`Object::PORTAL_KEY`] names.
    pub fn brane(value: &[u8]) -> Option<BraneId> {
        id(value)
    }

    /// The properties that say so.
    pub fn entries(&self) -> Vec<(PropKey, Value)> {
        let entry = |key, id: String| {
            PropKey::new(key, &ValueLimits::NONE).ok().map(|key| (key, Value::text(&id)))
        };
        let to = entry(Object::PORTAL_KEY, self.to.to_string());
        let exit = self.exit.and_then(|exit| entry(Object::PORTAL_EXIT_KEY, exit.to_string()));
        to.into_iter().chain(exit).collect()
    }

    /// Whether this is the way back through the portal `through` of the brane
    /// `brane`.
    pub fn leads_back(&self, brane: BraneId, through: ObjectId) -> bool {
        *self == Self { to: brane, exit: Some(through) }
    }
}

fn id<T: FromStr>(value: &[u8]) -> Option<T> {
    Decoder::new(value).str().ok()?.parse().ok()
}

impl Object {
    /// The property that says to which brane an object leads: the text of its
    /// id.
    pub const PORTAL_KEY: &str = "portal";
    /// The property that says at which object there one arrives: the text of
    /// its id.
    pub const PORTAL_EXIT_KEY: &str = "portal_exit";
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: BraneId = BraneId::from_bytes([1; 16]);
    const EXIT: ObjectId = ObjectId::from_bytes([2; 16]);

    fn props(entries: Vec<(&str, Value)>) -> Props {
        let limits = ValueLimits::NONE;
        let entries = entries.into_iter().map(|(key, v)| (PropKey::new(key, &limits).unwrap(), v));
        Props::from_entries(entries.collect(), &limits).unwrap()
    }

    #[test]
    fn what_a_portal_says_is_read_as_it_was_written() {
        for exit in [None, Some(EXIT)] {
            let portal = Portal { to: TO, exit };
            let props = Props::from_entries(portal.entries(), &ValueLimits::NONE).unwrap();
            assert_eq!(Portal::of(&props), Some(portal));
        }
    }

    #[test]
    fn only_ids_lead_anywhere() {
        let (to, exit) = (Value::text(&TO.to_string()), Value::text(&EXIT.to_string()));
        assert_eq!(Portal::of(&Props::default()), None);
        assert_eq!(Portal::of(&props(vec![("portal_exit", exit.clone())])), None);
        for wrong in [Value::text("the hall"), Value::int(1), Value::bool(true)] {
            let none = props(vec![("portal", wrong.clone()), ("portal_exit", exit.clone())]);
            assert_eq!(Portal::of(&none), None);
            let without_exit = props(vec![("portal", to.clone()), ("portal_exit", wrong)]);
            assert_eq!(Portal::of(&without_exit), Some(Portal { to: TO, exit: None }));
        }
    }

    #[test]
    fn a_way_back_leads_to_this_portal_of_this_brane() {
        let (here, portal) = (BraneId::from_bytes([3; 16]), ObjectId::from_bytes([4; 16]));
        assert!(Portal { to: here, exit: Some(portal) }.leads_back(here, portal));
        assert!(!Portal { to: here, exit: None }.leads_back(here, portal));
        assert!(!Portal { to: here, exit: Some(EXIT) }.leads_back(here, portal));
        assert!(!Portal { to: TO, exit: Some(portal) }.leads_back(here, portal));
    }
}
