//! What keeps somebody signed in: a family of refresh tokens, and the access
//! tokens that it gives.
//!
//! A family is a record of `families`: `user`, `began` and `used` (times), `by`
//! (the key of the way in), `label` (the same for people), `agent` (left out if
//! nothing was said) and `family`, the JSON of [`avvy_auth::family::Family`]. Its
//! key is the id of the session, which is computed from the family's and is in
//! each of its access tokens: so one revocation ends all of them.

use avvy_auth::family::{Family, FamilyId, Refresh, RefreshError, RefreshToken};
use avvy_auth::{Claims, Revocation};
use avvy_model::{Code, Role, UserId};
use avvy_persistence::records::{
    Collection, Draft, Expect, Fields, Index, IndexKey, KeyRange, Query, Record, RecordWrite, Value,
};
use uuid::Uuid;

use crate::stored::{TRIES, damaged, random};
use crate::ways::{Comer, Held, WAYS_IN, Way, WaysOf};
use crate::{Asker, Identity, IdentityError, User};

const BY_USER: &str = "by_user";

pub(crate) static FAMILIES: Collection =
    Collection { name: "families", indexes: &[Index::plain(BY_USER)] };

/// The most sign-ins that one user can have.
pub const MAX_SIGN_INS: usize = 512;

/// Bytes that are kept of what a program says of itself.
const MAX_AGENT_BYTES: usize = 200;

/// What somebody gets who signs in, or goes on.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The access token: a JWT.
    pub access: String,
    /// When it ends, in Unix seconds.
    pub access_ends_s: u64,
    /// Good once, for the next tokens.
    pub refresh: RefreshToken,
    /// When that ends if it is not used, in Unix seconds.
    pub refresh_ends_s: u64,
    /// Whose they are.
    pub user: UserId,
    /// The id of the sign-in.
    pub session: Uuid,
    /// Whether the user was made just now.
    pub is_new: bool,
}

/// A sign-in that lasts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedIn {
    /// Its id; `sid` of its access tokens.
    pub id: Uuid,
    /// When it began, in Unix seconds.
    pub began_s: u64,
    /// When it was used last, in Unix seconds.
    pub used_s: u64,
    /// When it ends if it is not used, in Unix seconds.
    pub ends_s: u64,
    /// By what, for people.
    pub by: String,
    /// By what program, as that said itself.
    pub agent: Option<String>,
}

/// What shows now who somebody is: a sign-in of just now, or a wallet's signature.
pub(crate) struct JustNow {
    /// The key of the way in.
    by: String,
    began_s: u64,
}

impl JustNow {
    /// By a wallet that has signed now: no sign-in, which ends with others.
    pub(crate) const fn signed(by: String) -> Self {
        Self { by, began_s: u64::MAX }
    }

    pub(crate) fn way(&self) -> &str {
        &self.by
    }

    /// Holds it to count for who has these ways.
    ///
    /// # Errors
    /// `NotJustNow`.
    pub(crate) fn check(&self, ways: &WaysOf) -> Result<(), IdentityError> {
        let counts = ways.has(&self.by) && ways.ended_s() <= self.began_s;
        if counts { Ok(()) } else { Err(IdentityError::NotJustNow) }
    }
}

/// A family and what is kept beside it.
struct Kept {
    family: Family,
    used_s: u64,
    by: String,
    label: String,
    agent: Option<String>,
}

impl Kept {
    fn draft(&self, ends_s: u64) -> Draft {
        let user = self.family.user();
        let json = serde_json::to_string(&self.family).expect("a family always has a JSON form");
        let mut body = Fields::new()
            .with("user", user.uuid())
            .with("began", Value::time(self.family.started_s()))
            .with("used", Value::time(self.used_s))
            .with("by", self.by.as_str())
            .with("label", self.label.as_str())
            .with("family", json);
        if let Some(agent) = &self.agent {
            body.set("agent", agent.as_str());
        }
        Draft::new(body).found_by(BY_USER, IndexKey::new().uuid(user.uuid())).until(ends_s)
    }

    fn read(record: &Record) -> Result<Self, IdentityError> {
        let body = &record.body;
        let read = || {
            let family = serde_json::from_str(body.text("family")?).ok()?;
            Some(Self {
                family,
                used_s: body.time("used")?,
                by: body.text("by")?.to_owned(),
                label: body.text("label")?.to_owned(),
                agent: body.text("agent").map(str::to_owned),
            })
        };
        read().ok_or_else(|| damaged(&FAMILIES, &record.key))
    }
}

