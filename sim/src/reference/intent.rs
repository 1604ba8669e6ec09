//! Whether an outcome is what somebody asked for.

use avvy_model::{Change, DeleteMode, Edit, Operation};

/// Compares an edit with what became of it.
pub(super) fn check(edit: &Edit, changes: &[Change]) -> Result<(), String> {
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
    }
    match changes.next() {
        None => Ok(()),
        Some(change) => Err(format!("nobody asked for {change:?}")),
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
