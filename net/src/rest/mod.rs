//! HTTP: routes, and what every request goes through.
//!
//! [`edge`] is around all of them: rate, time, ids of the request, origins, and
//! the form of errors.
//!
//! # How to add a route
//!
//! A family of routes is a module with a `routes()`, which [`all_routes`]
//! lists. A [`Route`] is the handler and what is said of it in one value:
//! `branes.rs` is the example. The router, `openapi.json`, the page under
//! `/docs` and the tests that walk all routes are made from it.
//!
//! - **Who.** Under `/api/v1` a route needs a token unless it is
//!   [`open`](Route::open), also one for a path that does not exist. The handler
//!   takes [`auth::Caller`], and a rate of the caller's
//!   [`Account`](avvy_actors::Account) for what costs more than it looks.
//! - **Rights.** Whatever changes something has its place in
//!   `tests/rights_matrix/routes.rs`, where every role tries it.
//! - **Bodies** are types of `protocol/src/rest`, with `ToSchema` under its
//!   feature `openapi` and an example in `document/examples.rs`. The handler
//!   takes [`body::Payload`] and answers by [`edge::Arrival`].
//! - **Errors** are a [`Failure`] of a code. [`Route::fails`] names those of the
//!   route; those that every route of its kind has come by themselves.
//! - **Again.** Every change can have an `Idempotency-Key`; under `/object`,
//!   `/prototype` and `/users` it has to. [`repeat`] sees to that around the
//!   handler, which draws its ids by [`edge::Arrival::draw`], so that a request
//!   that was cut off finds on its second try what the first one made.
//!   [`Route::unkeyed`] is for what is safe anyway, or whose answer is nothing to
//!   be kept, such as tokens.
//! - **Versions.** What can be changed is answered by
//!   [`edge::Arrival::versioned`] with the version of its record, and is
//!   [`tagged`](Route::tagged). A change takes [`conditional::IfMatch`], or
//!   [`conditional::MustMatch`] where it has to be told which version it is for,
//!   says so by [`Route::matched`], and hands the version that it checked on to
//!   the store as what it expects.
//! - **Lists** take [`body::Page`] and the parameters [`route::AFTER`] and
//!   [`route::LIMIT`]. `next` is text that only the server understands, and stays
//!   good when entries come and go: the key of the last entry, not a count.

mod admin;
mod auth;
mod body;
mod branes;
mod cached;
mod conditional;
mod cors;
mod document;
mod duplicates;
mod edge;
mod edits;
mod entities;
mod failure;
mod front;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod health;
mod instances;
mod jwks;
mod metrics;
mod negotiate;
mod objects;
mod oidc;
mod packing;
mod portals;
mod prototypes;
mod repeat;
mod rights;
#[allow(dead_code, reason = "families of routes take what they need")]
mod route;
mod shown;
mod sign_in;
mod things;
mod tokens;
mod trace;
mod users;

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;

use avvy_actors::{Limit, System};
use avvy_auth::Claims;
use avvy_catalog::Catalog;
use avvy_identity::Identity;
use avvy_identity::repeats::Repeats;
use avvy_model::Code;
use axum::Router;
use axum::http::Uri;
use tokio::sync::{Semaphore, watch};

use crate::Services;
use crate::addresses::Addresses;
use crate::config::NetConfig;
use crate::websocket;

pub(crate) use auth::bearer;
pub(crate) use edge::Edge;
pub(crate) use failure::Failure;

use admin::AdminToken;
use auth::Token;
use cors::Cors;
use document::Document;
use edge::{Requests, UnderWay};
use health::Health;
use metrics::HttpMetrics;
use route::{API, Route};
use shown::Shown;

