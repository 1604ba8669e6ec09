//! One handler of axum that answers every request with the same bytes, on the
//! same HTTP as the server's.

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tower::ServiceExt;

/// Serves until the commands end. The first one is the body, in hexadecimal.
pub(super) async fn run(listener: TcpListener, mut commands: mpsc::Receiver<String>) -> Result<()> {
    let body = body(&commands.recv().await.context("a body")?)?;
    let handler = move || {
        let body = body.clone();
        async move { ([(CONTENT_TYPE, "application/cbor")], body) }
    };
    let router = Router::new().route("/object/{id}", get(handler));
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (socket, _) = accepted?;
                socket.set_nodelay(true)?;
                tokio::spawn(serve(socket, router.clone()));
            }
            command = commands.recv() => ensure!(command.is_none(), "there is one body"),
        }
        if commands.is_closed() {
            return Ok(());
        }
    }
}

async fn serve(socket: TcpStream, router: Router) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        router.clone().oneshot(request.map(Body::new))
    });
    // It ends when the load goes.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
}

fn body(digits: &str) -> Result<Bytes> {
    let byte = |at| digits.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    (0..digits.len())
        .step_by(2)
        .map(byte)
        .collect::<Option<Vec<u8>>>()
        .map(Bytes::from)
        .context("a body is hexadecimal digits")
}
