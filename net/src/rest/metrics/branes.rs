//! Figures of branes.
//!
//! Those of a public brane carry its id; its counters start anew with each
//! opening, which Prometheus takes for the restart that it is. So that ids
//! cannot flood it, only the public branes with the most sessions are shown
//! one by one. All others are shown as one: whoever has the id of an unlisted
//! brane is let in, so it is not told to those who show no token.

mod levels;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use avvy_actors::OpenBrane;
use avvy_model::{BraneId, Epoch, Visibility};

use super::Exposition;
use levels::{LEVELS, REASONS};

/// Public branes that are shown one by one.
const MAX_SHOWN: usize = 100;

/// The label of all others together.
const OTHER: &str = "other";

/// What a figure is, and how those of several branes become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Rises from 0 while the brane is open. Added up over all openings.
    Counter,
    /// A gauge that is added up.
    Sum,
    /// A gauge of which the highest counts.
    Most,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Sum | Self::Most => "gauge",
        }
    }
}

/// A figure of a brane: name, kind, help, value.
type Figure = (&'static str, Kind, &'static str, fn(&OpenBrane) -> u64);

const FIGURES: &[Figure] = &[
    ("avvy_brane_sessions", Kind::Sum, "Sessions in the brane.", |b| b.core.sessions as u64),
    ("avvy_brane_entry_entering", Kind::Sum, "Sessions that are being brought up to date.", |b| {
        b.admission.entering as u64
    }),
    ("avvy_brane_entry_waiting", Kind::Sum, "Sessions that wait for being let in.", |b| {
        b.admission.waiting as u64
    }),
    ("avvy_brane_entry_admitted_total", Kind::Counter, "Sessions let in.", |b| {
        b.admission.admitted
    }),
    ("avvy_brane_entry_waited_total", Kind::Counter, "Sessions that had to wait.", |b| {
        b.admission.waited
    }),
    (
        "avvy_brane_entry_waited_milliseconds_total",
        Kind::Counter,
        "Time that sessions have waited which were let in then.",
        |b| b.admission.waited_ms,
    ),
    (
        "avvy_brane_entry_sent_away_total",
        Kind::Counter,
        "Sessions told to come back, because too many waited.",
        |b| b.admission.sent_away,
    ),
    ("avvy_brane_objects", Kind::Sum, "Objects in the brane.", |b| u64::from(b.core.objects)),
    ("avvy_brane_world_bytes", Kind::Sum, "Bytes of memory of these objects.", |b| {
        b.core.world_bytes
    }),
    ("avvy_brane_window_microseconds", Kind::Most, "Time between two windows.", |b| {
        b.core.window_us
    }),
    (
        "avvy_brane_fan_out_microseconds",
        Kind::Most,
        "Time that the fan-out of a window takes.",
        |b| b.core.fan_out_us,
    ),
    ("avvy_brane_durable_lag_edits", Kind::Sum, "Edits accepted and not yet durable.", |b| {
        b.core.durable_lag_edits
    }),
    ("avvy_brane_journal_pending_bytes", Kind::Sum, "Journal bytes not yet durable.", |b| {
        b.core.journal_pending_bytes as u64
    }),
    ("avvy_brane_edits_accepted_total", Kind::Counter, "Edits accepted.", |b| b.core.accepted),
    ("avvy_brane_edits_refused_total", Kind::Counter, "Edits refused.", |b| b.core.refused),
    (
        "avvy_brane_edits_repeated_total",
        Kind::Counter,
        "Edits sent again and answered as before.",
        |b| b.core.repeated,
    ),
    ("avvy_brane_windows_total", Kind::Counter, "Windows published.", |b| b.core.windows),
    ("avvy_brane_rewinds_total", Kind::Counter, "Joins of copies that held lost edits.", |b| {
        b.core.rewinds
    }),
    ("avvy_brane_resyncs_total", Kind::Counter, "Sessions that fell out of the ring.", |b| {
        b.fan_out.resyncs
    }),
    ("avvy_brane_slow_closes_total", Kind::Counter, "Sessions closed as too slow.", |b| {
        b.fan_out.closed_slow
    }),
    ("avvy_brane_views", Kind::Sum, "Different views of parts of the brane.", |b| {
        b.fan_out.views as u64
    }),
    ("avvy_brane_views_shown_total", Kind::Counter, "Windows made for a view of a part.", |b| {
        b.fan_out.views_shown
    }),
    (
        "avvy_brane_views_spared_total",
        Kind::Counter,
        "Windows that showed nothing to a view, which was sent nothing.",
        |b| b.fan_out.views_spared,
    ),
    (
        "avvy_brane_turns_total",
        Kind::Counter,
        "Turns that were not the last of views that wait.",
        |b| b.fan_out.turns,
    ),
    ("avvy_brane_steps_total", Kind::Counter, "Steps from one view to the next.", |b| {
        b.fan_out.steps
    }),
    (
        "avvy_brane_begun_anew_total",
        Kind::Counter,
        "Sessions that got a fresh copy because of what they see.",
        |b| b.fan_out.begun_anew,
    ),
    ("avvy_brane_people_following", Kind::Sum, "Sessions that follow who is there.", |b| {
        b.people.followers as u64
    }),
    ("avvy_brane_people_posed", Kind::Sum, "Sessions that have a pose.", |b| b.people.posed as u64),
    ("avvy_brane_people_changes_total", Kind::Counter, "Joins and leaves.", |b| b.people.changes),
    (
        "avvy_brane_people_resets_total",
        Kind::Counter,
        "Followers that missed too many joins and leaves and had to list anew.",
        |b| b.people.resets,
    ),
    ("avvy_brane_poses_taken_total", Kind::Counter, "Poses taken from sessions.", |b| {
        b.people.poses_taken
    }),
    ("avvy_brane_poses_sent_total", Kind::Counter, "Poses handed to sessions.", |b| {
        b.people.poses_sent
    }),
    (
        "avvy_brane_poses_dropped_total",
        Kind::Counter,
        "Turns of poses that a session missed because its queue was full.",
        |b| b.people.poses_dropped,
    ),
    ("avvy_brane_signals_total", Kind::Counter, "Signals taken.", |b| b.people.signals),
    ("avvy_brane_signals_refused_total", Kind::Counter, "Signals refused.", |b| {
        b.people.signals_refused
    }),
    ("avvy_brane_signals_delivered_total", Kind::Counter, "Signals handed to sessions.", |b| {
        b.people.signals_delivered
    }),
    (
        "avvy_brane_signals_dropped_total",
        Kind::Counter,
        "Signals that a session missed because its queue was full.",
        |b| b.people.signals_dropped,
    ),
];

