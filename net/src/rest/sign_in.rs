//! `/api/v1/auth`: signing in, staying signed in, and signing out.
//!
//! Who signs in has no token yet: those routes are open, and each request
//! counts for a rate of its address besides that of all requests. The rest is
//! behind [`super::auth::authenticate`] as everything else is.

use std::net::IpAddr;

use avvy_actors::Limit;
use avvy_auth::wallet::Address;
use avvy_identity::{Asker, IdentityError, OidcError, Signed, Tokens, Wanted};
use avvy_model::Code;
use avvy_protocol::rest::{
    AskChallenge, ChallengeBody, DevelopmentSignIn, RefreshBody, SignInBody, SignInsBody,
    SignedBody, TokensBody, WalletsBody,
};
use axum::extract::State;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use uuid::Uuid;

use super::auth::{Caller, Token};
use super::body::{Named, Payload, body};
use super::edge::Arrival;
use super::route::{Kind, Param, Route};
use super::{App, Failure};
use crate::addresses::OpenVerb;
use crate::time::{monotonic_ms, unix_s};

pub(super) fn routes() -> Vec<Route> {
    [open_routes(), session_routes(), wallet_routes()].concat()
}

fn open_routes() -> Vec<Route> {
    let tokens = "Tokens of the user.";
    let of_token =
        [Code::NotAuthenticated, Code::TokenInvalid, Code::TokenExpired, Code::TokenRevoked];
    vec![
        Route::post("/auth/dev", for_development, "Signs in by a name, for development.")
            .open()
            .unkeyed()
            .takes::<DevelopmentSignIn>()
            .answers::<TokensBody>(StatusCode::OK, tokens)
            .fails(&[Code::NotFound, Code::Forbidden]),
        Route::post("/auth/challenge", challenge, "What a wallet is to sign.")
            .open()
            .unkeyed()
            .takes::<AskChallenge>()
            .answers::<ChallengeBody>(StatusCode::OK, "The message, which counts once.")
            .fails(&of_token)
            .fails(&[Code::NotFound]),
        Route::post("/auth/wallet", by_wallet, "Signs in by what a wallet has signed.")
            .open()
            .unkeyed()
            .takes::<SignedBody>()
            .answers::<TokensBody>(StatusCode::OK, tokens)
            .fails(&[Code::NotFound, Code::ProofInvalid, Code::Damaged]),
        Route::post("/auth/refresh", refresh, "The next tokens for a refresh token.")
            .open()
            .unkeyed()
            .takes::<RefreshBody>()
            .answers::<TokensBody>(StatusCode::OK, tokens)
            .fails(&of_token[1..])
            .fails(&[Code::Damaged]),
    ]
}

fn session_routes() -> Vec<Route> {
    let done = "It has ended.";
    vec![
        Route::post("/auth/sign-out", sign_out, "Ends the sign-in of the token that asks.")
            .unkeyed()
            .ends(StatusCode::NO_CONTENT, done),
        Route::post(
            "/auth/sign-out-everywhere",
            sign_out_everywhere,
            "Ends every sign-in and every token of the caller.",
        )
        .unkeyed()
        .ends(StatusCode::NO_CONTENT, "They have ended.")
        .fails(&[Code::Damaged]),
        Route::get("/auth/sessions", sessions, "The caller's sign-ins that last.")
            .answers::<SignInsBody>(StatusCode::OK, "All of them, the newest first.")
            .fails(&[Code::Damaged]),
        Route::delete("/auth/sessions/{id}", end_session, "Ends one of the caller's sign-ins.")
            .unkeyed()
            .ends(StatusCode::NO_CONTENT, done)
            .fails(&[Code::Damaged]),
    ]
}

fn wallet_routes() -> Vec<Route> {
    let all = "The wallets that sign in the caller.";
    let wrong = [Code::NotFound, Code::Forbidden, Code::ProofInvalid, Code::Damaged];
    vec![
        Route::get("/auth/wallets", wallets, all)
            .answers::<WalletsBody>(StatusCode::OK, "All of them.")
            .fails(&[Code::Damaged]),
        Route::post("/auth/wallets", attach_wallet, "Has a wallet sign in the caller.")
            .unkeyed()
            .takes::<SignedBody>()
            .answers::<WalletsBody>(StatusCode::OK, all)
            .fails(&wrong)
            .fails(&[Code::Exists]),
        Route::delete("/auth/wallets/{address}", detach_wallet, "Has it do so no more.")
            .unkeyed()
            .reads(&[Param { name: "address", meaning: "The wallet.", kind: Kind::Text(42) }])
            .may_take::<SignedBody>()
            .answers::<WalletsBody>(StatusCode::OK, all)
            .fails(&wrong),
    ]
}

