//! When which sender sends.

use crate::draw::Draw;

/// Senders that each send at one rate, each at a phase of its own, so that
/// together they send evenly but not in step.
pub struct Schedule {
    /// Microseconds from one edit of a sender to its next.
    period_us: f64,
    /// Phase and sender, by phase.
    phases: Vec<(f64, usize)>,
    start_us: u64,
    next: usize,
    rounds: f64,
}

impl Schedule {
    /// `senders` send `edits_per_s` edits a second all together, from
    /// `start_us` on.
    pub fn new(draw: &mut Draw, senders: &[usize], edits_per_s: f64, start_us: u64) -> Self {
        let period_us = senders.len() as f64 / edits_per_s * 1e6;
        let phase = |&sender: &usize| (draw.fraction() * period_us, sender);
        let mut phases: Vec<_> = senders.iter().map(phase).collect();
        phases.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { period_us, phases, start_us, next: 0, rounds: 0.0 }
    }

    /// When the next edit is due.
    pub fn due_us(&self) -> u64 {
        let (phase_us, _) = self.phases[self.next];
        self.start_us + (self.rounds * self.period_us + phase_us) as u64
    }

    /// Takes the sender whose edit is due.
    pub fn take(&mut self) -> usize {
        let (_, sender) = self.phases[self.next];
        self.next += 1;
        if self.next == self.phases.len() {
            self.next = 0;
            self.rounds += 1.0;
        }
        sender
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_sends_at_the_rate() {
        let senders: Vec<_> = (0..50).collect();
        let mut schedule = Schedule::new(&mut Draw::new(1), &senders, 500.0, 1_000);
        let mut sent = vec![0; 50];
        let mut last = 0;
        while schedule.due_us() < 1_000 + 1_000_000 {
            assert!(schedule.due_us() >= last);
            last = schedule.due_us();
            sent[schedule.take()] += 1;
        }
        assert_eq!(sent, vec![10; 50]);
    }
}
