//! What becomes of a brane's record while the brane is open.

use std::sync::Arc;

use avvy_flow::SessionKey;
use avvy_flow::brane_core::BraneInput;
use avvy_model::{Code, Principal, Visibility};
use avvy_persistence::{BraneRecord, Life};
use avvy_protocol::{BraneChanged, ServerMessage};
use ractor::ActorRef;

use super::{Brane, BraneMsg, Goodbye};
use crate::fan_out::FanOutMsg;

impl Brane {
    /// As whom a session is here by the record of now.
    pub(super) fn principal(&self, session: SessionKey) -> Option<Principal> {
        self.members.guest(session).map(|guest| guest.principal(&self.record))
    }

    /// Takes the record that is stored now. Whoever may not see the brane any
    /// more leaves it; of one that is not active everybody does.
    pub(super) fn on_changed(&mut self, myself: &ActorRef<BraneMsg>, record: Arc<BraneRecord>) {
        // Changes can be told in another order than that in which they were made.
        if record.version <= self.record.version {
            return;
        }
        let was = std::mem::replace(&mut self.record, record).visibility;
        if let Some(code) = end_of(self.record.life) {
            for session in self.members.sessions() {
                self.send_away(myself, session, code);
            }
            // A brane that ends takes its fan-out along, whatever that has to say.
            self.tell_fan_out(FanOutMsg::Parting);
            return;
        }
        if was != self.record.visibility {
            let invited = self.members.sessions().into_iter().filter_map(|session| {
                self.principal(session).map(|principal| (session, principal.invited))
            });
            let invited = invited.collect();
            self.feed(myself, BraneInput::Invited(invited));
        }
        let sessions = self.members.sessions();
        let message = Box::new(ServerMessage::Changed(Box::new(self.changed())));
        self.tell_fan_out(FanOutMsg::TellAll { sessions, message });
    }

    fn send_away(&mut self, myself: &ActorRef<BraneMsg>, session: SessionKey, code: Code) {
        if let Some(join) = self.members.join(session) {
            self.context.registry.forget_join(session, self.record.id, join);
        }
        self.on_leave(myself, session, Some(Goodbye(Some(code))));
    }

    fn changed(&self) -> BraneChanged {
        let BraneRecord { name, description, tags, kind, visibility, version, .. } = &*self.record;
        BraneChanged {
            channel: self.channel,
            name: name.clone(),
            description: description.clone(),
            tags: tags.clone(),
            kind: kind.name().to_owned(),
            visibility: *visibility,
            version: *version,
        }
    }
}

/// Why nobody comes into a brane that is not active: of an archived one whoever
/// may see it without a role is told so.
pub(crate) fn closed_to_all(record: &BraneRecord) -> Option<Code> {
    let is_private = record.visibility == Visibility::Private;
    end_of(record.life).map(|code| match code {
        Code::BraneArchived if !is_private => code,
        _ => Code::NotFound,
    })
}

/// Why nobody is in a brane of which this has become; `None`: it is active.
pub(crate) const fn end_of(life: Life) -> Option<Code> {
    match life {
        Life::Active => None,
        Life::Archived { .. } => Some(Code::BraneArchived),
        Life::Doomed { .. } | Life::Purging { .. } | Life::Purged { .. } => {
            Some(Code::BraneDeleted)
        }
    }
}