const COUNT: usize = FIGURES.len() + LEVELS.len() + REASONS.len();

type Values = [u64; COUNT];

/// All of them, in the order of [`Values`].
fn figures() -> impl Iterator<Item = &'static Figure> {
    FIGURES.iter().chain(LEVELS).chain(REASONS)
}

/// What has to be remembered between two pages, so that the counters of all
/// others never fall while branes come and go among them. What a brane counts
/// between the last page and its closing is not seen.
pub(super) struct BraneFigures {
    /// Of every open brane, as the last page saw it.
    last: HashMap<BraneId, (Epoch, Values)>,
    /// Of the others, since the process began; only counters.
    totals: Values,
}

impl Default for BraneFigures {
    fn default() -> Self {
        Self { last: HashMap::new(), totals: [0; COUNT] }
    }
}

impl BraneFigures {
    /// Adds the figures of the open branes to a page.
    pub(super) fn write(&mut self, open: &[OpenBrane], out: &mut Exposition) {
        let shown = shown(open);
        let ids: HashSet<BraneId> = shown.iter().map(|(_, brane)| brane.brane).collect();
        let others: Vec<&OpenBrane> =
            open.iter().filter(|brane| !ids.contains(&brane.brane)).collect();
        self.count(open, &ids);
        for ((name, kind, help, value), total) in figures().zip(self.totals) {
            let others = others.iter().map(|brane| value(brane));
            let other = match kind {
                Kind::Counter => total,
                Kind::Sum => others.sum(),
                Kind::Most => others.max().unwrap_or_default(),
            };
            let samples = shown.iter().map(|(id, brane)| (id.as_str(), value(brane)));
            let samples = samples.chain([(OTHER, other)]);
            let samples = samples.map(|(brane, value)| (Some(("brane", brane)), value));
            out.many(name, kind.name(), help, samples);
        }
        let help = "Open branes that are shown as one, as `other`.";
        out.gauge("avvy_branes_omitted", help, others.len());
    }

