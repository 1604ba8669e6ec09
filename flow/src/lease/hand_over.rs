//! One brane on its way to another node.
//!
//! The brane is offered and goes on until the other node says that it has
//! loaded it. Only then it stops: its edits are made durable, and the other
//! node becomes its holder. So those who are there are away only for the last
//! step. Before the brane has stopped, everything can be taken back; from then
//! on it is the other node's, or closed.

/// How a brane is handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandOverConfig {
    /// How long the other node may take to be ready, and the store to make it
    /// the holder, in milliseconds. Default 5,000.
    pub timeout_ms: u32,
    /// The pause between two questions whether it is ready, in milliseconds.
    /// Default 100.
    pub ask_ms: u32,
}

impl Default for HandOverConfig {
    fn default() -> Self {
        Self { timeout_ms: 5_000, ask_ms: 100 }
    }
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandOverInput {
    /// What became of [`HandOverEffect::Offer`].
    Offered(Answer<()>),
    /// What became of [`HandOverEffect::AskReady`].
    Ready(Answer<bool>),
    /// The brane has stopped and all of it is durable.
    Stopped,
    /// What became of [`HandOverEffect::HandOver`].
    HandedOver(Answer<()>),
    /// The brane is gone: its actor failed, or another node took it.
    Gone,
    /// [`HandOverEffect::WakeAt`] has come due.
    Tick,
}

/// What the store says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer<T> {
    /// It is done.
    Done(T),
    /// The brane is not this node's any more.
    Stale,
    /// It failed, or nobody knows: it may be asked again.
    Failed,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandOverEffect {
    /// Offer the brane to the other node.
    Offer,
    /// Ask whether the other node is ready.
    AskReady,
    /// Stop the brane's edits and make everything durable.
    Stop,
    /// Make the other node the holder.
    HandOver,
    /// Take the offer back. The answer does not matter.
    Withdraw,
    /// This is over.
    Ended(Ended),
    /// Send [`HandOverInput::Tick`] at this time.
    WakeAt(u64),
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The brane is the other node's.
    Moved,
    /// The other node was not ready in time: the brane is here and open.
    Kept,
    /// The brane is not open here any more, and nobody has stopped it for this.
    Gone,
    /// The brane has stopped, and the store did not say that the other node
    /// has it.
    Stranded,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Offering,
    Waiting,
    Asking,
    Stopping,
    Handing,
    /// After a failure.
    Pausing,
    Over,
}

/// The machine. All times are microseconds of one monotonic clock.
#[derive(Debug)]
pub struct HandOver {
    config: HandOverConfig,
    stage: Stage,
    /// Not later than this the other node is ready, or has the brane.
    deadline_us: u64,
    wake_us: u64,
}

impl HandOver {
    /// Begins at this time.
    pub fn begin(config: HandOverConfig, now_us: u64, effects: &mut Vec<HandOverEffect>) -> Self {
        let deadline_us = now_us + u64::from(config.timeout_ms) * 1_000;
        effects.extend([HandOverEffect::Offer, HandOverEffect::WakeAt(deadline_us)]);
        Self { config, stage: Stage::Offering, deadline_us, wake_us: deadline_us }
    }

    /// Whether the brane goes on as if nothing were.
    pub fn is_serving(&self) -> bool {
        matches!(self.stage, Stage::Offering | Stage::Waiting | Stage::Asking)
    }

    /// Takes in what has happened and says what is to be done.
    pub fn handle(&mut self, now_us: u64, input: HandOverInput, effects: &mut Vec<HandOverEffect>) {
        match (self.stage, input) {
            (Stage::Over, _) => {}
            (Stage::Offering | Stage::Waiting | Stage::Asking, HandOverInput::Gone) => {
                self.end(Ended::Gone, effects);
            }
            // It had stopped, or was about to; what it wrote is in the journal.
            (Stage::Stopping, HandOverInput::Gone) => self.end(Ended::Gone, effects),
            (Stage::Offering, HandOverInput::Offered(answer)) => match answer {
                Answer::Done(()) => self.wait(now_us, Stage::Waiting, effects),
                Answer::Stale => self.end(Ended::Gone, effects),
                Answer::Failed => self.keep(effects),
            },
            (Stage::Asking, HandOverInput::Ready(answer)) => match answer {
                Answer::Done(true) => self.stop(now_us, effects),
                Answer::Stale => self.end(Ended::Gone, effects),
                Answer::Done(false) | Answer::Failed => self.wait(now_us, Stage::Waiting, effects),
            },
            (Stage::Stopping, HandOverInput::Stopped) => self.hand_over(effects),
            (Stage::Handing, HandOverInput::HandedOver(answer)) => match answer {
                // Whoever has it now knows who it is.
                Answer::Done(()) | Answer::Stale => self.end(Ended::Moved, effects),
                Answer::Failed => self.wait(now_us, Stage::Pausing, effects),
            },
            (_, HandOverInput::Tick) => self.on_tick(now_us, effects),
            // Too late, or of an earlier step.
            (
                _,
                HandOverInput::Offered(_)
                | HandOverInput::Ready(_)
                | HandOverInput::Stopped
                | HandOverInput::HandedOver(_)
                | HandOverInput::Gone,
            ) => {}
        }
    }

    fn on_tick(&mut self, now_us: u64, effects: &mut Vec<HandOverEffect>) {
        if now_us < self.wake_us {
            return;
        }
        let is_late = now_us >= self.deadline_us;
        match self.stage {
            Stage::Offering | Stage::Waiting | Stage::Asking if is_late => self.keep(effects),
            Stage::Handing | Stage::Pausing if is_late => self.end(Ended::Stranded, effects),
            Stage::Waiting => {
                self.stage = Stage::Asking;
                effects.push(HandOverEffect::AskReady);
                self.wake(self.deadline_us, effects);
            }
            Stage::Pausing => self.hand_over(effects),
            // A brane stops when the store has all of it, however long that takes.
            Stage::Stopping | Stage::Offering | Stage::Asking | Stage::Handing | Stage::Over => {}
        }
    }

    /// The other node is ready.
    fn stop(&mut self, now_us: u64, effects: &mut Vec<HandOverEffect>) {
        self.stage = Stage::Stopping;
        self.deadline_us = now_us + u64::from(self.config.timeout_ms) * 1_000;
        effects.push(HandOverEffect::Stop);
    }

    fn hand_over(&mut self, effects: &mut Vec<HandOverEffect>) {
        self.stage = Stage::Handing;
        effects.push(HandOverEffect::HandOver);
        self.wake(self.deadline_us, effects);
    }

    fn wait(&mut self, now_us: u64, stage: Stage, effects: &mut Vec<HandOverEffect>) {
        self.stage = stage;
        let pause_us = u64::from(self.config.ask_ms) * 1_000;
        self.wake(self.deadline_us.min(now_us + pause_us), effects);
    }

    fn keep(&mut self, effects: &mut Vec<HandOverEffect>) {
        effects.push(HandOverEffect::Withdraw);
        self.end(Ended::Kept, effects);
    }

    fn end(&mut self, ended: Ended, effects: &mut Vec<HandOverEffect>) {
        self.stage = Stage::Over;
        effects.push(HandOverEffect::Ended(ended));
    }

    fn wake(&mut self, at_us: u64, effects: &mut Vec<HandOverEffect>) {
        self.wake_us = at_us;
        effects.push(HandOverEffect::WakeAt(at_us));
    }
}
