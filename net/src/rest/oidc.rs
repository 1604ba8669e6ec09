//! `/api/v1/auth/oidc`: signing in by an account elsewhere. A browser goes
//! through here twice, and is answered with where it goes next. And
//! `/api/v1/auth/accounts`: which accounts sign in the caller.

use avvy_actors::Verb;
use avvy_identity::{Account, CameBack};
use avvy_model::Code;
use avvy_protocol::rest::{AccountBody, AccountsBody, ProvidersBody, TicketBody, TokensBody};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::auth::Caller;
use super::body::{Named, Payload, body};
use super::edge::Arrival;
use super::route::{Kind, Param, Route};
use super::sign_in::{asker, secret, take, tokens_body};
use super::{App, Failure};
use crate::addresses::OpenVerb;
use crate::time::unix_s;

/// What shows that a browser that comes back is the one that was sent away.
const COOKIE: &str = "avvyland_sign_in";

/// Where that cookie is sent.
const COOKIE_PATH: &str = "/api/v1/auth/oidc";

pub(super) fn routes() -> Vec<Route> {
    [flow_routes(), account_routes()].concat()
}

fn flow_routes() -> Vec<Route> {
    // All of them together fit into a head.
    let param = |name, meaning| Param { name, meaning, kind: Kind::Text(2_048) };
    let provider = || param("provider", "Its name, as the list has it.");
    vec![
        Route::get("/auth/oidc", providers, "The providers whose accounts sign in.")
            .open()
            .answers::<ProvidersBody>(StatusCode::OK, "Their names in paths."),
        Route::get("/auth/oidc/{provider}/start", start, "Sends a browser to a provider.")
            .open()
            .reads(&[provider()])
            .needs(&[
                param("redirect_to", "Where to come back to: one of `auth.redirects`."),
                param("challenge", "The SHA-256 of the app's secret, in base64url."),
            ])
            .ends(StatusCode::SEE_OTHER, "To the provider, with a cookie."),
        Route::get("/auth/oidc/{provider}/callback", callback, "Takes it back.")
            .open()
            .reads(&[
                provider(),
                param("state", "Of which sign-in."),
                param("code", "What the provider gives."),
                param("error", "Why it gives nothing."),
                param("iss", "Which provider it is."),
            ])
            .ends(StatusCode::SEE_OTHER, "To the app, with a `ticket` or an `error`.")
            .fails(&[Code::ProofInvalid, Code::Damaged]),
        Route::post("/auth/oidc/token", redeem, "Turns a ticket into tokens.")
            .open()
            .unkeyed()
            .takes::<TicketBody>()
            .answers::<TokensBody>(StatusCode::OK, "Tokens of the user.")
            .fails(&[Code::NotFound, Code::ProofInvalid, Code::Damaged]),
    ]
}

fn account_routes() -> Vec<Route> {
    let all = "The accounts elsewhere that sign in the caller.";
    vec![
        Route::get("/auth/accounts", accounts, all)
            .answers::<AccountsBody>(StatusCode::OK, "All of them.")
            .fails(&[Code::Damaged]),
        Route::post("/auth/accounts", attach, "Has an account elsewhere sign in the caller.")
            .unkeyed()
            .takes::<TicketBody>()
            .answers::<AccountsBody>(StatusCode::OK, all)
            .fails(&[Code::Forbidden, Code::ProofInvalid, Code::Exists, Code::Damaged]),
        Route::delete("/auth/accounts/{id}", detach, "Has it do so no more.")
            .unkeyed()
            .reads(&[Param { name: "id", meaning: "The account.", kind: Kind::Text(64) }])
            .answers::<AccountsBody>(StatusCode::OK, all)
            .fails(&[Code::NotFound, Code::Forbidden, Code::Damaged]),
    ]
}

async fn providers(State(app): State<App>, arrival: Arrival) -> Response {
    let providers = app.identity.providers();
    arrival.reply(StatusCode::OK, &ProvidersBody { providers })
}

#[derive(Deserialize)]
pub(super) struct Start {
    redirect_to: String,
    challenge: String,
}