    /// Adds what the others have counted since the last page.
    fn count(&mut self, open: &[OpenBrane], shown: &HashSet<BraneId>) {
        let mut seen = HashMap::with_capacity(open.len());
        for brane in open {
            let (epoch, values) = (brane.core.epoch, values(brane));
            let before = self.last.get(&brane.brane).filter(|(before, _)| *before == epoch);
            if !shown.contains(&brane.brane) {
                for (at, total) in self.totals.iter_mut().enumerate() {
                    let before = before.map_or(0, |(_, before)| before[at]);
                    *total += values[at].saturating_sub(before);
                }
            }
            seen.insert(brane.brane, (epoch, values));
        }
        self.last = seen;
    }
}

/// The branes that are shown one by one, with their labels.
fn shown(open: &[OpenBrane]) -> Vec<(String, &OpenBrane)> {
    let is_public = |brane: &&OpenBrane| brane.visibility == Visibility::Public;
    let mut shown: Vec<&OpenBrane> = open.iter().filter(is_public).collect();
    shown.sort_by_key(|brane| (Reverse(brane.core.sessions), brane.brane));
    shown.truncate(MAX_SHOWN);
    shown.into_iter().map(|brane| (brane.brane.to_string(), brane)).collect()
}

fn values(brane: &OpenBrane) -> Values {
    let mut values = [0; COUNT];
    for ((.., value), slot) in figures().zip(&mut values) {
        *slot = value(brane);
    }
    values
}

#[cfg(test)]
mod tests {
    use avvy_actors::{AdmissionStatus, BraneStatus, FanOutStatus, PeopleStatus};
    use uuid::Uuid;

    use super::*;

    fn brane(n: u128, visibility: Visibility, epoch: u64, figures: u64) -> OpenBrane {
        OpenBrane {
            brane: BraneId::new(Uuid::from_u128(n)),
            visibility,
            core: BraneStatus {
                epoch: Epoch(epoch),
                accepted: figures,
                sessions: figures as usize,
                window_us: figures,
                ..BraneStatus::default()
            },
            admission: AdmissionStatus::default(),
            fan_out: FanOutStatus::default(),
            people: PeopleStatus::default(),
        }
    }

    fn page(figures: &mut BraneFigures, open: &[OpenBrane]) -> String {
        let mut out = Exposition::default();
        figures.write(open, &mut out);
        out.0
    }

    #[track_caller]
    fn holds(page: &str, samples: &[(&str, u64)]) {
        for (name, value) in samples {
            let sample = format!("{name}{{brane=\"other\"}} {value}\n");
            assert!(page.contains(&sample), "{sample} is not in\n{page}");
        }
    }

    #[test]
    fn every_counter_and_no_gauge_ends_in_total() {
        for (name, kind, ..) in figures() {
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(name.starts_with("avvy_brane_"));
        }
    }

