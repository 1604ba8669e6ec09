//! HTTP: routes, and what every request goes through.
//!
//! [`edge`] is around all of them: rate, time, trace id, and the form of
//! errors. Under `/api/v1` every request, also one for a path that does not
//! exist, needs a token.

mod auth;
mod body;
mod branes;
mod cached;
mod edge;
mod edits;
mod failure;
mod front;
mod health;
mod jwks;
mod metrics;
mod negotiate;
mod objects;
mod tokens;
mod trace;

use std::sync::Arc;

use avvy_actors::{Limit, System};
use avvy_catalog::Catalog;
use avvy_identity::Identity;
use avvy_model::Code;
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tokio::sync::{Semaphore, watch};

use crate::Services;
use crate::addresses::Addresses;
use crate::config::NetConfig;
use crate::websocket;

pub(crate) use auth::bearer;
pub(crate) use failure::Failure;

use edge::Requests;
use health::Health;
use metrics::HttpMetrics;

/// What every route can reach.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) system: System,
    #[expect(dead_code, reason = "its first route takes this away")]
    pub(crate) identity: Identity,
    #[expect(dead_code, reason = "its first route takes this away")]
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
}

impl App {
    pub(crate) fn new(
        services: Services,
        config: Arc<NetConfig>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let Services { system, identity, catalog } = services;
        Self {
            system,
            identity,
            catalog,
            addresses: Arc::new(Addresses::new(Arc::clone(&config))),
            stop,
            requests: Requests::default(),
            pages: Arc::new(Semaphore::new(config.max_pages)),
            bodies: Arc::new(Semaphore::new(config.max_bodies_bytes)),
            config,
            health: Arc::default(),
            metrics: Arc::default(),
        }
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
}

/// Every route.
pub(crate) fn router(app: App) -> Router {
    let api = Router::new()
        .route("/brane", get(branes::list).post(branes::create))
        .route("/brane/{id}", get(branes::read))
        .route("/brane/{id}/objects", get(objects::list))
        .route("/brane/{id}/edits", axum::routing::post(edits::submit))
        .route("/token/revoke", axum::routing::post(tokens::revoke))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(app.clone(), auth::authenticate));
    Router::new()
        .route("/", get(front::page))
        .route("/ws", get(websocket::upgrade))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/healthz", get(health::probe))
        .route("/metrics", get(metrics::page))
        .route("/.well-known/jwks.json", get(jwks::keys))
        .nest("/api/v1", api)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn(edge::catch_panic))
        .layer(from_fn_with_state(app.clone(), edge::edge))
        .with_state(app)
}

async fn not_found() -> Failure {
    Failure::new(Code::NotFound).details("there is no such path")
}

async fn method_not_allowed() -> Failure {
    Failure::new(Code::MethodNotAllowed)
}
