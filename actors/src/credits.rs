//! Credits of one connection: the [`Credits`] machine behind a lock, with a
//! permit that gives its share back when the work is done.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use avvy_flow::credits::{Credits, Take};

/// The credits of one connection.
pub(crate) struct CreditPool {
    credits: Mutex<Credits>,
    /// Called when credits came back to a connection that waits for some.
    wake_reader: Box<dyn Fn() + Send + Sync>,
}

/// The answer to a wish for credits.
pub(crate) enum Granted {
    Permit(Permit),
    Wait,
    TooMany,
}

impl CreditPool {
    pub(crate) fn new(max: u32, wake_reader: Box<dyn Fn() + Send + Sync>) -> Arc<Self> {
        Arc::new(Self { credits: Mutex::new(Credits::new(max)), wake_reader })
    }

    pub(crate) fn take(self: &Arc<Self>, weight: usize) -> Granted {
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        match self.lock().take(weight) {
            Take::Taken => Granted::Permit(Permit { pool: Arc::clone(self), weight }),
            Take::Wait => Granted::Wait,
            Take::TooMany => Granted::TooMany,
        }
    }

    /// Whether another message may be read.
    pub(crate) fn may_read(&self, outbox_full: bool) -> bool {
        self.lock().may_read(outbox_full)
    }

    fn lock(&self) -> MutexGuard<'_, Credits> {
        self.credits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Credits in use. Dropping it gives them back.
pub(crate) struct Permit {
    pool: Arc<CreditPool>,
    weight: u32,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut credits = self.pool.lock();
        let was_short = credits.status().waits > 0 || !credits.may_read(false);
        credits.give(self.weight);
        drop(credits);
        if was_short {
            (self.pool.wake_reader)();
        }
    }
}
