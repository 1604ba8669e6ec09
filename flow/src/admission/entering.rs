//! Tells the brane which of those that it has let in stand at the head by now,
//! so that it lets in others.

use crate::SessionKey;

/// Sessions that were attached and have not been live since.
#[derive(Default)]
pub struct Entering {
    sessions: Vec<SessionKey>,
    /// How many were live and lagging at the last look.
    seen: (usize, usize),
}

impl Entering {
    /// A session was attached.
    pub fn push(&mut self, session: SessionKey) {
        self.sessions.push(session);
        // Whatever it was, it is looked at anew.
        self.seen = (usize::MAX, usize::MAX);
    }

    /// Whether nobody is on the way in: then there is nothing to look at.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Those that are live now, or gone. `seen` is how many are live and lagging.
    pub fn settled(
        &mut self,
        seen: (usize, usize),
        is_on_its_way: impl Fn(SessionKey) -> bool,
    ) -> Vec<SessionKey> {
        if std::mem::replace(&mut self.seen, seen) == seen || self.sessions.is_empty() {
            return Vec::new();
        }
        self.sessions.extract_if(.., |session| !is_on_its_way(*session)).collect()
    }
}
