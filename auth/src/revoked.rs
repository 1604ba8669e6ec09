//! Tokens that were revoked before their end.
//!
//! A token is revoked by name, or all of a user's that were made before a
//! time. Either is kept until the tokens that it means have ended by
//! themselves; so what is kept is bounded by how many are revoked in that
//! time. It only grows until then, so several who each know a part know all
//! when they put their parts together, in whatever order.
//!
//! Anybody can sign in, and what a sign-in gives ends within the hour
//! ([`MAX_SIGN_IN_TOKEN_S`]): so what anybody can have kept ends soon. The year
//! is for tokens that no sign-in gave, which an operator or another issuer has
//! made.

use std::collections::BTreeMap;

use avvy_model::UserId;
use uuid::Uuid;

use crate::Claims;

/// How long a token counts at most, in seconds: 366 days. One that says more is
/// refused, whoever made it, so what was revoked without its end being known
/// need not be kept for longer.
pub const MAX_LIFETIME_S: u64 = 366 * 24 * 3_600;

/// How long a token of a sign-in ([`Claims::session`]) counts at most, in seconds:
/// an hour. One that says more is refused.
pub const MAX_SIGN_IN_TOKEN_S: u64 = 3_600;

/// How much longer than a token counts its revocation is kept, in seconds: the
/// most that clocks are let differ by.
pub(crate) const SLACK_S: u64 = 3_600;

/// What is revoked. Always of one user: nobody's token is revoked by another
/// one who knows its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Revocation {
    /// The token of this name ([`Claims::token`]), or all that the sign-in of
    /// this name gave ([`Claims::session`]).
    Token {
        /// Whose.
        user: UserId,
        /// Which.
        token: Uuid,
        /// The Unix second from which it need not be known any more.
        until_s: u64,
    },
    /// All that were made before this time.
    Before {
        /// Whose.
        user: UserId,
        /// Unix seconds; a token made in this second is a later one.
        issued_s: u64,
        /// Whether it is known for as long as any of them may count; else for as
        /// long as those of sign-ins may.
        is_lasting: bool,
    },
}

impl Revocation {
    /// Revokes a token that ends then, or of which that is not known.
    pub fn token(user: UserId, token: Uuid, expires_s: Option<u64>, now_s: u64) -> Self {
        // It may say that it is made so much later, by the clock of its maker.
        let unknown = || now_s.saturating_add(SLACK_S + MAX_LIFETIME_S);
        let expires_s = expires_s.unwrap_or_else(unknown);
        Self::Token { user, token, until_s: expires_s.saturating_add(SLACK_S) }
    }

    /// The Unix second from which it need not be known any more: what it means
    /// has ended.
    pub const fn until_s(self) -> u64 {
        match self {
            Self::Token { until_s, .. } => until_s,
            Self::Before { issued_s, is_lasting, .. } => {
                issued_s.saturating_add(lifetime_s(is_lasting) + SLACK_S)
            }
        }
    }

    /// Its name in a set whose members have ends: a letter, the user, and the
    /// token. Of two with the same name the one that ends later says all that
    /// the other does; so a user takes one place for all times, and one for those
    /// that are known for long.
    pub fn name(self) -> Vec<u8> {
        match self {
            Self::Token { user, token, .. } => {
                [&b"t"[..], &user.to_bytes(), token.as_bytes()].concat()
            }
            Self::Before { user, is_lasting, .. } => {
                let letter: &[u8] = if is_lasting { b"b" } else { b"s" };
                [letter, &user.to_bytes()].concat()
            }
        }
    }

    /// The revocation of this name and end; `None` if it is not one.
    pub fn of(name: &[u8], until_s: u64) -> Option<Self> {
        let (letter, rest) = name.split_first()?;
        let (user, rest) = rest.split_first_chunk::<16>()?;
        let user = UserId::from_bytes(*user);
        match (letter, rest) {
            (b't', token) => {
                let token = Uuid::from_bytes(token.try_into().ok()?);
                Some(Self::Token { user, token, until_s })
            }
            (b'b' | b's', []) => {
                let is_lasting = *letter == b'b';
                let issued_s = until_s.checked_sub(lifetime_s(is_lasting) + SLACK_S)?;
                Some(Self::Before { user, issued_s, is_lasting })
            }
            _ => None,
        }
    }

    /// Whether it means this token.
    pub fn covers(self, claims: &Claims) -> bool {
        match self {
            Self::Token { user, token, .. } => {
                user == claims.user && (token == claims.token || Some(token) == claims.session)
            }
            Self::Before { user, issued_s, .. } => {
                user == claims.user && claims.issued_s < issued_s
            }
        }
    }
}

/// How long the tokens count that are revoked by their time.
const fn lifetime_s(is_lasting: bool) -> u64 {
    if is_lasting { MAX_LIFETIME_S } else { MAX_SIGN_IN_TOKEN_S }
}

/// All that is revoked, as far as somebody knows.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Revoked {
    /// Each with the Unix second from which it need not be known any more.
    tokens: BTreeMap<(UserId, Uuid), u64>,
    /// The latest time of each user, of those that are known for long.
    before: BTreeMap<UserId, u64>,
    /// The same of the others.
    lately: BTreeMap<UserId, u64>,
}