    #[test]
    fn only_public_branes_are_named() {
        let open = [
            brane(0xa1, Visibility::Public, 1, 1),
            brane(0xa2, Visibility::Unlisted, 1, 20),
            brane(0xa3, Visibility::Private, 1, 300),
        ];
        let page = page(&mut BraneFigures::default(), &open);
        let labels: HashSet<&str> =
            page.split("brane=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let public = open[0].brane.to_string();
        assert_eq!(labels, HashSet::from([public.as_str(), OTHER]));
        let names = ["edits_accepted_total", "sessions"].map(|name| format!("avvy_brane_{name}"));
        holds(&page, &[(&names[0], 320), (&names[1], 320)]);
        holds(&page, &[("avvy_brane_window_microseconds", 300)]);
        assert!(page.contains("avvy_branes_omitted 2\n"), "{page}");
    }

    #[test]
    fn what_is_done_for_views_is_shown() {
        let mut open = [brane(1, Visibility::Private, 1, 1), brane(2, Visibility::Private, 1, 1)];
        for brane in &mut open {
            brane.fan_out = FanOutStatus {
                views: 2,
                views_shown: 30,
                views_spared: 400,
                steps: 5_000,
                begun_anew: 60_000,
                turns: 7_000_000,
                ..FanOutStatus::default()
            };
        }
        let page = page(&mut BraneFigures::default(), &open);
        let figures: [(&str, u64); 6] = [
            ("views", 4),
            ("views_shown_total", 60),
            ("views_spared_total", 800),
            ("steps_total", 10_000),
            ("begun_anew_total", 120_000),
            ("turns_total", 14_000_000),
        ];
        for (name, value) in figures {
            holds(&page, &[(&format!("avvy_brane_{name}"), value)]);
        }
    }

    #[test]
    fn who_is_served_less_is_shown() {
        let mut open = [brane(1, Visibility::Private, 1, 1), brane(2, Visibility::Private, 1, 1)];
        for brane in &mut open {
            brane.fan_out = FanOutStatus {
                degraded: [1, 2, 3, 4],
                degradations: [10, 20, 30, 40],
                degraded_ms: [100, 200, 300, 400],
                level_changes: [1_000, 2_000, 3_000],
                ..FanOutStatus::default()
            };
        }
        let page = page(&mut BraneFigures::default(), &open);
        for (level, count) in ["no_presence", "collapsed", "near", "resync"].iter().zip(1..) {
            let name = format!("avvy_brane_degraded_{level}");
            holds(
                &page,
                &[(&name, 2 * count), (&format!("{name}_milliseconds_total"), 200 * count)],
            );
            holds(&page, &[(&format!("avvy_brane_degradations_{level}_total"), 20 * count)]);
        }
        for (reason, count) in ["bytes", "age", "recovered"].iter().zip(1..) {
            let name = format!("avvy_brane_level_changes_{reason}_total");
            holds(&page, &[(&name, 2_000 * count)]);
        }
    }

    #[test]
    fn who_is_let_in_and_who_is_not_is_shown() {
        let mut open = [brane(1, Visibility::Private, 1, 1), brane(2, Visibility::Private, 1, 1)];
        for brane in &mut open {
            brane.admission = AdmissionStatus {
                entering: 1,
                waiting: 20,
                admitted: 300,
                waited: 4_000,
                waited_ms: 50_000,
                sent_away: 600_000,
            };
        }
        let page = page(&mut BraneFigures::default(), &open);
        let figures: [(&str, u64); 6] = [
            ("entering", 2),
            ("waiting", 40),
            ("admitted_total", 600),
            ("waited_total", 8_000),
            ("waited_milliseconds_total", 100_000),
            ("sent_away_total", 1_200_000),
        ];
        for (name, value) in figures {
            holds(&page, &[(&format!("avvy_brane_entry_{name}"), value)]);
        }
    }

    #[test]
    fn too_many_branes_are_shown_as_one() {
        let most = MAX_SHOWN as u64;
        let open: Vec<OpenBrane> =
            (1..=most + 2).map(|n| brane(u128::from(n), Visibility::Public, 1, n)).collect();
        let page = page(&mut BraneFigures::default(), &open);
        // The two with the fewest sessions.
        holds(&page, &[("avvy_brane_sessions", 1 + 2)]);
    }

    #[test]
    fn counters_of_all_others_never_fall() {
        let mut figures = BraneFigures::default();
        let accepted = "avvy_brane_edits_accepted_total";
        let hidden = Visibility::Private;
        let steps: &[(&[OpenBrane], u64)] = &[
            (&[brane(1, hidden, 1, 10), brane(2, hidden, 1, 5)], 15),
            (&[brane(1, hidden, 1, 12), brane(2, hidden, 1, 5)], 17),
            // One is closed.
            (&[brane(1, hidden, 1, 12)], 17),
            // And opened again, the other was opened anew.
            (&[brane(1, hidden, 2, 13), brane(2, hidden, 3, 1)], 17 + 13 + 1),
            // What a public brane counts under its own name is no other's.
            (&[brane(1, Visibility::Public, 2, 50)], 31),
            (&[brane(1, hidden, 2, 51)], 32),
        ];
        for (open, total) in steps {
            holds(&page(&mut figures, open), &[(accepted, *total)]);
        }
    }
}
