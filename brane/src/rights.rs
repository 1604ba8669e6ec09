//! Who may do what.

use avvy_model::{Handle, Object, Operation, Principal, Role};

/// Decides about each operation before anything else is looked at.
pub trait Rights {
    /// Whether `principal` may do `operation`.
    ///
    /// `target` is the object that the operation names, for a creation the
    /// group that the object goes into; `None` when there is no such object.
    fn allows(
        &self,
        principal: &Principal,
        operation: &Operation,
        target: Option<(Handle, &Object)>,
    ) -> bool;

    /// Whether `principal` may do anything at all. Of who may not, no outcome
    /// is remembered: each edit is refused again as often as it comes.
    fn may_write(&self, principal: &Principal) -> bool;
}

/// Rights by role alone: an owner may do all, a builder all but change the
/// properties of the root, a visitor nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RoleRights;

impl Rights for RoleRights {
    fn allows(
        &self,
        principal: &Principal,
        operation: &Operation,
        target: Option<(Handle, &Object)>,
    ) -> bool {
        match principal.role {
            Role::Owner => true,
            Role::Builder => {
                let of_root = target.is_some_and(|(handle, _)| handle == Handle::ROOT);
                !(of_root && matches!(operation, Operation::Update { .. }))
            }
            Role::Visitor => false,
        }
    }

    fn may_write(&self, principal: &Principal) -> bool {
        match principal.role {
            Role::Owner | Role::Builder => true,
            Role::Visitor => false,
        }
    }
}
