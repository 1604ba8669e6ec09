//! Whether an outcome is what somebody asked for.

use avvy_model::{Change, DeleteMode, Edit, Operation, Ruled, Ruling};

/// Compares an edit with what became of it.
pub(super) fn check(edit: &Edit, changes: &[Change]) -> Result<(), String> {
    if let Edit::Rule(ruling) = edit {
        return match changes {
            [Change::Ruled(ruled)] if is_outcome(ruling, ruled) => Ok(()),
            other => Err(format!("{ruling:?} became {other:?}")),
        };
    }
    let mut changes = changes.iter().peekable();
    for operation in edit.operations() {
        if let Operation::Delete { mode: DeleteMode::KeepChildren, .. } = operation {
            while matches!(changes.peek(), Some(Change::Reparented { .. })) {
                changes.next();
            }
        }
        let change = changes.next().ok_or_else(|| format!("nothing became of {operation:?}"))?;
        if !fits(operation, change) {
            return Err(format!("{operation:?} became {change:?}"));
        }
        if loses_slots(operation) {
            while changes.peek().is_some_and(|change| is_let_go(change)) {
                changes.next();
            }
        }
    }
    match changes.next() {
        None => Ok(()),
        Some(change) => Err(format!("nobody asked for {change:?}")),
    }
}

/// Whether others may be attached no longer because of this.
fn loses_slots(operation: &Operation) -> bool {
    match operation {
        Operation::Delete { .. } => true,
        Operation::Update { patch, .. } => {
            patch.entries().iter().any(|(key, _)| key.as_str() == "slots")
        }
        _ => false,
    }
}

fn is_let_go(change: &Change) -> bool {
    matches!(change, Change::Updated { after, .. }
        if matches!(after.entries(), [(key, None)] if key.as_str() == "attached"))
}

fn is_outcome(ruling: &Ruling, ruled: &Ruled) -> bool {
    match (ruling, ruled) {
        (Ruling::Everybody { role }, Ruled::Everybody { after, .. }) => role == after,
        (Ruling::Role { name, verbs }, Ruled::Role { name: of, after, .. }) => {
            name == of && verbs == after
        }
        (Ruling::Appoint { user, role }, Ruled::Standing { user: of, before, after }) => {
            user == of
                && *role == after.role
                && (before.ban, before.mute) == (after.ban, after.mute)
        }
        (Ruling::Ban { user, ban }, Ruled::Standing { user: of, before, after }) => {
            user == of
                && *ban == after.ban
                && (&before.role, before.mute) == (&after.role, after.mute)
        }
        (Ruling::Mute { user, mute }, Ruled::Standing { user: of, before, after }) => {
            user == of
                && *mute == after.mute
                && (&before.role, before.ban) == (&after.role, after.ban)
        }
        (Ruling::Grant { id, to, verbs, reach, until_ms }, Ruled::Granted(grant)) => {
            (id, to, verbs, reach) == (&grant.id, &grant.to, &grant.verbs, &grant.reach)
                && *until_ms == grant.until_ms
        }
        (Ruling::Revoke { id }, Ruled::Revoked(grant)) => *id == grant.id,
        _ => false,
    }
}

fn fits(operation: &Operation, change: &Change) -> bool {
    match (operation, change) {
        (Operation::Create { id, kind, transform, props, .. }, Change::Created(new)) => {
            let object = &new.object;
            object.id == *id
                && object.kind == *kind
                && object.transform == *transform
                && object.props == *props
        }
        (Operation::Update { patch, .. }, Change::Updated { after, .. }) => {
            after.entries().iter().all(|entry| patch.entries().contains(entry))
        }
        (Operation::Move { patch, .. }, Change::Moved { before, after, parts, .. }) => {
            *parts == patch.parts() && *after == patch.apply(before)
        }
        (Operation::Reparent { transform, .. }, Change::Reparented { before, after, .. }) => {
            after.transform == transform.unwrap_or(before.transform)
        }
        (Operation::Delete { mode, .. }, Change::Deleted { removed }) => {
            *mode == DeleteMode::Subtree || removed.len() == 1
        }
        _ => false,
    }
}