/// What every route can reach. Cloning shares it.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) system: System,
    pub(crate) identity: Identity,
    pub(crate) catalog: Catalog,
    pub(crate) config: Arc<NetConfig>,
    pub(crate) addresses: Arc<Addresses>,
    /// True, or without a sender, from the moment that the server stops.
    stop: watch::Receiver<bool>,
    requests: Requests,
    /// For each page of objects that is being made or sent.
    pages: Arc<Semaphore>,
    /// For each byte of a body that is being read or served.
    bodies: Arc<Semaphore>,
    health: Arc<Health>,
    metrics: Arc<HttpMetrics>,
    repeats: Repeats,
    shown: Shown,
    cors: Cors,
    /// `None`: nothing is for operators.
    admin_token: Option<AdminToken>,
    document: Document,
    /// Paths whose answers have one form, whatever `Accept` says.
    own_forms: HashSet<String>,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    pub(crate) fn new(
        services: Services,
        config: Arc<NetConfig>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let Services { system, identity, catalog } = services;
        let routes = all_routes();
        let own_forms = routes.iter().filter(|route| route.has_own_form());
        Self(Arc::new(Shared {
            system,
            addresses: Arc::new(Addresses::new(Arc::clone(&config))),
            stop,
            requests: Requests::default(),
            pages: Arc::new(Semaphore::new(config.max_pages)),
            bodies: Arc::new(Semaphore::new(config.max_bodies_bytes)),
            health: Arc::default(),
            metrics: Arc::default(),
            shown: Shown::default(),
            repeats: Repeats::new(Arc::clone(identity.records()), config.repeats),
            cors: Cors::new(&config.cors_origins),
            admin_token: config.admin_token.as_deref().map(AdminToken::new),
            document: Document::of(&routes),
            own_forms: own_forms.map(|route| route.path.clone()).collect(),
            identity,
            catalog,
            config,
        }))
    }

    /// What a token says that counts now.
    pub(crate) async fn verify(&self, token: &str) -> Result<Claims, Code> {
        self.identity.prepare(token).await;
        self.system.verify(token)
    }

    /// Whether the server takes nothing new.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }

    /// Counts that somebody is beyond a bound.
    pub(crate) fn met(&self, limit: Limit) {
        self.system.metrics().limits.count(limit);
    }

    /// Ready when no request is under way.
    pub(crate) async fn answered(&self) {
        self.requests.none().await;
    }

    /// Counts a request as under way until this is dropped.
    fn enter(&self) -> UnderWay {
        self.requests.enter()
    }
}

/// Every route that there is.
fn all_routes() -> Vec<Route> {
    [
        server_routes(),
        document::routes(),
        tokens::routes(),
        sign_in::routes(),
        oidc::routes(),
        branes::routes(),
        duplicates::routes(),
        objects::routes(),
        edits::routes(),
        portals::routes(),
        things::routes(),
        prototypes::routes(),
        instances::routes(),
        users::routes(),
        entities::routes(),
        rights::routes(),
        admin::routes(),
    ]
    .concat()
}

/// Those that are not part of the API itself, or not of it alone.
fn server_routes() -> Vec<Route> {
    [front::routes(), health::routes(), metrics::routes(), jwks::routes(), websocket_routes()]
        .concat()
}

fn websocket_routes() -> Vec<Route> {
    use axum::http::StatusCode;
    let meaning = "The protocol of `protocol/PROTOCOL.md` from here on.";
    vec![
        Route::probe("/ws", websocket::upgrade, "Becomes a WebSocket session.")
            .ends(StatusCode::SWITCHING_PROTOCOLS, meaning)
            .fails(&[Code::TokenInvalid, Code::TokenExpired, Code::TokenRevoked]),
    ]
}

/// All of them, and what is around them.
pub(crate) fn edge(app: App) -> Edge {
    let mut router = Router::new();
    for route in all_routes() {
        router = route.mount(router, &app);
    }
    let router = router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app.clone());
    Edge::new(app, router)
}

/// Also what is not there is only told to who has a token.
async fn not_found(uri: Uri, token: Token) -> Failure {
    match token.0 {
        Err(failure) if uri.path().starts_with(API) => failure,
        _ => Failure::new(Code::NotFound).details("there is no such path"),
    }
}

/// Which methods a path has is in the document that everybody can read.
async fn method_not_allowed() -> Failure {
    Failure::new(Code::MethodNotAllowed)
}
