//! An answer that is worth keeping for a moment.

use std::future::Future;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Keeps the last value of something that is dear to make. One is made at a
/// time; whoever asks meanwhile waits for it.
pub(super) struct Cached<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self(Mutex::const_new(None))
    }
}

impl<T: Clone> Cached<T> {
    /// A value that is not older than `max_age`.
    pub(super) async fn get<F: Future<Output = T>>(
        &self,
        max_age: Duration,
        make: impl FnOnce() -> F,
    ) -> T {
        let mut last = self.0.lock().await;
        match &*last {
            Some((made, value)) if made.elapsed() < max_age => value.clone(),
            _ => {
                let value = make().await;
                *last = Some((Instant::now(), value.clone()));
                value
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const MAX_AGE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn makes_one_at_a_time_and_keeps_it() {
        let (cached, made) = (Cached::default(), AtomicU32::new(0));
        let make = || async {
            tokio::time::sleep(MAX_AGE / 2).await;
            made.fetch_add(1, Ordering::Relaxed)
        };
        let ask = || cached.get(MAX_AGE, make);
        assert_eq!(tokio::join!(ask(), ask(), ask()), (0, 0, 0));
        tokio::time::advance(MAX_AGE).await;
        assert_eq!(ask().await, 1);
    }
}
