//! The same bytes to every socket, at a rate: nothing but the writes.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Serves until the commands end. A command is the number of bytes and the
/// rate a second; a rate of 0 stops.
pub(super) async fn run(listener: TcpListener, mut commands: mpsc::Receiver<String>) -> Result<()> {
    let mut sockets: Vec<TcpStream> = Vec::new();
    let mut bytes = Vec::new();
    let mut ticks: Option<Interval> = None;
    loop {
        tokio::select! {
            biased;
            () = tick(&mut ticks) => {
                for socket in &mut sockets {
                    socket.write_all(&bytes).await?;
                }
            }
            accepted = listener.accept() => {
                let (socket, _) = accepted?;
                socket.set_nodelay(true)?;
                sockets.push(socket);
            }
            command = commands.recv() => {
                let Some(command) = command else { return Ok(()) };
                let (len, per_s) = command.split_once(' ').context("bytes and rate")?;
                bytes = vec![0x82; len.parse()?];
                ticks = ticking(per_s.parse()?);
            }
        }
    }
}

fn ticking(per_s: f64) -> Option<Interval> {
    if per_s <= 0.0 {
        return None;
    }
    let mut ticks = interval(Duration::from_secs_f64(1.0 / per_s));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    Some(ticks)
}

async fn tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}
