//! `search`: how long a question of what is public takes, with 100,000 things in
//! the embedded store, and as many words as people's names for things have.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use avvy_catalog::{Catalog, CatalogLimits, Label, ListedBrane, Question};
use avvy_model::{BraneId, UserId};
use avvy_persistence::sqlite::{SqliteOptions, SqliteStore};
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::runtime::Builder;

use super::report::round;
use super::{Figure, Report, Setup};
use crate::draw::Draw;

/// Things that can be found.
const THINGS: usize = 100_000;

/// Those that are put at a time.
const AT_ONCE: usize = 200;

/// Words that there are; a word is the rarer the later it is.
const WORDS: u64 = 5_000;

/// Tags that there are.
const TAGS: u64 = 200;

const NOW_S: u64 = 1_795_487_000;

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(measure(setup))
}

async fn measure(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("search", setup);
    let directory = setup.scratch.join("search");
    // What a run before this one has left.
    let _ = std::fs::remove_dir_all(&directory);
    let store = Arc::new(SqliteStore::open(&SqliteOptions::at(&directory))?);
    let catalog = Catalog::new(store, CatalogLimits::default());
    let mut draw = Draw::new(7);
    let things = setup.size(THINGS, 2_000);
    for _ in 0..things / AT_ONCE {
        let put = (0..AT_ONCE).map(|_| catalog.list_brane(thing(&mut draw), NOW_S));
        let put: Vec<_> = put.collect();
        try_join_all(put).await.map_err(|refused| anyhow!("not put: {}", refused.code))?;
    }
    let (mut ns, mut found, began) = (Vec::new(), 0, Instant::now());
    while began.elapsed() < setup.time {
        let question = question(&mut draw);
        let asked = Instant::now();
        let page = catalog.search(&question, None, 20, NOW_S).await;
        ns.push(asked.elapsed().as_nanos() as u64);
        found += page.map_err(|refused| anyhow!("not answered: {}", refused.code))?.found.len();
    }
    ensure!(found > 0, "nothing was found");
    ns.sort_unstable();
    let at = |share: f64| {
        let nth = ((ns.len() as f64 * share) as usize).min(ns.len() - 1);
        round(ns[nth] as f64 / 1e6)
    };
    report.raw("things", things);
    report.raw("questions", ns.len());
    report.raw("found_per_question", round(found as f64 / ns.len() as f64));
    report.raw("p50_ms", at(0.5));
    report.raw("p99_ms", at(0.99));
    report.raw("max_ms", json!(at(1.0)));
    report.show(Figure::new("question, 99 of 100, ms", at(0.99)).at_most(20.0));
    report.show(Figure::new("question, median, ms", at(0.5)));
    Ok(report)
}

fn thing(draw: &mut Draw) -> ListedBrane {
    let words = |draw: &mut Draw, count: usize| {
        (0..count).map(|_| word(draw)).collect::<Vec<_>>().join(" ")
    };
    let tags = [draw.below(TAGS), draw.below(TAGS)].map(|nth| format!("tag{nth}"));
    let mut tags = tags.to_vec();
    tags.dedup();
    let label = Label { name: words(draw, 3), description: words(draw, 12), tags };
    ListedBrane {
        id: BraneId::new(draw.uuid()),
        owner: UserId::new(draw.uuid()),
        label,
        is_listed: true,
        version: 1,
    }
}

/// What people ask: a word or its beginning, two words, a tag, or all.
fn question(draw: &mut Draw) -> Question {
    let text = match draw.below(6) {
        0 | 1 => word(draw),
        2 => word(draw).chars().take(3).collect(),
        3 | 4 => format!("{} {}", word(draw), word(draw)),
        _ => String::new(),
    };
    let tag = (draw.below(4) == 0).then(|| format!("tag{}", draw.below(TAGS)));
    Question { text, tag, kind: None }
}

/// A word of one to five syllables; the first of them are as usual as in a
/// language, by the law of Zipf.
fn word(draw: &mut Draw) -> String {
    const SYLLABLES: [&str; 16] = [
        "ba", "cho", "di", "fu", "ga", "hel", "jo", "ka", "lim", "mor", "na", "po", "ri", "su",
        "ta", "ve",
    ];
    let mut nth = (WORDS as f64).powf(draw.fraction()) as u64;
    let mut word = String::new();
    while nth > 0 || word.is_empty() {
        word.push_str(SYLLABLES[(nth % 16) as usize]);
        nth /= 16;
    }
    word
}