async fn challenge(
    State(app): State<App>,
    arrival: Arrival,
    Token(caller): Token,
    payload: Payload,
) -> Result<Response, Failure> {
    take(&app, &arrival, OpenVerb::Challenge)?;
    let asked: AskChallenge = body(&app, &payload)?;
    let address = address(&asked.address)?;
    let wanted = match (asked.purpose.as_deref(), asked.wallet.as_deref()) {
        (None | Some("sign_in"), None) => Wanted::SignIn,
        (Some("attach"), None) => Wanted::Attach(caller?.0.user),
        (Some("detach"), Some(wallet)) => Wanted::Detach(caller?.0.user, self::address(wallet)?),
        _ => {
            let details = "purpose: sign_in, attach, or detach with the `wallet` that is to go";
            return Err(Failure::new(Code::Malformed).details(details));
        }
    };
    let asked = app.identity.challenge(wanted, address, asked.chain_id, unix_s()).await?;
    let body = ChallengeBody { message: asked.message, nonce: asked.nonce, expires: asked.ends_s };
    Ok(secret(&arrival, &body))
}

async fn by_wallet(
    State(app): State<App>,
    arrival: Arrival,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Response, Failure> {
    take(&app, &arrival, OpenVerb::SignIn)?;
    let signed = signed(&body(&app, &payload)?)?;
    let tokens = app.identity.sign_in_by_wallet(&signed, &asker(&arrival, &headers)).await?;
    Ok(secret(&arrival, &tokens_body(tokens)))
}

async fn for_development(
    State(app): State<App>,
    arrival: Arrival,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Response, Failure> {
    take(&app, &arrival, OpenVerb::SignIn)?;
    if !is_meant_for_here(&headers) {
        let details = "Host: only this machine by its own name, such as localhost, and no proxy";
        return Err(Failure::new(Code::Forbidden).details(details));
    }
    let DevelopmentSignIn { name } = body(&app, &payload)?;
    let asker = asker(&arrival, &headers);
    let tokens = app.identity.sign_in_for_development(&name, &asker).await?;
    Ok(secret(&arrival, &tokens_body(tokens)))
}

/// Whether whoever asks means this machine, and asks it themselves. That only the
/// loopback is listened to says less: a page elsewhere may have its own name lead
/// here (DNS rebinding), and a proxy brings anybody.
fn is_meant_for_here(headers: &HeaderMap) -> bool {
    let proxies = ["forwarded", "x-forwarded-for", "x-forwarded-host", "via"];
    let is_passed_on = proxies.into_iter().any(|name| headers.contains_key(name));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse().ok());
    !is_passed_on && host.is_some_and(|host: Authority| is_here(host.host()))
}

fn is_here(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn refresh(
    State(app): State<App>,
    arrival: Arrival,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Response, Failure> {
    take(&app, &arrival, OpenVerb::Refresh)?;
    let RefreshBody { refresh_token } = body(&app, &payload)?;
    let tokens = app.identity.refresh(&refresh_token, &asker(&arrival, &headers)).await?;
    Ok(secret(&arrival, &tokens_body(tokens)))
}

async fn sign_out(State(app): State<App>, Caller(claims): Caller) -> Result<StatusCode, Failure> {
    app.identity.sign_out(&claims, unix_s()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn sign_out_everywhere(
    State(app): State<App>,
    Caller(claims): Caller,
) -> Result<StatusCode, Failure> {
    app.system.account(&claims).take(avvy_actors::Verb::Refresh)?;
    app.identity.sign_out_everywhere(&claims, unix_s()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn sessions(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
) -> Result<Response, Failure> {
    app.system.account(&claims).take(avvy_actors::Verb::Page)?;
    let found = app.identity.sessions(claims.user, unix_s()).await?;
    let body = |one: avvy_identity::SignedIn| SignInBody {
        id: one.id,
        began: one.began_s,
        used: one.used_s,
        expires: one.ends_s,
        by: one.by,
        agent: one.agent,
        is_this: claims.session == Some(one.id),
    };
    let sessions = found.into_iter().map(body).collect();
    Ok(arrival.reply(StatusCode::OK, &SignInsBody { sessions }))
}

async fn end_session(
    State(app): State<App>,
    Caller(claims): Caller,
    Named(id): Named,
) -> Result<StatusCode, Failure> {
    app.system.account(&claims).take(avvy_actors::Verb::Refresh)?;
    let id = Uuid::try_parse(&id).map_err(|_| Code::NotFound)?;
    app.identity.end_session(claims.user, id, unix_s()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn wallets(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
) -> Result<Response, Failure> {
    app.system.account(&claims).take(avvy_actors::Verb::Page)?;
    let wallets = app.identity.wallets(claims.user, unix_s()).await?;
    Ok(arrival.reply(StatusCode::OK, &wallets_body(&wallets)))
}

async fn attach_wallet(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Response, Failure> {
    take(&app, &arrival, OpenVerb::SignIn)?;
    let signed = signed(&body(&app, &payload)?)?;
    let asker = asker(&arrival, &headers);
    let wallets = app.identity.attach_wallet(&claims, &signed, &asker).await?;
    Ok(arrival.reply(StatusCode::OK, &wallets_body(&wallets)))
}

async fn detach_wallet(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    Named(wallet): Named,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Response, Failure> {
    take(&app, &arrival, OpenVerb::SignIn)?;
    let wallet = wallet.parse().map_err(|_| Code::NotFound)?;
    let asker = asker(&arrival, &headers);
    let wallets = match payload.bytes.is_empty() {
        true => app.identity.detach_wallet_just_now(&claims, wallet, asker.now_s).await?,
        false => {
            let signed = signed(&body(&app, &payload)?)?;
            app.identity.detach_wallet(claims.user, wallet, &signed, &asker).await?
        }
    };
    Ok(arrival.reply(StatusCode::OK, &wallets_body(&wallets)))
}

/// One of what the address may ask so without a token.
pub(super) fn take(app: &App, arrival: &Arrival, verb: OpenVerb) -> Result<(), Failure> {
    let taken = arrival.address.take_open(verb, monotonic_ms());
    taken.inspect_err(|_| app.met(Limit::SignInRate)).map_err(Failure::from)
}

fn signed(body: &SignedBody) -> Result<Signed, Failure> {
    Ok(Signed::read(&body.message, &body.signature)?)
}

fn address(text: &str) -> Result<Address, Failure> {
    let parsed = text.parse();
    parsed.map_err(|error| Failure::new(Code::Malformed).details(format!("address: {error}")))
}

pub(super) fn asker(arrival: &Arrival, headers: &HeaderMap) -> Asker {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    Asker {
        address: arrival.address.network(),
        agent: agent.map(str::to_owned),
        now_s: unix_s(),
        now_ms: monotonic_ms(),
    }
}

pub(super) fn tokens_body(tokens: Tokens) -> TokensBody {
    TokensBody {
        access_token: tokens.access,
        access_expires: tokens.access_ends_s,
        refresh_token: tokens.refresh.text(),
        refresh_expires: tokens.refresh_ends_s,
        user: tokens.user,
        session: tokens.session,
        is_new: tokens.is_new,
    }
}

fn wallets_body(wallets: &[Address]) -> WalletsBody {
    WalletsBody { wallets: wallets.iter().map(Address::to_string).collect() }
}

/// An answer that nobody keeps.
pub(super) fn secret<T: Serialize>(arrival: &Arrival, body: &T) -> Response {
    let mut response = arrival.reply(StatusCode::OK, body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        let failure = match error.retry_after() {
            Some(after) => after.into(),
            None => Self::new(error.code()),
        };
        match error {
            // What has failed within, or at a provider, is for the log.
            IdentityError::Store(_) | IdentityError::Oidc(OidcError::Provider(_)) => failure,
            error => failure.details(error.to_string()),
        }
    }
}
