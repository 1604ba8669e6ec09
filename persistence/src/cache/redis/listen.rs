//! Listens to the notices of all nodes, on a connection of its own.
//!
//! A connection that says nothing may be a dead one, so it is asked for a sign
//! of life. Whenever one is made anew, notices may have been missed before.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::time::{MissedTickBehavior, timeout};

use super::link::Link;
use crate::cache::hub::Hears;
use crate::cache::notice::Notice;

/// How often a sign of life is asked for.
const BEAT: Duration = Duration::from_millis(500);

/// Listens until the link or whoever hears is dropped.
pub(super) async fn run(link: Weak<Link>, hears: Weak<dyn Hears>) {
    loop {
        let Some(strong) = link.upgrade() else { return };
        let patience = strong.options.timeout;
        let retry = strong.options.retry;
        if let Some((sink, stream)) = connect(&strong, patience).await {
            strong.connects.fetch_add(1, Ordering::Relaxed);
            let Some(listener) = hears.upgrade() else { return };
            // From here on nothing is missed; before, something may have been.
            listener.gap();
            drop(listener);
            strong.is_listening.store(true, Ordering::Relaxed);
            drop(strong);
            let ended = hear(&link, &hears, sink, stream, patience).await;
            if let Some(strong) = link.upgrade() {
                strong.is_listening.store(false, Ordering::Relaxed);
            }
            if ended.is_none() {
                return;
            }
        } else {
            drop(strong);
        }
        tokio::time::sleep(retry).await;
    }
}

async fn connect(link: &Arc<Link>, patience: Duration) -> Option<(PubSubSink, PubSubStream)> {
    let connected = timeout(patience, link.client.get_async_pubsub()).await.ok()?;
    let (mut sink, stream) = connected.ok()?.split();
    let subscribed = timeout(patience, sink.subscribe(link.channel())).await.ok()?;
    subscribed.ok().map(|()| (sink, stream))
}

/// Hears until the connection is lost; `None` when nobody hears any more.
async fn hear(
    link: &Weak<Link>,
    hears: &Weak<dyn Hears>,
    mut sink: PubSubSink,
    stream: PubSubStream,
    patience: Duration,
) -> Option<Lost> {
    let mut stream = pin!(stream);
    let mut beats = tokio::time::interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = stream.next() => {
                let Some(message) = message else { return Some(Lost) };
                let (link, hears) = (link.upgrade()?, hears.upgrade()?);
                match Notice::decode(message.get_payload_bytes()) {
                    Some(notice) => hears.notice(&notice),
                    // Of a later version, perhaps, and perhaps of something
                    // that is cached here.
                    None => hears.gap(),
                }
                link.notices.fetch_add(1, Ordering::Relaxed);
            }
            _ = beats.tick() => {
                link.upgrade()?;
                let answer = timeout(patience, sink.ping_message::<redis::Value>("")).await;
                if !matches!(answer, Ok(Ok(_))) {
                    return Some(Lost);
                }
            }
        }
    }
}

/// The connection is lost.
struct Lost;
