//! `POST /api/v1/token/revoke`: ends tokens before their time.
//!
//! Everybody revokes their own. Whoever operates the server can make a token
//! of anybody (`avvyland revoke` does), so no role stands above the others.

use avvy_auth::{Claims, MAX_SIGN_IN_TOKEN_S, Revocation};
use avvy_model::{Code, UserId};
use avvy_protocol::rest::{self, RevokeTokens, RevokedBody};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use avvy_actors::Verb;

use super::auth::Caller;
use super::body::Payload;
use super::edge::Arrival;
use super::route::Route;
use super::{App, Failure};
use crate::time::unix_s;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/token/revoke", revoke, "Ends tokens of the caller before their time.")
            .unkeyed()
            .may_take::<RevokeTokens>()
            .answers::<RevokedBody>(StatusCode::OK, "Until when it is remembered.")
            .fails(&[Code::Forbidden])
            .fails_as(StatusCode::CONFLICT, Code::TooLarge),
    ]
}

pub(super) async fn revoke(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    payload: Payload,
) -> Result<Response, Failure> {
    let asked: RevokeTokens = match payload.bytes.is_empty() {
        true => RevokeTokens::default(),
        false => rest::decode(&payload.bytes, payload.format, app.config.max_body_bytes)?,
    };
    app.system.account(&claims).take(Verb::Refresh)?;
    let (of, now_s) = (|token: &str| app.system.read_token(token), unix_s());
    let until = match meant(&asked, &claims, of, now_s)? {
        Revocation::Before { user, issued_s, is_lasting } => {
            app.identity.sign_out_before(user, issued_s, is_lasting, now_s).await?
        }
        token => app.system.revoke(token).await.map_err(|code| match code {
            Code::TooLarge => Failure::new(code)
                .status(StatusCode::CONFLICT)
                .details("too many are revoked one by one: give `before`"),
            code => code.into(),
        })?,
    };
    Ok(arrival.reply(StatusCode::OK, &RevokedBody { until }))
}

/// What is meant.
fn meant(
    asked: &RevokeTokens,
    claims: &Claims,
    read: impl Fn(&str) -> Result<Claims, Code>,
    now_s: u64,
) -> Result<Revocation, Failure> {
    let malformed = |details: &str| Failure::new(Code::Malformed).details(details);
    let of = |claims: &Claims| {
        Revocation::token(claims.user, claims.token, Some(claims.expires_s), now_s)
    };
    match asked {
        RevokeTokens { token: None, id: None, before: None } => Ok(of(claims)),
        RevokeTokens { token: Some(token), id: None, before: None } => {
            let theirs = read(token).map_err(|_| malformed("token: it does not count anyway"))?;
            if theirs.user != claims.user {
                let details = "token: it is of another user";
                return Err(Failure::new(Code::Forbidden).details(details));
            }
            Ok(of(&theirs))
        }
        RevokeTokens { token: None, id: Some(id), before: None } => {
            // Any id in its one form will do to read it.
            let id: UserId = id.parse().map_err(|_| malformed("id: the `jti` of a token"))?;
            // Anybody can sign in and make up ids: those of sign-ins end soon.
            let expires_s = claims.session.map(|_| now_s + MAX_SIGN_IN_TOKEN_S);
            Ok(Revocation::token(claims.user, id.uuid(), expires_s, now_s))
        }
        RevokeTokens { token: None, id: None, before: Some(before) } => {
            // Nobody shuts themselves out of the future.
            let issued_s = (*before).min(now_s + 1);
            let is_lasting = claims.session.is_none();
            Ok(Revocation::Before { user: claims.user, issued_s, is_lasting })
        }
        _ => Err(malformed("one of token, id and before")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use avvy_model::Role;
    use uuid::Uuid;

    use super::*;

    const ID: &str = "0b9d8e7f-6a5c-4d3e-8f1a-2b3c4d5e6f70";

    fn claims(user: u128, token: u128) -> Claims {
        Claims {
            user: UserId::new(Uuid::from_u128(user)),
            role: Role::Visitor,
            name: None,
            branes: Vec::new(),
            session: None,
            token: Uuid::from_u128(token),
            issued_s: 100,
            expires_s: 900,
        }
    }

    fn read(token: &str) -> Result<Claims, Code> {
        match token {
            "mine" => Ok(claims(1, 8)),
            "theirs" => Ok(claims(2, 9)),
            _ => Err(Code::TokenInvalid),
        }
    }

    fn ask(asked: RevokeTokens) -> Result<Revocation, Code> {
        meant(&asked, &claims(1, 7), read, 500).map_err(|failure| failure.code())
    }

    fn token(token: u128) -> Revocation {
        let Claims { user, token, .. } = claims(1, token);
        Revocation::token(user, token, Some(900), 500)
    }

    #[test]
    fn everybody_revokes_their_own() {
        let nothing = RevokeTokens::default();
        assert_eq!(ask(nothing.clone()), Ok(token(7)));
        let by = |text: &str| RevokeTokens { token: Some(text.to_owned()), ..Default::default() };
        assert_eq!(ask(by("mine")), Ok(token(8)));
        assert_eq!(ask(by("theirs")), Err(Code::Forbidden));
        assert_eq!(ask(by("nonsense")), Err(Code::Malformed));
        let id = |text: &str| RevokeTokens { id: Some(text.to_owned()), ..Default::default() };
        let named = Revocation::token(claims(1, 0).user, ID.parse().unwrap(), None, 500);
        assert_eq!(ask(id(ID)), Ok(named));
        assert_eq!(ask(id("nonsense")), Err(Code::Malformed));
        assert_eq!(ask(RevokeTokens { before: Some(1), ..id(ID) }), Err(Code::Malformed));
    }

    #[test]
    fn nobody_shuts_themselves_out_of_the_future() {
        for (before, issued_s) in [(400, 400), (501, 501), (502, 501), (u64::MAX, 501)] {
            let asked = RevokeTokens { before: Some(before), ..Default::default() };
            let user = claims(1, 0).user;
            let is_lasting = true;
            assert_eq!(ask(asked), Ok(Revocation::Before { user, issued_s, is_lasting }));
        }
    }

    #[test]
    fn what_a_sign_in_has_revoked_is_remembered_no_longer_than_sign_ins_count() {
        let mine = Claims { session: Some(Uuid::from_u128(3)), ..claims(1, 7) };
        let ask = |asked| meant(&asked, &mine, read, 500).map_err(|failure| failure.code());
        let id = RevokeTokens { id: Some(ID.to_owned()), ..Default::default() };
        let soon = Some(500 + MAX_SIGN_IN_TOKEN_S);
        assert_eq!(ask(id), Ok(Revocation::token(mine.user, ID.parse().unwrap(), soon, 500)));
        let before = RevokeTokens { before: Some(400), ..Default::default() };
        let (user, issued_s) = (mine.user, 400);
        assert_eq!(ask(before), Ok(Revocation::Before { user, issued_s, is_lasting: false }));
    }
}
