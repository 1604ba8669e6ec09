//! Changes of records, as far as they concern branes that are open.

use std::sync::Arc;

use avvy_persistence::BraneRecord;

use super::{Directory, Entry};
use crate::brane::BraneMsg;

impl Directory {
    /// Gives an open brane its new record; one that is not active any more asks to
    /// be closed. What is closed already, or on its way to another node, reads its
    /// record when it is opened.
    pub(super) fn on_changed(&mut self, record: Arc<BraneRecord>) {
        match self.branes.get_mut(&record.id) {
            Some(Entry::Open(handle)) if handle.record.version < record.version => {
                handle.record = Arc::clone(&record);
                // If it is gone already, its end is under way to us.
                let _ = handle.actor.send_message(BraneMsg::Changed(record));
            }
            Some(Entry::Opening(_)) => {
                let known = self.changed.entry(record.id).or_insert_with(|| Arc::clone(&record));
                if known.version < record.version {
                    *known = record;
                }
            }
            Some(Entry::Open(_) | Entry::Closing { .. } | Entry::Departing(_)) | None => {}
        }
    }
}
