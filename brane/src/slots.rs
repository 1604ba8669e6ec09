//! Interfaces: which objects are attached to which slots.
//!
//! The index follows the objects' properties, which alone say so. A slot
//! holds one object, nothing is attached to itself, not by way of others
//! either, and what offers no slot any more lets go in the same event.

use std::collections::BTreeMap;

use avvy_model::{Attachment, Code, Handle, ObjectId, Slot, Slots, WorldLimits};

use crate::World;

/// By carrier, what is attached to it, in no particular order. Objects that
/// were stored before this was a rule may share a slot or name what is gone.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Attachments(BTreeMap<ObjectId, Vec<(Slot, Handle)>>);

impl Attachments {
    /// Counts in what is attached so.
    pub(crate) fn add(&mut self, handle: Handle, Attachment { to, slot }: Attachment) {
        self.0.entry(to).or_default().push((slot, handle));
    }

    /// Counts it out.
    pub(crate) fn remove(&mut self, handle: Handle, Attachment { to, .. }: Attachment) {
        let Some(attached) = self.0.get_mut(&to) else { return };
        attached.retain(|(_, one)| *one != handle);
        if attached.is_empty() {
            self.0.remove(&to);
        }
    }

    fn to(&self, carrier: ObjectId) -> &[(Slot, Handle)] {
        self.0.get(&carrier).map_or(&[], |attached| attached)
    }
}

impl World {
    /// What is attached to an object that is or was here: the slot and the
    /// object, in order.
    pub fn attached_to(&self, carrier: ObjectId) -> Vec<(Slot, Handle)> {
        let mut attached = self.ties.attachments.to(carrier).to_vec();
        attached.sort_unstable();
        attached
    }

    /// Whether an object of this world may be attached like this.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn judge_attachment(
        &self,
        handle: Handle,
        attachment: Attachment,
        limits: &WorldLimits,
    ) -> Result<(), Code> {
        let Attachment { to, slot } = attachment;
        let carrier = self.find(to).ok_or(Code::CarrierNotFound)?;
        self.check_chain(handle, carrier, limits.max_depth)?;
        let offered = self.get(carrier).and_then(|carrier| Slots::of(&carrier.props));
        if !offered.is_some_and(|slots| slots.has(slot)) {
            return Err(Code::SlotNotFound);
        }
        let is_other = |(taken, by): &(Slot, Handle)| *taken == slot && *by != handle;
        let is_taken = self.ties.attachments.to(to).iter().any(is_other);
        if is_taken { Err(Code::SlotTaken) } else { Ok(()) }
    }

    /// Whether what carries an object, and what carries that, is not the
    /// object itself, and not more than so many.
    fn check_chain(&self, handle: Handle, carrier: Handle, most: u32) -> Result<(), Code> {
        let mut at = Some(carrier);
        for _ in 0..=most {
            let Some(carrier) = at else { return Ok(()) };
            if carrier == handle {
                return Err(Code::Cycle);
            }
            let props = self.get(carrier).map(|object| &object.props);
            let on = props.and_then(|props| Attachment::of(props).ok().flatten());
            at = on.and_then(|on| self.find(on.to));
        }
        Err(Code::TooDeep)
    }
}
