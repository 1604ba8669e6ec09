//! Sockets that are held: a task each, with a buffer of 4 KiB to read into.

use anyhow::Result;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Bytes of each buffer.
const BUFFER: usize = 4 * 1024;

/// Holds what comes until the commands end.
pub(super) async fn run(listener: TcpListener, mut commands: mpsc::Receiver<String>) -> Result<()> {
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (mut socket, _) = accepted?;
                socket.set_nodelay(true)?;
                tokio::spawn(async move {
                    // Written to, so that its pages are really there.
                    let mut buffer = vec![1; BUFFER];
                    while socket.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
                });
            }
            command = commands.recv() => {
                if command.is_none() {
                    return Ok(());
                }
            }
        }
    }
}
