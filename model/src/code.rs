//! The catalogue of stable error codes.
//!
//! Numbers and names never change meaning and are never used again. Numbers
//! 1000-1999 concern requests and sessions, of those 1100-1199 things outside of
//! branes, and 2000-2999 edits.

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// Why something was refused.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u16)]
        pub enum Code {
            $($(#[doc = $doc])* $variant = $number,)*
        }

        impl Code {
            /// Every code, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable number.
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// The stable name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The code with this number.
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// The code with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            /// What it means, in a sentence for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)*).trim_ascii(),)* }
            }
        }
    };
}

codes! {
    /// The bytes are not a well-formed message.
    Malformed = 1000, "malformed";
    /// The message, body or frame is larger than its limit.
    TooLarge = 1001, "too_large";
    /// There is no such operation in the negotiated version.
    UnknownOperation = 1002, "unknown_operation";
    /// No version in common.
    UnsupportedVersion = 1003, "unsupported_version";
    /// A token is needed and none was given.
    NotAuthenticated = 1004, "not_authenticated";
    /// The token is not one of ours or was changed.
    TokenInvalid = 1005, "token_invalid";
    /// The token was good once.
    TokenExpired = 1006, "token_expired";
    /// The user may not do this.
    Forbidden = 1007, "forbidden";
    /// There is no such thing, or it is not for this user to know.
    NotFound = 1008, "not_found";
    /// Too much in too short a time; try again after `retry_after_ms`.
    RateLimited = 1009, "rate_limited";
    /// Not now; try again after `retry_after_ms`.
    Unavailable = 1010, "unavailable";
    /// The server failed; the trace id finds it in the log.
    Internal = 1011, "internal";
    /// The channel is not joined.
    NotJoined = 1012, "not_joined";
    /// The brane is joined already on this connection.
    AlreadyJoined = 1013, "already_joined";
    /// This connection or this user has joined as many branes as it may.
    TooManyChannels = 1014, "too_many_channels";
    /// There is one already.
    Exists = 1015, "exists";
    /// The content type is neither CBOR nor JSON.
    UnsupportedMediaType = 1016, "unsupported_media_type";
    /// It took longer than its limit.
    Timeout = 1017, "timeout";
    /// The brane holds as many sessions as it may.
    BraneFull = 1018, "brane_full";
    /// The stored brane is damaged and will not be opened before it is mended.
    Damaged = 1019, "damaged";
    /// The method does not exist on this path.
    MethodNotAllowed = 1020, "method_not_allowed";
    /// The user owns as many branes as one may.
    TooManyBranes = 1021, "too_many_branes";
    /// Without a pose of one's own nobody is near.
    NoPose = 1022, "no_pose";
    /// The user has as many sessions as one may.
    TooManySessions = 1023, "too_many_sessions";
    /// The brane is at another node, whose URL is `address`; go on there.
    Moved = 1024, "moved";
    /// The token was revoked before its end.
    TokenRevoked = 1025, "token_revoked";
    /// The signed message does not prove what it is for; sign a new one.
    ProofInvalid = 1026, "proof_invalid";
    /// The user is kept out of this brane.
    Banned = 1027, "banned";
    /// The user is kept from sending signals in this brane.
    Muted = 1028, "muted";
    /// The idempotency key was used for another request.
    KeyReused = 1029, "key_reused";
    /// The same request is being done; ask again after `retry_after_ms`.
    InProgress = 1030, "in_progress";
    /// It was changed since the version that the request names.
    PreconditionFailed = 1031, "precondition_failed";
    /// The request has to name the version that it changes.
    PreconditionRequired = 1032, "precondition_required";
    /// The brane is archived: nobody enters it.
    BraneArchived = 1033, "brane_archived";
    /// The brane was deleted.
    BraneDeleted = 1034, "brane_deleted";
    /// An operator archived the brane: only an operator opens it again.
    ArchivedByOperator = 1035, "archived_by_operator";

    /// It was changed again and again meanwhile; read it and try again.
    Conflict = 1100, "conflict";
    /// It is published and stays as it is; make a new version.
    Published = 1102, "published";
    /// It is a draft; publish it first.
    NotPublished = 1103, "not_published";
    /// There is a next version of it already; change that one.
    Superseded = 1104, "superseded";
    /// The object is in a group; take it out of that first.
    InGroup = 1105, "in_group";
    /// The object is on its way into a brane or out of one.
    InTransfer = 1106, "in_transfer";
    /// The tree has more objects than one may.
    TreeTooLarge = 1107, "tree_too_large";
    /// The gallery holds as many prototypes as it may.
    GalleryFull = 1108, "gallery_full";
    /// The user has as many objects in the inventory as one may.
    TooManyOwnObjects = 1109, "too_many_own_objects";
    /// The things of the user take as many bytes as they may.
    TooManyOwnBytes = 1110, "too_many_own_bytes";
    /// The user has as many versions of prototypes as one may.
    TooManyPrototypes = 1111, "too_many_prototypes";
    /// The user has as many drafts as one may.
    TooManyDrafts = 1112, "too_many_drafts";

    /// The object is not in the brane.
    ObjectNotFound = 2000, "object_not_found";
    /// An object of this id is in the brane.
    ObjectExists = 2001, "object_exists";
    /// The parent is not in the brane.
    ParentNotFound = 2002, "parent_not_found";
    /// The parent is not a group.
    ParentNotGroup = 2003, "parent_not_group";
    /// An object cannot be under itself.
    Cycle = 2004, "cycle";
    /// Deeper than the tree may be.
    TooDeep = 2005, "too_deep";
    /// The brane holds as many objects as it may.
    TooManyObjects = 2006, "too_many_objects";
    /// The brane has given out every handle.
    HandlesExhausted = 2007, "handles_exhausted";
    /// The root cannot be moved, re-parented or deleted.
    RootProtected = 2008, "root_protected";
    /// A position, rotation or scale is outside its range.
    OutOfRange = 2009, "out_of_range";
    /// A property value is larger or deeper than it may be.
    ValueTooLarge = 2010, "value_too_large";
    /// The object's properties together are larger than they may be.
    PropsTooLarge = 2011, "props_too_large";
    /// A property value is of a kind that properties do not hold.
    ValueMalformed = 2012, "value_malformed";
    /// A batch without operations, or an edit that names nothing to change.
    Empty = 2013, "empty";
    /// More operations than a batch may have.
    BatchTooLarge = 2014, "batch_too_large";
    /// The edit would touch more objects than one edit may.
    TouchesTooMany = 2015, "touches_too_many";
    /// Neither the user's role nor a grant allows this edit.
    NotPermitted = 2016, "not_permitted";
    /// The edit's number is below the client's highest and its outcome is no longer known.
    OutcomeUnknown = 2017, "outcome_unknown";
    /// The brane has forgotten this client; go on under a new client id.
    ClientUnknown = 2018, "client_unknown";
    /// Another user writes under this client id.
    ClientTaken = 2019, "client_taken";
    /// What the edit changes and removes takes more bytes of the log than one edit may.
    EditTooLarge = 2020, "edit_too_large";
    /// The brane's objects together take as many bytes as they may.
    BraneTooLarge = 2021, "brane_too_large";
    /// The brane has no role of this name.
    RoleUnknown = 2022, "role_unknown";
    /// Somebody has this role.
    RoleInUse = 2023, "role_in_use";
    /// The brane has no grant of this id.
    GrantNotFound = 2024, "grant_not_found";
    /// The brane has a grant of this id.
    GrantExists = 2025, "grant_exists";
    /// Nobody gives, takes or overrules what they do not have themselves.
    BeyondOwn = 2026, "beyond_own_rights";
    /// The brane holds as many roles, standings or grants as it may.
    TooManyRights = 2027, "too_many_rights";
    /// The ruling says nothing, or something that no ruling can.
    RulingInvalid = 2028, "ruling_invalid";
    /// What the brane follows is for the server alone to set.
    PropertyReserved = 2029, "property_reserved";
    /// The brane follows this prototype.
    PrototypeFollowed = 2030, "prototype_followed";
    /// The brane does not follow this version of the prototype.
    PrototypeNotFollowed = 2031, "prototype_not_followed";
    /// The brane holds instances of the prototype.
    PrototypeInUse = 2032, "prototype_in_use";
    /// The brane follows as many prototypes, or as many bytes of defaults, as it may.
    TooManyFollowed = 2033, "too_many_followed";
    /// Another block takes one of the cells.
    CellTaken = 2034, "cell_taken";
    /// Cells cannot become exclusive while blocks overlap.
    CellsOverlap = 2035, "cells_overlap";
    /// The block's box of cells is none, or larger than it may be.
    FootprintInvalid = 2036, "footprint_invalid";
    /// The blocks together take as many cells as they may.
    TooManyCells = 2037, "too_many_cells";
    /// The object to attach to is not in the brane.
    CarrierNotFound = 2038, "carrier_not_found";
    /// The object to attach to does not offer this slot.
    SlotNotFound = 2039, "slot_not_found";
    /// Another object is attached to this slot.
    SlotTaken = 2040, "slot_taken";
    /// The value names no slots, or nothing to be attached to.
    InterfaceInvalid = 2041, "interface_invalid";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why an edit was not applied. A value, not an error of the server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Refusal {
    /// The reason.
    pub code: Code,
    /// In a batch, which operation (from 0) it was.
    pub operation: Option<u32>,
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self { code, operation: None }
    }
}
