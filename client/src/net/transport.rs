//! A WebSocket that is written and read by one task.
//!
//! Writing never waits for room while there is something to read: a server
//! that stops reading a client with too much under way still has to get its
//! answers out.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WsCloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, http::Uri};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Bytes read at a time. One process may hold thousands of connections.
const READ_BUFFER_BYTES: usize = 8 * 1024;
/// Bytes collected before they are written without being asked to.
const WRITE_BUFFER_BYTES: usize = 4 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is not `ws://host[:port]/path` or `wss://...`.
    #[error("not an address of a WebSocket: {0}")]
    Address(String),
    /// A `wss` address without a TLS configuration.
    #[error("a wss address needs a TLS configuration")]
    NoTls,
    /// It took longer than its limit.
    #[error("no connection within {0} ms")]
    Timeout(u64),
    /// The network or TLS failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server did not agree to a WebSocket.
    #[error("no WebSocket: {0}")]
    Handshake(String),
    /// The server closed the connection and said not to come back.
    #[error("closed by the server: {0}")]
    Closed(Ended),
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {reason}", code.map_or_else(|| "cut".to_owned(), |code| code.to_string()))]
pub struct Ended {
    /// The close code; `None` when the connection was cut.
    pub code: Option<u16>,
    /// For people.
    pub reason: String,
}

/// An open WebSocket.
pub(crate) struct Socket {
    stream: WebSocketStream<Transport>,
    outbox: VecDeque<Bytes>,
    unflushed: bool,
}

impl Socket {
    /// Opens a connection.
    pub(crate) async fn connect(
        address: &str,
        tls: Option<Arc<ClientConfig>>,
        max_message_bytes: usize,
    ) -> Result<Self, ConnectError> {
        let wrong = || ConnectError::Address(address.to_owned());
        let uri: Uri = address.parse().map_err(|_| wrong())?;
        let host = uri.host().ok_or_else(wrong)?;
        let secure = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(wrong()),
        };
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let bare_host = host.trim_start_matches('[').trim_end_matches(']');
        let tcp = TcpStream::connect((bare_host, port)).await?;
        tcp.set_nodelay(true)?;
        let transport = if secure {
            let tls = TlsConnector::from(tls.ok_or(ConnectError::NoTls)?);
            let name = ServerName::try_from(bare_host.to_owned()).map_err(|_| wrong())?;
            Transport::Tls(Box::new(tls.connect(name, tcp).await?))
        } else {
            Transport::Plain(tcp)
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_message_size(Some(max_message_bytes))
            .max_frame_size(Some(max_message_bytes));
        let (stream, _) = client_async_with_config(address, transport, Some(config))
            .await
            .map_err(|error| ConnectError::Handshake(error.to_string()))?;
        Ok(Self { stream, outbox: VecDeque::new(), unflushed: false })
    }

    /// Queues a message. The queue is bounded by what may be under way.
    pub(crate) fn send(&mut self, message: Vec<u8>) {
        self.outbox.push_back(message.into());
    }

    /// Writes what can be written; gives the next message that came.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Ended>> {
        if let Err(error) = self.poll_write(cx) {
            return Poll::Ready(Err(cut(&error)));
        }
        loop {
            match std::task::ready!(Pin::new(&mut self.stream).poll_next(cx)) {
                Some(Ok(Message::Binary(message))) => return Poll::Ready(Ok(message)),
                Some(Ok(Message::Close(frame))) => return Poll::Ready(Err(closed(frame))),
                // Pings are answered below; the protocol knows no text.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(cut(&error))),
                None => return Poll::Ready(Err(closed(None))),
            }
        }
    }

    /// Says goodbye and waits for the farewell to be written.
    pub(crate) async fn close(mut self) {
        let frame = CloseFrame { code: WsCloseCode::Normal, reason: "normal".into() };
        // Whatever fails now, the connection is over.
        let _ = self.stream.close(Some(frame)).await;
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        while !self.outbox.is_empty() {
            match Pin::new(&mut self.stream).poll_ready(cx)? {
                Poll::Pending => return Ok(()),
                Poll::Ready(()) => {
                    if let Some(message) = self.outbox.pop_front() {
                        Pin::new(&mut self.stream).start_send(Message::Binary(message))?;
                        self.unflushed = true;
                    }
                }
            }
        }
        if self.unflushed && Pin::new(&mut self.stream).poll_flush(cx)?.is_ready() {
            self.unflushed = false;
        }
        Ok(())
    }
}

fn cut(error: &Error) -> Ended {
    Ended { code: None, reason: error.to_string() }
}

fn closed(frame: Option<CloseFrame>) -> Ended {
    match frame {
        Some(frame) => Ended { code: Some(frame.code.into()), reason: frame.reason.to_string() },
        None => Ended { code: None, reason: "without a code".to_owned() },
    }
}

/// The byte stream underneath.
enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
