//! The words of the system: ids, values, transforms, objects, edits, the
//! events that edits become, limits, and error codes.
//!
//! Everything here is plain data that cannot hold an invalid state: whoever
//! has a [`Value`] has a well-formed one. Nothing here knows a clock, a
//! random source, a socket or a store.

mod code;
mod edit;
mod event;
mod footprint;
mod id;
mod interface;
pub mod label;
mod limits;
mod object;
mod portal;
mod principal;
mod prototype;
mod rejection;
mod renaming;
mod rights;
mod space;
mod state_hash;
mod transform;
mod value;
mod visibility;
pub mod weight;

pub use code::{Code, Refusal};
pub use edit::{DeleteMode, Edit, NumberedEdit, Operation, Target};
pub use event::{Change, Changes, Event, ObjectAt, Placement};
pub use footprint::{BoxSize, Footprint};
pub use id::{
    AssetHash, BraneId, ClientId, Counter, EditId, Epoch, GrantId, Handle, InvalidId, NodeId,
    ObjectId, Position, PrototypeId, Seq, TraceId, UserId,
};
pub use interface::{Attachment, NotAttachment, Slot, Slots};
pub use limits::WorldLimits;
pub use object::{Kind, Object};
pub use portal::Portal;
pub use principal::{Principal, Role};
pub use prototype::{Follow, FollowStep, Followed, prototype_id};
pub use rejection::Rejection;
pub use renaming::Renaming;
pub use rights::{
    Cuboid, CustomRole, Grant, InvalidRoleName, MAX_GRANT_KEYS, MAX_ROLE_NAME_BYTES, Reach,
    RoleName, Ruled, Ruling, Sanction, Standing, Verb, Verbs,
};
pub use space::{Area, Cell, Grid, Home, Scope, View};
pub use state_hash::{StateHash, object_digest};
pub use transform::{InvalidTransform, MovePatch, POSITION_UNIT_M, Parts, Rotation, Transform};
pub use value::{InvalidValue, PropKey, Props, PropsPatch, Value, ValueLimits};
pub use visibility::Visibility;
