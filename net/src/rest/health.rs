//! Whether the process runs, takes requests, and does its work.

use std::time::Duration;

use avvy_actors::{BraneFilter, ProbeReport, System};
use avvy_model::{Code, UserId};
use avvy_protocol::rest::HealthBody;
use axum::extract::State;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::response::Response;
use tokio::time::timeout;
use uuid::Uuid;

use super::cached::Cached;
use super::edge::Arrival;
use super::route::Route;
use super::{App, Failure};

/// So long an answer stands, so that asking cannot load the server.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The last answers.
#[derive(Default)]
pub(super) struct Health {
    ready: Cached<()>,
    probe: Cached<ProbeReport>,
}

/// Each is there twice: at the root, where orchestrators look by habit, and in
/// a family of the API.
pub(super) fn routes() -> Vec<Route> {
    let (runs, accepts) = ("Whether the process runs.", "Whether requests may be sent here.");
    let is_ready = "The store answers, and the server is not about to stop.";
    let is_well = "One came back by fan-out and was durable just now.";
    [
        twice("/livez", "/health/live", live, runs, "It does."),
        twice("/readyz", "/health/ready", ready, accepts, is_ready),
        twice("/healthz", "/health", probe, "Whether an edit gets through.", is_well),
    ]
    .concat()
}

fn twice<H: Handler<T, App>, T: 'static>(
    at_root: &str,
    path: &str,
    handler: H,
    summary: &'static str,
    meaning: &'static str,
) -> Vec<Route> {
    [Route::probe(at_root, handler.clone(), summary), Route::get(path, handler, summary).open()]
        .map(|route| route.answers::<HealthBody>(StatusCode::OK, meaning))
        .to_vec()
}

/// `GET /livez` and `/api/v1/health/live`: the process is up and its runtime runs.
pub(super) async fn live(arrival: Arrival) -> Response {
    arrival.reply(StatusCode::OK, &HealthBody::ok())
}

/// `GET /readyz` and `/api/v1/health/ready`: the store answers, and the server is
/// not about to stop.
pub(super) async fn ready(State(app): State<App>, arrival: Arrival) -> Result<Response, Failure> {
    if app.is_stopping() {
        return Err(Failure::new(Code::Unavailable).details("the server is about to stop"));
    }
    let (patience, system) = (app.config.health_timeout, app.system.clone());
    let store = || within(patience, async move { store_answers(&system).await });
    match app.health.ready.get(MAX_AGE, store).await {
        Ok(()) => Ok(arrival.reply(StatusCode::OK, &HealthBody::ok())),
        Err(code) => Err(sick("the store does not answer", code)),
    }
}

/// `GET /healthz` and `/api/v1/health`: an edit in a brane of the probe's own
/// comes back by fan-out and is durable.
pub(super) async fn probe(State(app): State<App>, arrival: Arrival) -> Result<Response, Failure> {
    let (patience, system) = (app.config.health_timeout, app.system.clone());
    let probe = || within(patience, async move { system.probe().await });
    match app.health.probe.get(MAX_AGE, probe).await {
        Ok(ProbeReport { fan_out_us, durable_us }) => {
            let (fan_out_us, durable_us) = (Some(fan_out_us), Some(durable_us));
            let body = HealthBody { fan_out_us, durable_us, ..HealthBody::ok() };
            Ok(arrival.reply(StatusCode::OK, &body))
        }
        Err(code) => Err(sick("an edit did not get through", code)),
    }
}

/// Any question to the store does; this one is of somebody who owns nothing.
async fn store_answers(system: &System) -> Result<(), Code> {
    let of_nobody = BraneFilter::VisibleTo(UserId::new(Uuid::nil()));
    system.branes(of_nobody, None, 1).await.map(drop)
}

async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, Code>>,
) -> Result<T, Code> {
    timeout(patience, work).await.unwrap_or(Err(Code::Timeout))
}

fn sick(what: &str, code: Code) -> Failure {
    Failure::new(Code::Unavailable).details(format!("{what}: {code}"))
}
