//! The bounds that clients meet, each named by its setting, and how often it
//! was met.

use std::sync::atomic::{AtomicU64, Ordering};

use avvy_model::Code;

macro_rules! limits {
    ($($(#[doc = $doc:literal])* $variant:ident = $setting:literal;)*) => {
        /// A bound that a client can meet. What an edit meets is counted by
        /// the code of its refusal instead.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Limit {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Limit {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its key in `config.toml`.
            pub const fn setting(self) -> &'static str {
                match self { $(Self::$variant => $setting,)* }
            }
        }
    };
}

limits! {
    /// Open connections.
    Connections = "limits.max_connections";
    /// Open connections of one address.
    ConnectionsOfAddress = "limits.max_connections_per_address";
    /// New connections of one address.
    ConnectionRate = "limits.connections_per_second";
    /// Requests of one address.
    RequestRate = "limits.requests_per_second";
    /// Requests of one address by which people sign in.
    SignInRate = "limits.sign_ins_per_second";
    /// Pages of objects on their way to one address.
    PagesOfAddress = "limits.http_max_pages_per_address";
    /// Pages of objects on their way to one user.
    PagesOfUser = "limits.http_max_pages_per_user";
    /// Sessions.
    Sessions = "limits.max_sessions";
    /// Bytes of all sessions.
    SessionBytes = "limits.max_sessions_bytes";
    /// Sessions of one user.
    SessionsOfUser = "limits.max_sessions_per_user";
    /// Sessions in one brane.
    SessionsOfBrane = "limits.max_sessions_per_brane";
    /// Branes that one session has joined.
    ChannelsOfSession = "limits.max_channels_per_session";
    /// Branes that one user has joined.
    JoinedByUser = "limits.max_joined_branes_per_user";
    /// Open branes.
    OpenBranes = "limits.max_open_branes";
    /// Branes that one user owns.
    BranesOfUser = "limits.max_branes_per_user";
    /// Edits of one session.
    EditRate = "limits.edits_per_second";
    /// Edits of one user.
    EditRateOfUser = "limits.edits_per_second_per_user";
    /// Other messages of one session.
    MessageRate = "limits.messages_per_second";
    /// Looks elsewhere of one session.
    ViewRate = "limits.views_per_second";
    /// What was no message.
    Malformed = "limits.max_malformed_messages";
    /// Joins of one user.
    JoinRate = "limits.joins_per_second";
    /// Questions for the state hash of one user.
    HashRate = "limits.hashes_per_second";
    /// Pages of people for one user.
    PeoplePageRate = "limits.people_pages_per_second";
    /// New tokens of one user's sessions.
    RefreshRate = "limits.refreshes_per_second";
    /// New branes of one user.
    CreateRate = "limits.creates_per_second";
    /// Pages of lists for one user.
    PageRate = "limits.pages_per_second";
}

/// A counter for each limit.
#[derive(Default, Debug)]
pub struct LimitHits([AtomicU64; Limit::ALL.len()]);

impl LimitHits {
    /// How often it was met.
    pub fn of(&self, limit: Limit) -> u64 {
        self.0[limit as usize].load(Ordering::Relaxed)
    }

    /// It was met.
    pub fn count(&self, limit: Limit) {
        self.0[limit as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// A counter for each code.
#[derive(Debug)]
pub struct ByCode(Box<[AtomicU64]>);

impl Default for ByCode {
    fn default() -> Self {
        Self(Code::ALL.iter().map(|_| AtomicU64::new(0)).collect())
    }
}

impl ByCode {
    /// Once more.
    pub fn count(&self, code: Code) {
        // They are in the order of their numbers.
        if let Ok(at) = Code::ALL.binary_search(&code) {
            self.0[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Those that were counted.
    pub fn counted(&self) -> impl Iterator<Item = (Code, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        Code::ALL.iter().copied().zip(counts).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_alone() {
        let (hits, codes) = (LimitHits::default(), ByCode::default());
        for (&limit, n) in Limit::ALL.iter().zip(1..) {
            (0..n).for_each(|_| hits.count(limit));
        }
        for (&limit, n) in Limit::ALL.iter().zip(1..) {
            assert_eq!(hits.of(limit), n, "{limit:?}");
        }
        Code::ALL.iter().for_each(|&code| codes.count(code));
        codes.count(Code::EditTooLarge);
        let counted: Vec<_> = codes.counted().collect();
        assert_eq!(counted.len(), Code::ALL.len());
        assert!(counted.iter().all(|(code, n)| *n == 1 + u64::from(*code == Code::EditTooLarge)));
    }
}
