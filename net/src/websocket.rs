//! `GET /ws`: the upgrade from HTTP to a session.

use std::sync::Arc;

use avvy_model::Code;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tracing::debug;

use crate::connection::Connection;
use crate::http_stream::HttpStream;
use crate::rest::{App, Failure, bearer};

/// Answers the upgrade and leaves a connection behind that serves itself.
pub(crate) async fn upgrade(
    State(app): State<App>,
    mut request: Request,
) -> Result<Response, Failure> {
    let claims = match bearer(request.headers()) {
        Some(token) => Some(Box::new(app.verify(token).await?)),
        // Then the token is in the hello.
        None => None,
    };
    let response = create_response_with_body(&request, Body::empty)
        .map_err(|error| Failure::new(Code::Malformed).details(error.to_string()))?;
    let on_upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let upgraded = match on_upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => return debug!(%error, "an upgrade did not complete"),
        };
        let Ok(parts) = upgraded.downcast::<TokioIo<HttpStream>>() else {
            return debug!("an upgrade on a connection that is not ours");
        };
        let config = &app.config;
        let (transport, place) = parts.io.into_inner().into_parts();
        let connection = Connection::new(
            transport,
            place,
            parts.read_buf,
            config.max_message_bytes,
            config.outbox,
        );
        start(&app, connection, claims).await;
    });
    Ok(response)
}

async fn start(app: &App, connection: Connection, claims: Option<Box<avvy_auth::Claims>>) {
    let socket = connection.socket();
    let reader = Arc::clone(&socket);
    let wake_reader = Box::new(move || reader.task.wake());
    match app.system.connect(Arc::clone(&socket) as _, wake_reader, claims).await {
        // The serving future takes the place of this one, so that an idle
        // connection does not keep what the upgrade needed.
        Ok(session) => drop(tokio::spawn(connection.run(session))),
        Err(code) => connection.refuse(code, app.config.close_timeout),
    }
}