async fn start(
    State(app): State<App>,
    arrival: Arrival,
    Named(provider): Named,
    asked: Result<Query<Start>, QueryRejection>,
) -> Result<Response, Failure> {
    take(&app, &arrival, OpenVerb::Provider)?;
    let Query(Start { redirect_to, challenge }) = asked.map_err(malformed)?;
    let begun = app.identity.begin_oidc(&provider, &redirect_to, &challenge, unix_s()).await?;
    let cookie = cookie(&begun.browser, begun.lifetime_s, begun.is_secure);
    sent_on(&begun.location, &cookie)
}

#[derive(Deserialize)]
pub(super) struct Back {
    #[serde(default)]
    state: String,
    code: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

async fn callback(
    State(app): State<App>,
    arrival: Arrival,
    Named(provider): Named,
    headers: HeaderMap,
    back: Result<Query<Back>, QueryRejection>,
) -> Result<Response, Failure> {
    take(&app, &arrival, OpenVerb::Provider)?;
    let Query(Back { state, code, error, iss }) = back.map_err(malformed)?;
    let back = CameBack { state, code, error, issuer: iss, browser: browser(&headers) };
    let location = app.identity.finish_oidc(&provider, back, unix_s()).await?;
    sent_on(&location, &cookie("", 0, false))
}

async fn redeem(
    State(app): State<App>,
    arrival: Arrival,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Response, Failure> {
    take(&app, &arrival, OpenVerb::SignIn)?;
    let TicketBody { ticket, verifier } = body(&app, &payload)?;
    let asker = asker(&arrival, &headers);
    let tokens = app.identity.redeem_ticket(&ticket, &verifier, &asker).await?;
    Ok(secret(&arrival, &tokens_body(tokens)))
}

async fn accounts(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
) -> Result<Response, Failure> {
    app.system.account(&claims).take(Verb::Page)?;
    let accounts = app.identity.accounts(claims.user, unix_s()).await?;
    Ok(arrival.reply(StatusCode::OK, &accounts_body(accounts)))
}

async fn attach(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    payload: Payload,
) -> Result<Response, Failure> {
    take(&app, &arrival, OpenVerb::SignIn)?;
    let TicketBody { ticket, verifier } = body(&app, &payload)?;
    let accounts = app.identity.attach_account(&claims, &ticket, &verifier, unix_s()).await?;
    Ok(arrival.reply(StatusCode::OK, &accounts_body(accounts)))
}

async fn detach(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    Named(id): Named,
) -> Result<Response, Failure> {
    app.system.account(&claims).take(Verb::Refresh)?;
    let accounts = app.identity.detach_account(&claims, &id, unix_s()).await?;
    Ok(arrival.reply(StatusCode::OK, &accounts_body(accounts)))
}

fn accounts_body(accounts: Vec<Account>) -> AccountsBody {
    let body = |one: Account| {
        let Account { id, issuer, attached_s } = one;
        AccountBody { id, issuer, attached: attached_s }
    };
    AccountsBody { accounts: accounts.into_iter().map(body).collect() }
}

fn malformed(rejection: QueryRejection) -> Failure {
    Failure::new(Code::Malformed).details(rejection.body_text())
}

/// What the cookie holds, if there is one.
fn browser(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| name.trim() == COOKIE).map(|(_, value)| value.trim().to_owned())
}

/// Sent along when a browser comes back by a link, and read by no script.
fn cookie(value: &str, lifetime_s: u64, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    format!(
        "{COOKIE}={value}; Path={COOKIE_PATH}; Max-Age={lifetime_s}; HttpOnly; SameSite=Lax{secure}"
    )
}

/// Sends a browser elsewhere. Nobody keeps the answer, and nobody is told where
/// it came from.
fn sent_on(location: &str, cookie: &str) -> Result<Response, Failure> {
    let value = |text: &str| HeaderValue::try_from(text).map_err(|_| Failure::new(Code::Internal));
    let headers = [
        (header::LOCATION, value(location)?),
        (header::SET_COOKIE, value(cookie)?),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}
