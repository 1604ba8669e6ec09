//! An answer that is worth keeping for a moment.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use avvy_model::Code;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Keeps the last value of something that is dear to make. One is made at a
/// time, in a task of its own: whoever asks meanwhile waits for it, and it is
/// finished and kept also when nobody waits any more.
pub(super) struct Cached<T>(Arc<Mutex<Last<T>>>);

type Last<T> = Option<(Instant, Result<T, Code>)>;

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone + Send + 'static> Cached<T> {
    /// A value that is not older than `max_age`, or why there is none.
    pub(super) async fn get<F>(
        &self,
        max_age: Duration,
        make: impl FnOnce() -> F,
    ) -> Result<T, Code>
    where
        F: Future<Output = Result<T, Code>> + Send + 'static,
    {
        let mut last = Arc::clone(&self.0).lock_owned().await;
        if let Some((made, value)) = &*last
            && made.elapsed() < max_age
        {
            return value.clone();
        }
        let work = make();
        let making = tokio::spawn(async move {
            let value = work.await;
            *last = Some((Instant::now(), value.clone()));
            value
        });
        // It has panicked, or the runtime ends.
        making.await.unwrap_or(Err(Code::Internal))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const MAX_AGE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn makes_one_at_a_time_and_keeps_it() {
        let (cached, made) = (Cached::default(), Arc::default());
        let ask = || cached.get(MAX_AGE, || slowly(&made));
        assert_eq!(tokio::join!(ask(), ask(), ask()), (Ok(0), Ok(0), Ok(0)));
        tokio::time::advance(MAX_AGE).await;
        assert_eq!(ask().await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn goes_on_without_who_asked() {
        let (cached, made) = (Cached::default(), Arc::default());
        let ask = || cached.get(MAX_AGE, || slowly(&made));
        assert!(tokio::time::timeout(MAX_AGE / 4, ask()).await.is_err());
        assert_eq!(tokio::join!(ask(), ask()), (Ok(0), Ok(0)));
    }

    #[tokio::test]
    async fn a_panic_is_internal_and_not_kept() {
        let cached = Cached::default();
        let panics = async { panic!("as a test wants it") };
        assert_eq!(cached.get(MAX_AGE, || panics).await, Err::<u32, _>(Code::Internal));
        assert_eq!(cached.get(MAX_AGE, || async { Ok(7) }).await, Ok(7));
    }

    /// How many were made before, after half of the time that one is kept.
    fn slowly(made: &Arc<AtomicU32>) -> impl Future<Output = Result<u32, Code>> + use<> {
        let made = Arc::clone(made);
        async move {
            tokio::time::sleep(MAX_AGE / 2).await;
            Ok(made.fetch_add(1, Ordering::Relaxed))
        }
    }
}
