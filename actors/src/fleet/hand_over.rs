//! Brings a brane of this node to another: performs what the [`HandOver`]
//! machine decides. One task for each brane.

use std::time::Duration;

use avvy_flow::lease::Spread;
use avvy_flow::lease::hand_over::{Answer, Ended, HandOver, HandOverEffect, HandOverInput};
use avvy_model::{BraneId, Epoch};
use avvy_persistence::{Node, StoreError};
use ractor::ActorRef;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{info, warn};

use super::FleetLink;
use crate::clock;
use crate::directory::DirectoryMsg;

/// Tells a hand-over what has become of its brane.
pub(crate) type Desk = mpsc::Sender<HandOverInput>;

/// News of a hand-over that may wait: one answer of the store is under way at a
/// time, and the brane ends once.
const NEWS: usize = 16;

/// Where the branes of a node that ends go.
///
/// # Errors
/// The store's.
pub(crate) async fn targets(link: &FleetLink) -> Result<Vec<(Node, u64)>, StoreError> {
    link.fleet.set_draining().await?;
    let nodes = link.fleet.nodes().await?;
    let me = link.fleet.node().map(|node| node.id);
    let takes = nodes
        .into_iter()
        .filter(|status| status.remaining_ms > 0 && !status.draining && Some(status.node.id) != me);
    Ok(takes.map(|status| (status.node, status.branes)).collect())
}

/// Hands these branes over to the nodes with the fewest, all at once.
pub(crate) async fn hand_over_all(
    link: &FleetLink,
    directory: &ActorRef<DirectoryMsg>,
    targets: &[(Node, u64)],
    branes: Vec<(BraneId, Epoch)>,
) {
    let loads = targets.iter().enumerate().map(|(nth, (_, branes))| (nth, *branes));
    let mut spread = Spread::new(loads);
    let mut tasks = tokio::task::JoinSet::new();
    for (brane, epoch) in branes {
        let Some((to, _)) = spread.next_node().and_then(|nth| targets.get(nth)) else { return };
        tasks.spawn(hand_over(link.clone(), directory.clone(), brane, epoch, to.clone()));
    }
    // A task that fails leaves its brane to be closed as any other.
    while tasks.join_next().await.is_some() {}
}

/// Hands one brane over, and tells the directory how that ended.
async fn hand_over(
    link: FleetLink,
    directory: ActorRef<DirectoryMsg>,
    brane: BraneId,
    epoch: Epoch,
    to: Node,
) {
    let (desk, mut inbox) = mpsc::channel(NEWS);
    let mut effects = Vec::new();
    let began_us = clock::monotonic_us();
    let mut machine = HandOver::begin(link.config.hand_over, began_us, &mut effects);
    let mut stopped_us = None;
    let mut wake_us = u64::MAX;
    let ended = 'over: loop {
        for effect in effects.drain(..) {
            match effect {
                HandOverEffect::Ended(ended) => break 'over ended,
                HandOverEffect::WakeAt(at_us) => wake_us = at_us,
                HandOverEffect::Stop => {
                    stopped_us = Some(clock::monotonic_us());
                    let stop = DirectoryMsg::Depart { brane, epoch, desk: desk.clone() };
                    // Without the directory the whole system ends.
                    let _ = directory.send_message(stop);
                }
                effect => ask(&link, brane, epoch, &to, effect, &desk),
            }
        }
        let pause = Duration::from_micros(wake_us.saturating_sub(clock::monotonic_us()));
        let input = tokio::select! {
            input = inbox.recv() => input.unwrap_or(HandOverInput::Gone),
            () = sleep(pause) => {
                wake_us = u64::MAX;
                HandOverInput::Tick
            }
        };
        machine.handle(clock::monotonic_us(), input, &mut effects);
    };
    let away_ms = stopped_us.map(|stopped_us| (clock::monotonic_us() - stopped_us) / 1_000);
    match ended {
        Ended::Moved => info!(%brane, to = to.address, away_ms, "handed a brane over"),
        Ended::Kept => warn!(%brane, to = to.address, "the other node was not ready for a brane"),
        Ended::Gone => info!(%brane, "a brane that was to be handed over is gone"),
        Ended::Stranded => warn!(%brane, to = to.address, "a brane was not handed over"),
    }
    let _ = directory.send_message(DirectoryMsg::Departed { brane, epoch, ended, to });
}

/// Asks the store; the answer comes to the desk.
fn ask(
    link: &FleetLink,
    brane: BraneId,
    epoch: Epoch,
    to: &Node,
    effect: HandOverEffect,
    desk: &Desk,
) {
    let (link, desk, to) = (link.clone(), desk.clone(), to.id);
    tokio::spawn(async move {
        let fleet = &link.fleet;
        let input = match effect {
            HandOverEffect::Offer => {
                HandOverInput::Offered(answer(fleet.offer(brane, epoch, to).await))
            }
            HandOverEffect::AskReady => {
                HandOverInput::Ready(answer(fleet.is_ready(brane, epoch).await))
            }
            HandOverEffect::HandOver => {
                HandOverInput::HandedOver(answer(fleet.hand_over(brane, epoch, to).await))
            }
            HandOverEffect::Withdraw => {
                if let Err(error) = fleet.withdraw(brane, epoch).await {
                    warn!(%brane, %error, "an offer was not taken back");
                }
                return;
            }
            HandOverEffect::Stop | HandOverEffect::Ended(_) | HandOverEffect::WakeAt(_) => return,
        };
        // The hand-over may be over.
        let _ = desk.send(input).await;
    });
}

fn answer<T>(result: Result<T, StoreError>) -> Answer<T> {
    match result {
        Ok(answer) => Answer::Done(answer),
        Err(StoreError::StaleEpoch { .. } | StoreError::UnknownBrane(_)) => Answer::Stale,
        Err(error) => {
            warn!(%error, "the store did not serve a hand-over");
            Answer::Failed
        }
    }
}
