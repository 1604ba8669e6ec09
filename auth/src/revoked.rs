//! Tokens that were revoked before their end.
//!
//! A token is revoked by name, or all of a user's that were made before a
//! time. Either is kept until the tokens that it means have ended by
//! themselves; so what is kept is bounded by how many are revoked in that
//! time. It only grows until then, so several who each know a part know all
//! when they put their parts together, in whatever order.

use std::collections::BTreeMap;

use avvy_model::UserId;
use uuid::Uuid;

use crate::Claims;

/// How long a token counts at most, in seconds, as far as we make them: 366
/// days. What was revoked without its end being known is kept for so long.
pub const MAX_LIFETIME_S: u64 = 366 * 24 * 3_600;

/// What is revoked. Always of one user: nobody's token is revoked by another
/// one who knows its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Revocation {
    /// The token of this name ([`Claims::token`]).
    Token {
        /// Whose.
        user: UserId,
        /// Which.
        token: Uuid,
    },
    /// All that were made before this time.
    Before {
        /// Whose.
        user: UserId,
        /// Unix seconds; a token made in this second is a later one.
        issued_s: u64,
    },
}

impl Revocation {
    /// As bytes, at most 33: a letter, the user, and the token or the time.
    pub fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Token { user, token } => [&b"t"[..], &user.to_bytes(), token.as_bytes()].concat(),
            Self::Before { user, issued_s } => {
                [&b"b"[..], &user.to_bytes(), &issued_s.to_be_bytes()].concat()
            }
        }
    }

    /// The revocation of these bytes; `None` if they are not one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (letter, rest) = bytes.split_first()?;
        let (user, rest) = rest.split_first_chunk::<16>()?;
        let user = UserId::from_bytes(*user);
        match letter {
            b't' => Some(Self::Token { user, token: Uuid::from_bytes(rest.try_into().ok()?) }),
            b'b' => {
                Some(Self::Before { user, issued_s: u64::from_be_bytes(rest.try_into().ok()?) })
            }
            _ => None,
        }
    }

    /// Whether it means this token.
    pub fn covers(self, claims: &Claims) -> bool {
        match self {
            Self::Token { user, token } => (user, token) == (claims.user, claims.token),
            Self::Before { user, issued_s } => user == claims.user && claims.issued_s < issued_s,
        }
    }
}

/// All that is revoked, as far as somebody knows.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Revoked {
    /// Each with the Unix second from which it need not be known any more.
    known: BTreeMap<Revocation, u64>,
    /// The latest time of each user, which says all that earlier ones do.
    before: BTreeMap<UserId, u64>,
}

impl Revoked {
    /// Adds one. False if it was known for so long already.
    pub fn add(&mut self, revocation: Revocation, until_s: u64) -> bool {
        let known = self.known.entry(revocation).or_insert(0);
        let is_news = *known < until_s;
        *known = until_s.max(*known);
        if let Revocation::Before { user, issued_s } = revocation {
            let latest = self.before.entry(user).or_insert(0);
            *latest = issued_s.max(*latest);
        }
        is_news
    }

    /// Whether this token is revoked.
    pub fn covers(&self, claims: &Claims) -> bool {
        let Claims { user, token, issued_s, .. } = *claims;
        self.before.get(&user).is_some_and(|before| issued_s < *before)
            || self.known.contains_key(&Revocation::Token { user, token })
    }

    /// Forgets what need not be known any more.
    pub fn forget(&mut self, now_s: u64) {
        self.known.retain(|_, until_s| now_s < *until_s);
        self.before.clear();
        for revocation in self.known.keys() {
            // Of each user in the order of their times.
            if let Revocation::Before { user, issued_s } = *revocation {
                self.before.insert(user, issued_s);
            }
        }
    }