impl Identity {
    /// Signs in whoever comes by this way; by this name if they are new.
    pub(crate) async fn sign_in(
        &self,
        way: &Way,
        name: &str,
        mut comer: Comer<'_>,
        asker: &Asker,
    ) -> Result<Tokens, IdentityError> {
        for _ in 0..TRIES {
            let Held { user, version, is_new } = self.user_by(way, name, comer, asker).await?;
            self.make_room(user, asker.now_s).await?;
            let id = FamilyId(uuid::Builder::from_random_bytes(random()?).into_uuid());
            // Who signed out everywhere in this second is in again in the next, also
            // at a node that has not heard of it.
            let ways = self.ways_of(user, asker.now_s).await?;
            let began_s = self.ended_s(user, &ways).clamp(asker.now_s, asker.now_s + 1);
            let (family, refresh) = Family::start(user, id, random()?, began_s);
            let kept = Kept {
                family,
                used_s: began_s,
                by: way.key(),
                label: way.label(),
                agent: asker.agent.as_deref().map(agent_of),
            };
            let draft = kept.draft(kept.family.ends_s(&self.options().families));
            // Whoever takes the way from the user ends what it began by then.
            let writes = vec![
                RecordWrite::create(&FAMILIES, id.session().into(), draft),
                RecordWrite::check(&WAYS_IN, way.record_key(), Expect::Version(version)),
            ];
            if self.stored.commit(writes, asker.now_s).await?.is_ok() {
                let tokens = self.tokens(&kept.family, refresh, asker.now_s).await?;
                return Ok(Tokens { is_new, ..tokens });
            }
            comer = self.comer(way, asker).await?;
        }
        Err(IdentityError::Unavailable("others change this way in all the time"))
    }

    /// The next tokens for a refresh token, which is good once; the one that was
    /// taken last is answered once more within a short time.
    ///
    /// # Errors
    /// `Refresh`, after which the sign-in has ended unless the token is of none;
    /// `SignedOut`.
    pub async fn refresh(&self, token: &str, asker: &Asker) -> Result<Tokens, IdentityError> {
        // Nobody is locked out for a wrong one: it cannot be guessed, and those
        // behind the same address would be signed out.
        let (token, now_s) = (RefreshToken::parse(token)?, asker.now_s);
        let session = token.family().session();
        for _ in 0..TRIES {
            let found = self.stored.fresh(&FAMILIES, session.into(), now_s).await?;
            let record = found.ok_or(RefreshError::Malformed)?;
            let kept = Kept::read(&record)?;
            let user = kept.family.user();
            let ways = self.ways_of(user, now_s).await?;
            let is_over = kept.family.started_s() < self.ended_s(user, &ways);
            if is_over || !ways.has(&kept.by) {
                self.end(user, session, now_s).await?;
                return Err(IdentityError::SignedOut);
            }
            match kept.family.refresh(&token, random()?, now_s, &self.options().families) {
                Ok(Refresh::Repeated(next)) => return self.tokens(&kept.family, next, now_s).await,
                Ok(Refresh::Taken(family, next)) => {
                    let kept = Kept { family, used_s: now_s, ..kept };
                    let draft = kept.draft(kept.family.ends_s(&self.options().families));
                    let key = record.key.clone();
                    let write = RecordWrite::update(&FAMILIES, key, record.version, draft);
                    if self.stored.commit(vec![write], now_s).await?.is_ok() {
                        return self.tokens(&kept.family, next, now_s).await;
                    }
                }
                Err(error) => {
                    if error.ends_family() {
                        self.end(user, session, now_s).await?;
                    }
                    return Err(error.into());
                }
            }
        }
        Err(IdentityError::Unavailable("others refresh the same sign-in all the time"))
    }

    /// The sign-ins of a user that last, the one that began last first.
    ///
    /// # Errors
    /// As the store has them.
    pub async fn sessions(&self, user: UserId, now_s: u64) -> Result<Vec<SignedIn>, IdentityError> {
        let before_s = self.ended_s(user, &self.ways_of(user, now_s).await?);
        let mut found = Vec::new();
        for (id, kept) in self.families(user, now_s).await? {
            if kept.family.started_s() >= before_s {
                found.push(SignedIn {
                    id,
                    began_s: kept.family.started_s(),
                    used_s: kept.used_s,
                    ends_s: kept.family.ends_s(&self.options().families),
                    by: kept.label,
                    agent: kept.agent,
                });
            }
        }
        found.sort_by_key(|one| (std::cmp::Reverse(one.began_s), one.id));
        Ok(found)
    }