impl Revoked {
    /// Adds one. False if all that it says was known already.
    pub fn add(&mut self, revocation: Revocation) -> bool {
        let (known, new) = match revocation {
            Revocation::Token { user, token, until_s } => {
                (self.tokens.entry((user, token)).or_insert(0), until_s)
            }
            Revocation::Before { user, issued_s, is_lasting: true } => {
                (self.before.entry(user).or_insert(0), issued_s)
            }
            Revocation::Before { user, issued_s, is_lasting: false } => {
                (self.lately.entry(user).or_insert(0), issued_s)
            }
        };
        let is_news = *known < new;
        *known = new.max(*known);
        is_news
    }

    /// Whether this token is revoked.
    pub fn covers(&self, claims: &Claims) -> bool {
        let Claims { user, token, session, issued_s, .. } = *claims;
        self.signed_out_s(user).is_some_and(|before_s| issued_s < before_s)
            || self.has_token(user, token)
            || session.is_some_and(|session| self.has_token(user, session))
    }

    /// Forgets what need not be known any more.
    pub fn forget(&mut self, now_s: u64) {
        self.tokens.retain(|_, until_s| now_s < *until_s);
        for (times, is_lasting) in [(&mut self.before, true), (&mut self.lately, false)] {
            times.retain(|&user, &mut issued_s| {
                now_s < Revocation::Before { user, issued_s, is_lasting }.until_s()
            });
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Revocation> {
        let token = |(&(user, token), &until_s)| Revocation::Token { user, token, until_s };
        let before = |is_lasting| {
            move |(&user, &issued_s)| Revocation::Before { user, issued_s, is_lasting }
        };
        let before =
            self.before.iter().map(before(true)).chain(self.lately.iter().map(before(false)));
        self.tokens.iter().map(token).chain(before)
    }

    /// Before when all of a user's tokens are revoked, in Unix seconds.
    pub fn signed_out_s(&self, user: UserId) -> Option<u64> {
        self.before.get(&user).max(self.lately.get(&user)).copied()
    }

    /// Whether that is known for long.
    pub fn is_lasting(&self, user: UserId) -> bool {
        self.before.contains_key(&user)
    }

    /// Of how many users that is known for long.
    pub fn lasting(&self) -> usize {
        self.before.len()
    }

    /// Whether this token is revoked by its name.
    pub fn has_token(&self, user: UserId, token: Uuid) -> bool {
        self.tokens.contains_key(&(user, token))
    }

    /// How many tokens of a user are revoked one by one.
    pub fn tokens_of(&self, user: UserId) -> usize {
        self.tokens_beyond(user, 0)
    }

    /// How many of them have to be known for longer than until then.
    pub fn tokens_beyond(&self, user: UserId, unix_s: u64) -> usize {
        let theirs = self.tokens.range((user, Uuid::nil())..=(user, Uuid::max()));
        theirs.filter(|(_, until_s)| **until_s > unix_s).count()
    }

    /// How many tokens of all users are revoked one by one.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// How many of those have to be known for longer than until then.
    pub fn all_beyond(&self, unix_s: u64) -> usize {
        self.tokens.values().filter(|until_s| **until_s > unix_s).count()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tokens.len() + self.before.len() + self.lately.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
            session: None,
            token: Uuid::from_u128(token),
            issued_s,
            expires_s: issued_s + 100,
        }
    }

    fn token(user: u128, token: u128, until_s: u64) -> Revocation {
        let user = UserId::new(Uuid::from_u128(user));
        Revocation::Token { user, token: Uuid::from_u128(token), until_s }
    }

    fn before(user: u128, issued_s: u64) -> Revocation {
        Revocation::Before { user: UserId::new(Uuid::from_u128(user)), issued_s, is_lasting: true }
    }

    fn lately(user: u128, issued_s: u64) -> Revocation {
        Revocation::Before { user: UserId::new(Uuid::from_u128(user)), issued_s, is_lasting: false }
    }

    #[test]
    fn a_token_is_revoked_by_its_name_and_its_user() {
        let mut revoked = Revoked::default();
        assert!(revoked.add(token(1, 7, 100)) && !revoked.add(token(1, 7, 99)));
        assert!(revoked.covers(&claims(1, 7, 5)));
        assert!(!revoked.covers(&claims(1, 8, 5)) && !revoked.covers(&claims(2, 7, 5)));
        // The name may be that of what gave it.
        let given = Claims { session: Some(Uuid::from_u128(7)), ..claims(1, 8, 5) };
        assert!(revoked.covers(&given) && token(1, 7, 100).covers(&given));
        assert!(!revoked.covers(&Claims { user: UserId::new(Uuid::from_u128(2)), ..given }));
        revoked.add(token(2, 7, 100));
        let user = |user| UserId::new(Uuid::from_u128(user));
        assert_eq!([1, 2, 3].map(|of| revoked.tokens_of(user(of))), [1, 1, 0]);
    }

    #[test]
    fn all_of_a_user_are_revoked_that_were_made_before() {
        let mut revoked = Revoked::default();
        assert!(revoked.add(before(1, 50)) && !revoked.add(before(1, 40)));
        assert!(revoked.covers(&claims(1, 7, 49)));
        assert!(!revoked.covers(&claims(1, 7, 50)) && !revoked.covers(&claims(2, 7, 49)));
        assert!(revoked.add(before(1, 60)) && revoked.len() == 1);
    }

    #[test]
    fn what_has_ended_is_forgotten() {
        let mut revoked = Revoked::default();
        let now_s = 1_000 + MAX_LIFETIME_S;
        revoked.add(token(1, 7, now_s + 1));
        revoked.add(before(1, 1_000));
        revoked.forget(now_s);
        assert_eq!(revoked.len(), 2);
        revoked.forget(now_s + 1);
        assert!(!revoked.covers(&claims(1, 7, 1_000)) && revoked.covers(&claims(1, 7, 999)));
        revoked.forget(now_s + SLACK_S);
        assert!(revoked.is_empty() && !revoked.covers(&claims(1, 7, 10)));
    }

    #[test]
    fn what_sign_ins_gave_is_forgotten_soon() {
        let mut revoked = Revoked::default();
        assert!(revoked.add(lately(1, 1_000)) && revoked.add(before(2, 1_000)));
        assert!(revoked.covers(&claims(1, 7, 999)) && !revoked.covers(&claims(1, 7, 1_000)));
        assert_eq!((revoked.len(), revoked.lasting()), (2, 1));
        // The later one counts, whichever is known for longer.
        assert!(revoked.add(lately(2, 1_100)) && revoked.covers(&claims(2, 7, 1_099)));
        let ended_s = 1_100 + MAX_SIGN_IN_TOKEN_S + SLACK_S;
        revoked.forget(ended_s - 1);
        assert_eq!(revoked.len(), 2, "the first one has ended");
        revoked.forget(ended_s);
        assert!(revoked.covers(&claims(2, 7, 999)) && !revoked.covers(&claims(2, 7, 1_099)));
    }

    /// What servers of before have put into the set.
    #[test]
    fn what_was_kept_before_is_read() {
        let user = UserId::new(Uuid::from_u128(1));
        let name = [&b"b"[..], &user.to_bytes()].concat();
        let read = Revocation::of(&name, 1_000 + MAX_LIFETIME_S + SLACK_S);
        assert_eq!(read, Some(before(1, 1_000)));
    }

    #[test]
    fn a_token_is_remembered_until_it_has_ended() {
        let (user, name) = (UserId::new(Uuid::from_u128(1)), Uuid::from_u128(7));
        let until = |expires_s| Revocation::token(user, name, expires_s, 500).until_s();
        assert_eq!(until(Some(900)), 900 + SLACK_S);
        assert_eq!(until(None), 500 + SLACK_S + MAX_LIFETIME_S + SLACK_S);
    }

    fn any_revocation() -> impl Strategy<Value = Revocation> {
        (0..3_u128, 0..3_u8, 0..9_u64, 1..9_u64).prop_map(|(user, kind, n, until_s)| match kind {
            0 => token(user, n.into(), until_s),
            1 => before(user, n),
            _ => lately(user, n),
        })
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(revocation in any_revocation(), cut in 0..33_usize) {
            let name = revocation.name();
            prop_assert!(name.len() <= 33);
            prop_assert_eq!(Revocation::of(&name, revocation.until_s()), Some(revocation));
            let cut = cut.min(name.len() - 1);
            prop_assert_eq!(Revocation::of(&name[..cut], revocation.until_s()), None);
        }

        /// In whatever order parts come together, and though a set keeps only
        /// the latest end of each name, they mean what each means alone.
        #[test]
        fn the_order_does_not_matter(
            parts in prop::collection::vec(any_revocation(), 0..12),
            user in 0..3_u128, name in 0..9_u128, issued_s in 0..9_u64, now_s in 0..9_u64,
        ) {
            let mut forwards = Revoked::default();
            let mut backwards = Revoked::default();
            let mut set = BTreeMap::new();
            for (one, other) in parts.iter().zip(parts.iter().rev()) {
                forwards.add(*one);
                backwards.add(*other);
                let until_s = set.entry(one.name()).or_insert(0);
                *until_s = one.until_s().max(*until_s);
            }
            prop_assert_eq!(&forwards, &backwards);
            let mut kept = Revoked::default();
            for (name, until_s) in set {
                kept.add(Revocation::of(&name, until_s).expect("it has been one"));
            }
            prop_assert_eq!(&forwards, &kept);
            let claims = claims(user, name, issued_s);
            let covers = parts.iter().any(|revocation| revocation.covers(&claims));
            prop_assert_eq!(forwards.covers(&claims), covers);
            forwards.forget(now_s);
            let mut lasting = parts.iter().filter(|revocation| now_s < revocation.until_s());
            let must = lasting.any(|revocation| revocation.covers(&claims));
            prop_assert!(!must || forwards.covers(&claims), "what has not ended is forgotten");
        }
    }
}