    /// Each with its end.
    pub fn iter(&self) -> impl Iterator<Item = (Revocation, u64)> {
        self.known.iter().map(|(revocation, until_s)| (*revocation, *until_s))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use avvy_model::Role;
    use proptest::prelude::*;

    use super::*;

    fn claims(user: u128, token: u128, issued_s: u64) -> Claims {
        Claims {
            user: UserId::new(Uuid::from_u128(user)),
            role: Role::Builder,
            name: None,
            branes: Vec::new(),
            token: Uuid::from_u128(token),
            issued_s,
            expires_s: issued_s + 100,
        }
    }

    fn token(user: u128, token: u128) -> Revocation {
        Revocation::Token {
            user: UserId::new(Uuid::from_u128(user)),
            token: Uuid::from_u128(token),
        }
    }

    fn before(user: u128, issued_s: u64) -> Revocation {
        Revocation::Before { user: UserId::new(Uuid::from_u128(user)), issued_s }
    }

    #[test]
    fn a_token_is_revoked_by_its_name_and_its_user() {
        let mut revoked = Revoked::default();
        assert!(revoked.add(token(1, 7), 100) && !revoked.add(token(1, 7), 99));
        assert!(revoked.covers(&claims(1, 7, 5)));
        assert!(!revoked.covers(&claims(1, 8, 5)) && !revoked.covers(&claims(2, 7, 5)));
    }

    #[test]
    fn all_of_a_user_are_revoked_that_were_made_before() {
        let mut revoked = Revoked::default();
        revoked.add(before(1, 50), 1_000);
        revoked.add(before(1, 40), 1_000);
        assert!(revoked.covers(&claims(1, 7, 49)));
        assert!(!revoked.covers(&claims(1, 7, 50)) && !revoked.covers(&claims(2, 7, 49)));
    }

    #[test]
    fn what_has_ended_is_forgotten() {
        let mut revoked = Revoked::default();
        revoked.add(token(1, 7), 100);
        revoked.add(before(1, 50), 200);
        revoked.forget(99);
        assert_eq!(revoked.len(), 2);
        revoked.forget(100);
        assert!(!revoked.covers(&claims(1, 7, 60)) && revoked.covers(&claims(1, 7, 10)));
        revoked.forget(200);
        assert!(revoked.is_empty() && !revoked.covers(&claims(1, 7, 10)));
        assert_eq!(revoked, Revoked::default());
    }

    fn any_revocation() -> impl Strategy<Value = Revocation> {
        let users = 0..3_u128;
        (users, any::<bool>(), 0..9_u64).prop_map(|(user, is_token, n)| match is_token {
            true => token(user, n.into()),
            false => before(user, n),
        })
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(revocation in any_revocation(), cut in 0..33_usize) {
            let bytes = revocation.to_bytes();
            prop_assert!(bytes.len() <= 33);
            prop_assert_eq!(Revocation::from_bytes(&bytes), Some(revocation));
            let cut = cut.min(bytes.len() - 1);
            prop_assert_eq!(Revocation::from_bytes(&bytes[..cut]), None);
        }

        /// In whatever order parts come together, they mean what each of them
        /// means alone.
        #[test]
        fn the_order_does_not_matter(
            parts in prop::collection::vec((any_revocation(), 1..9_u64), 0..12),
            user in 0..3_u128, name in 0..9_u128, issued_s in 0..9_u64, now_s in 0..9_u64,
        ) {
            let mut forwards = Revoked::default();
            let mut backwards = Revoked::default();
            for (revocation, until_s) in &parts {
                forwards.add(*revocation, *until_s);
            }
            for (revocation, until_s) in parts.iter().rev() {
                backwards.add(*revocation, *until_s);
            }
            prop_assert_eq!(&forwards, &backwards);
            let claims = claims(user, name, issued_s);
            let covers = parts.iter().any(|(revocation, _)| revocation.covers(&claims));
            prop_assert_eq!(forwards.covers(&claims), covers);
            forwards.forget(now_s);
            let kept = parts.iter().filter(|(_, until_s)| now_s < *until_s);
            let must = kept.clone().any(|(revocation, _)| revocation.covers(&claims));
            prop_assert!(!must || forwards.covers(&claims), "what has not ended is forgotten");
        }
    }
}
