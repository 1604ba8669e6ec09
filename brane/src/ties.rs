//! What objects' properties say of others: of which prototype they are
//! instances, what they are attached to, and whether they lead to another
//! brane. The indexes follow the properties, which alone say so; the root is in
//! none of them.

use avvy_model::{Attachment, Handle, Object, Portal, Props, PrototypeId, prototype_id};

use crate::portals::Portals;
use crate::prototypes::Instances;
use crate::slots::Attachments;

/// The indexes of a world.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Ties {
    pub(crate) instances: Instances,
    pub(crate) attachments: Attachments,
    pub(crate) portals: Portals,
}

impl Ties {
    /// Counts in an object with these properties.
    pub(crate) fn add(&mut self, handle: Handle, props: &Props) {
        self.tie(handle, Tie::of(props));
    }

    /// Counts it out.
    pub(crate) fn remove(&mut self, handle: Handle, props: &Props) {
        self.untie(handle, Tie::of(props));
    }

    /// Its properties have changed.
    pub(crate) fn change(&mut self, handle: Handle, before: &Props, after: &Props) {
        let (before, after) = (Tie::of(before), Tie::of(after));
        if before != after {
            self.untie(handle, before);
            self.tie(handle, after);
        }
    }

    fn tie(&mut self, handle: Handle, tie: Tie) {
        if handle == Handle::ROOT {
            return;
        }
        if let Some(prototype) = tie.prototype {
            self.instances.add(prototype);
        }
        if let Some(attached) = tie.attached {
            self.attachments.add(handle, attached);
        }
        if tie.is_portal {
            self.portals.add(handle);
        }
    }

    fn untie(&mut self, handle: Handle, tie: Tie) {
        if handle == Handle::ROOT {
            return;
        }
        if let Some(prototype) = tie.prototype {
            self.instances.remove(prototype);
        }
        if let Some(attached) = tie.attached {
            self.attachments.remove(handle, attached);
        }
        if tie.is_portal {
            self.portals.remove(handle);
        }
    }
}

/// What one object's properties say. A value of another form says nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tie {
    prototype: Option<PrototypeId>,
    attached: Option<Attachment>,
    is_portal: bool,
}

impl Tie {
    fn of(props: &Props) -> Self {
        let keys = [Object::PROTOTYPE_KEY, Object::ATTACHED_KEY, Object::PORTAL_KEY];
        let [prototype, attached, portal] = props.values(keys);
        Self {
            prototype: prototype.and_then(prototype_id),
            attached: attached.and_then(Attachment::from_value),
            is_portal: portal.and_then(Portal::brane).is_some(),
        }
    }
}
