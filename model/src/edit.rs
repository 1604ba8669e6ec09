//! What a client may ask for.

use crate::{
    Counter, Follow, Handle, Kind, MovePatch, ObjectId, Props, PropsPatch, Ruling, Transform,
};

/// How an edit names an object.
///
/// Within a batch an object that the batch itself creates is named by id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// By its ordinal in the brane.
    Handle(Handle),
    /// By its id.
    Id(ObjectId),
}

/// What happens to the children of a deleted group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DeleteMode {
    /// They are deleted with it.
    Subtree,
    /// They go to its parent and stay where they are in the world.
    KeepChildren,
}

/// One change of one object (or, for a deletion, of its subtree).
#[derive(Clone, PartialEq, Debug)]
pub enum Operation {
    /// Adds an object under a group. The id is the client's draw (UUID v4).
    Create {
        /// The new object's id.
        id: ObjectId,
        /// The group it goes into.
        parent: Target,
        /// Group or block.
        kind: Kind,
        /// Where, relative to the parent.
        transform: Transform,
        /// Its first properties.
        props: Props,
    },
    /// Sets and removes properties; those not named stay.
    Update {
        /// The object.
        target: Target,
        /// Keys with their new values, or `None` to remove.
        patch: PropsPatch,
    },
    /// Sets position, rotation or scale, each relative to the parent.
    Move {
        /// The object.
        target: Target,
        /// The parts that change.
        patch: MovePatch,
    },
    /// Puts an object into another group.
    Reparent {
        /// The object.
        target: Target,
        /// The group it goes into.
        parent: Target,
        /// Its transform there; `None` keeps the numbers it has.
        transform: Option<Transform>,
    },
    /// Removes an object.
    Delete {
        /// The object.
        target: Target,
        /// What becomes of its children.
        mode: DeleteMode,
    },
}

/// What a client submits under one number: it gets one outcome and, when
/// accepted, one [`crate::Seq`].
#[derive(Clone, PartialEq, Debug)]
pub enum Edit {
    /// One operation.
    One(Operation),
    /// Several, in order, all or none.
    Batch(Vec<Operation>),
    /// A change of rights.
    Rule(Box<Ruling>),
    /// A change of what the brane follows. No client can send one: on the wire
    /// it is a batch like any other, whose first operation is refused.
    Follow(Box<Follow>),
}

/// What a ruling costs, in operations: everybody whom it is about is told.
pub const RULING_COST: u32 = 64;

impl Edit {
    /// The operations on objects in the order they apply; none in a ruling.
    pub fn operations(&self) -> &[Operation] {
        match self {
            Self::One(operation) => std::slice::from_ref(operation),
            Self::Batch(operations) => operations,
            Self::Follow(follow) => follow.operations(),
            Self::Rule(_) => &[],
        }
    }

    /// What it counts for where edits are counted, in operations. An empty
    /// batch costs an answer and counts as one.
    pub fn cost(&self) -> u32 {
        match self {
            Self::Rule(_) => RULING_COST,
            Self::One(_) | Self::Batch(_) | Self::Follow(_) => {
                u32::try_from(self.operations().len()).unwrap_or(u32::MAX).max(1)
            }
        }
    }
}

/// An edit with its client's number.
#[derive(Clone, PartialEq, Debug)]
pub struct NumberedEdit {
    /// The client's number, rising.
    pub counter: Counter,
    /// What is asked for.
    pub edit: Edit,
}