    /// Ends the sign-in of a token: it, and all that it gave. One that no
    /// sign-in gave is ended alone.
    ///
    /// # Errors
    /// `NotRevoked`.
    pub async fn sign_out(&self, claims: &Claims, now_s: u64) -> Result<(), IdentityError> {
        match claims.session {
            Some(session) => self.end(claims.user, session, now_s).await,
            None => {
                let Claims { user, token, expires_s, .. } = *claims;
                let revocation = Revocation::token(user, token, Some(expires_s), now_s);
                self.revoke(user, revocation, true, now_s).await
            }
        }
    }

    /// Ends one sign-in of a user.
    ///
    /// # Errors
    /// `UnknownSession`, `NotRevoked`.
    pub async fn end_session(
        &self,
        user: UserId,
        session: Uuid,
        now_s: u64,
    ) -> Result<(), IdentityError> {
        let found = self.stored.fresh(&FAMILIES, session.into(), now_s).await?;
        let is_theirs = match &found {
            Some(record) => Kept::read(record)?.family.user() == user,
            None => false,
        };
        if is_theirs {
            self.end(user, session, now_s).await
        } else {
            Err(IdentityError::UnknownSession)
        }
    }

    /// The sign-in of a token, if it began as long ago at most as a wallet has time
    /// to answer.
    ///
    /// # Errors
    /// `NotJustNow`.
    pub(crate) async fn signed_in_just_now(
        &self,
        claims: &Claims,
        now_s: u64,
    ) -> Result<JustNow, IdentityError> {
        let session = claims.session.ok_or(IdentityError::NotJustNow)?;
        let found = self.stored.fresh(&FAMILIES, session.into(), now_s).await?;
        let kept = Kept::read(&*found.ok_or(IdentityError::NotJustNow)?)?;
        let age_s = now_s.saturating_sub(kept.family.started_s());
        let is_theirs = kept.family.user() == claims.user;
        let is_young = age_s <= self.options().challenge_lifetime_s;
        if !is_theirs || !is_young {
            return Err(IdentityError::NotJustNow);
        }
        Ok(JustNow { by: kept.by, began_s: kept.family.started_s() })
    }

    /// Ends every sign-in and every token of a user that was made before a time,
    /// and gives the Unix second until which the latter is remembered. That is
    /// for a year if `is_lasting`, as it has to be where the user may have tokens
    /// that no sign-in gave.
    ///
    /// # Errors
    /// `NotRevoked`.
    pub async fn sign_out_before(
        &self,
        user: UserId,
        issued_s: u64,
        is_lasting: bool,
        now_s: u64,
    ) -> Result<u64, IdentityError> {
        let revocation = Revocation::Before { user, issued_s, is_lasting };
        let until_s = self.inner.revocations.revoke(revocation).await;
        // Refresh tokens count for longer than that is remembered.
        self.end_before(user, issued_s, now_s).await?;
        until_s.map_err(IdentityError::NotRevoked)
    }

    /// Ends every sign-in and every token that there is now of the user of a
    /// token.
    ///
    /// # Errors
    /// `NotRevoked`.
    pub async fn sign_out_everywhere(
        &self,
        claims: &Claims,
        now_s: u64,
    ) -> Result<(), IdentityError> {
        let user = claims.user;
        // Nothing counts any more from here on; the rest is tidiness.
        self.sign_out_before(user, now_s + 1, claims.session.is_none(), now_s).await?;
        for (session, kept) in self.families(user, now_s).await? {
            if kept.family.started_s() > now_s {
                // It began in this second, after an earlier sign-out.
                self.end(user, session, now_s).await?;
            } else {
                self.remove(session, now_s).await?;
            }
        }
        Ok(())
    }

    /// Ends the sign-ins of a user by a way that is not theirs any more.
    pub(crate) async fn end_sessions_by(
        &self,
        user: UserId,
        by: &str,
        now_s: u64,
    ) -> Result<(), IdentityError> {
        for (session, kept) in self.families(user, now_s).await? {
            if kept.by == by {
                self.end(user, session, now_s).await?;
            }
        }
        Ok(())
    }

