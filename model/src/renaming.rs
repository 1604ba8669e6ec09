//! What becomes of ids when a brane is copied.

use blake2b_simd::Params;
use uuid::Builder;

use crate::{
    Attachment, BraneId, ObjectId, Portal, PropKey, Props, PropsPatch, Value, ValueLimits,
};

/// New ids for the objects of one brane in a copy of it. They are computed
/// from a key that is drawn for the copy, so that what refers to an object can
/// be written before or after the object itself, and nothing has to be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Renaming {
    /// Drawn for this copy.
    pub key: [u8; 16],
    /// The brane that is copied.
    pub from: BraneId,
    /// The copy.
    pub to: BraneId,
}

impl Renaming {
    /// The id of an object in the copy. The root has that of its brane.
    pub fn object(&self, id: ObjectId) -> ObjectId {
        if id.uuid() == self.from.uuid() {
            return ObjectId::new(self.to.uuid());
        }
        let hash = Params::new().hash_length(16).key(&self.key).hash(&id.to_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(hash.as_bytes());
        ObjectId::new(Builder::from_random_bytes(bytes).into_uuid())
    }

    /// The properties of an object in the copy: an attachment is to the
    /// carrier's copy, and a portal into the brane itself leads into the copy.
    /// Nothing else in a property is taken for an id.
    pub fn props(&self, props: &Props) -> Props {
        let mut entries: Vec<(PropKey, Value)> = Vec::new();
        if let Ok(Some(Attachment { to, slot })) = Attachment::of(props) {
            entries.extend(Attachment { to: self.object(to), slot }.entry());
        }
        if let Some(portal) = Portal::of(props).filter(|portal| portal.to == self.from) {
            let exit = portal.exit.map(|exit| self.object(exit));
            entries.extend(Portal { to: self.to, exit }.entries());
        }
        let entries = entries.into_iter().map(|(key, value)| (key, Some(value)));
        let patched = PropsPatch::new(entries.collect())
            .and_then(|patch| props.patched(&patch, &ValueLimits::NONE));
        // Other ids in known places keep it well-formed.
        patched.map_or_else(|_| props.clone(), |(props, _)| props)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Object, Slot};

    const OTHER: BraneId = BraneId::from_bytes([9; 16]);
    const ONE: ObjectId = ObjectId::from_bytes([3; 16]);

    fn renaming() -> Renaming {
        let (from, to) = (BraneId::from_bytes([1; 16]), BraneId::from_bytes([2; 16]));
        Renaming { key: [7; 16], from, to }
    }

    fn props(entries: Vec<(PropKey, Value)>) -> Props {
        Props::from_entries(entries, &ValueLimits::NONE).unwrap()
    }

    #[test]
    fn ids_are_new_of_version_4_and_the_same_each_time() {
        let renamed = renaming().object(ONE);
        assert_eq!(renamed, renaming().object(ONE));
        assert_ne!(renamed, ONE);
        assert_ne!(renamed, renaming().object(ObjectId::from_bytes([4; 16])));
        assert_ne!(renamed, Renaming { key: [8; 16], ..renaming() }.object(ONE));
        assert_eq!(renamed.uuid().get_version_num(), 4);
        let root = ObjectId::from_bytes([1; 16]);
        assert_eq!(renaming().object(root), ObjectId::from_bytes([2; 16]));
    }

    #[test]
    fn references_stay_inside_of_the_copy() {
        let slot = Slot::new(3).unwrap();
        let lit = (PropKey::new("lit", &ValueLimits::NONE).unwrap(), Value::bool(true));
        let inside = Portal { to: renaming().from, exit: Some(ONE) };
        let mut entries = inside.entries();
        entries.extend(Attachment { to: ONE, slot }.entry());
        entries.push(lit.clone());
        let copied = renaming().props(&props(entries));
        let one = renaming().object(ONE);
        assert_eq!(Attachment::of(&copied), Ok(Some(Attachment { to: one, slot })));
        assert_eq!(Portal::of(&copied), Some(Portal { to: renaming().to, exit: Some(one) }));
        assert_eq!(copied.get("lit"), Some(lit.1));
    }

    #[test]
    fn what_leads_elsewhere_leads_there_still() {
        let out = props(Portal { to: OTHER, exit: Some(ONE) }.entries());
        assert_eq!(renaming().props(&out), out);
        let key = PropKey::new(Object::PORTAL_EXIT_KEY, &ValueLimits::NONE).unwrap();
        let no_portal = props(vec![(key, Value::text(&ONE.to_string()))]);
        assert_eq!(renaming().props(&no_portal), no_portal);
        assert_eq!(renaming().props(&Props::default()), Props::default());
    }
}
