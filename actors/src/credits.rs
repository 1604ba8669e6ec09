//! Credits of one connection: the [`Credits`] machine behind a lock, with a
//! permit that gives its share back when the work is done.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use avvy_flow::credits::{Credits, Load, Take};

/// The credits of one connection.
pub(crate) struct CreditPool {
    credits: Mutex<Credits>,
    /// Called when a connection that waits may read on.
    wake_reader: Box<dyn Fn() + Send + Sync>,
}

/// The answer to a wish for credits.
pub(crate) enum Granted {
    Permit(Permit),
    Wait,
    TooMany,
}

impl CreditPool {
    pub(crate) fn new(max: Load, wake_reader: Box<dyn Fn() + Send + Sync>) -> Arc<Self> {
        Arc::new(Self { credits: Mutex::new(Credits::new(max)), wake_reader })
    }

    pub(crate) fn take(self: &Arc<Self>, load: Load) -> Granted {
        match self.lock().take(load) {
            Take::Taken => Granted::Permit(Permit { pool: Arc::clone(self), load }),
            Take::Wait => Granted::Wait,
            Take::TooMany => Granted::TooMany,
        }
    }

    /// All that there ever are.
    pub(crate) fn all(&self) -> Load {
        self.lock().status().max
    }

    /// What is under way.
    pub(crate) fn in_flight(&self) -> Load {
        self.lock().status().in_flight
    }

    /// Whether another message may be read.
    pub(crate) fn may_read(&self, outbox_full: bool) -> bool {
        self.lock().may_read(outbox_full)
    }

    /// Lets the connection ask again whether it may read.
    pub(crate) fn wake_reader(&self) {
        (self.wake_reader)();
    }

    fn lock(&self) -> MutexGuard<'_, Credits> {
        self.credits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Credits in use. Dropping it gives them back.
pub(crate) struct Permit {
    pool: Arc<CreditPool>,
    load: Load,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut credits = self.pool.lock();
        let was_short = credits.status().waits > 0 || !credits.may_read(false);
        credits.give(self.load);
        drop(credits);
        if was_short {
            self.pool.wake_reader();
        }
    }
}