    /// Ends a sign-in and the access tokens that it gave. These first: a sign-in
    /// that is gone could not be ended again.
    async fn end(&self, user: UserId, session: Uuid, now_s: u64) -> Result<(), IdentityError> {
        let ends_s = now_s + self.options().access_lifetime_s;
        let revocation = Revocation::token(user, session, Some(ends_s), now_s);
        self.revoke(user, revocation, false, now_s).await?;
        self.remove(session, now_s).await
    }

    async fn remove(&self, session: Uuid, now_s: u64) -> Result<(), IdentityError> {
        let delete = RecordWrite::delete(&FAMILIES, session.into(), Expect::Any);
        // Nothing is expected, so nothing is refused.
        let _ = self.stored.commit(vec![delete], now_s).await?;
        Ok(())
    }

    /// Ends the sign-ins that were used the longest time ago if there are too
    /// many. Their access tokens end by themselves.
    async fn make_room(&self, user: UserId, now_s: u64) -> Result<(), IdentityError> {
        let most = self.options().max_sign_ins.clamp(1, MAX_SIGN_INS);
        let mut families = self.families(user, now_s).await?;
        families.sort_by_key(|(id, kept)| (kept.used_s, *id));
        let beyond = (families.len() + 1).saturating_sub(most);
        for (session, _) in families.into_iter().take(beyond) {
            self.remove(session, now_s).await?;
        }
        Ok(())
    }

    async fn families(&self, user: UserId, now_s: u64) -> Result<Vec<(Uuid, Kept)>, IdentityError> {
        let of_user = KeyRange::prefix(IndexKey::new().uuid(user.uuid()));
        let page = self.records().list(&FAMILIES, Query::new(BY_USER, of_user), now_s).await?;
        let one = |record: &Record| {
            let id = Uuid::try_parse(record.key.as_str());
            let id = id.map_err(|_| damaged(&FAMILIES, &record.key))?;
            Ok((id, Kept::read(record)?))
        };
        page.found.iter().map(|listed| one(&listed.record)).collect()
    }

    async fn tokens(
        &self,
        family: &Family,
        refresh: RefreshToken,
        now_s: u64,
    ) -> Result<Tokens, IdentityError> {
        let (user, session) = (family.user(), refresh.family().session());
        let name = self.user(user, now_s).await?.map(|User { name, .. }| name);
        let refresh_ends_s = family.ends_s(&self.options().families);
        // Not later than the sign-in if that is of the next second: whoever has
        // signed out everywhere meanwhile has ended this one.
        let issued_s = family.started_s().clamp(now_s, now_s + 1);
        let access_ends_s =
            (issued_s + self.options().access_lifetime_s).min(refresh_ends_s.max(issued_s + 1));
        let access = self.issuer().issue(&Claims {
            user,
            // What somebody may do is for the rights of each brane to say.
            role: Role::Owner,
            name,
            branes: Vec::new(),
            token: uuid::Builder::from_random_bytes(random()?).into_uuid(),
            session: Some(session),
            issued_s,
            expires_s: access_ends_s,
        });
        Ok(Tokens { access, access_ends_s, refresh, refresh_ends_s, user, session, is_new: false })
    }

    fn signed_out_s(&self, user: UserId) -> u64 {
        self.inner.revocations.signed_out_s(user).unwrap_or(0)
    }

    /// The Unix second before which all sign-ins of a user with these ways have
    /// ended.
    fn ended_s(&self, user: UserId, ways: &WaysOf) -> u64 {
        self.signed_out_s(user).max(ways.ended_s())
    }

    /// Revokes; all that there is now of a user who has too many revoked one by
    /// one.
    async fn revoke(
        &self,
        user: UserId,
        revocation: Revocation,
        is_lasting: bool,
        now_s: u64,
    ) -> Result<(), IdentityError> {
        match self.inner.revocations.revoke(revocation).await {
            Ok(_) => Ok(()),
            Err(Code::TooLarge) => {
                self.sign_out_before(user, now_s + 1, is_lasting, now_s).await.map(|_| ())
            }
            Err(code) => Err(IdentityError::NotRevoked(code)),
        }
    }
}

/// What is kept of what a program says of itself.
fn agent_of(said: &str) -> String {
    let mut agent: String = said.chars().filter(|letter| !letter.is_control()).collect();
    while agent.len() > MAX_AGENT_BYTES {
        agent.pop();
    }
    agent
}
