//! Figures, for people and for machines.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::machine;

use super::Setup;

/// One figure with its goal.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What it is, with its unit.
    pub what: String,
    /// The figure.
    pub value: f64,
    /// The most that it should be, or the least.
    pub goal: Option<f64>,
    /// Whether the goal is the least.
    pub is_least: bool,
    /// The baseline's figure, in the same run.
    pub baseline: Option<f64>,
}

impl Figure {
    /// A figure without goal and baseline.
    pub fn new(what: &str, value: f64) -> Self {
        Self { what: what.to_owned(), value, goal: None, is_least: false, baseline: None }
    }

    /// With the most that it should be.
    #[must_use]
    pub fn at_most(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self
    }

    /// With the least that it should be.
    #[must_use]
    pub fn at_least(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self.is_least = true;
        self
    }

    /// With the baseline's figure; a goal then is of the ratio.
    #[must_use]
    pub fn beside(mut self, baseline: f64) -> Self {
        self.baseline = Some(baseline);
        self
    }

    /// The figure over the baseline's.
    pub fn ratio(&self) -> Option<f64> {
        self.baseline.map(|baseline| self.value / baseline)
    }

    /// Whether the goal is met, if there is one.
    pub fn is_met(&self) -> Option<bool> {
        let value = self.ratio().unwrap_or(self.value);
        self.goal.map(|goal| if self.is_least { value >= goal } else { value <= goal })
    }
}

/// What a benchmark found.
pub struct Report {
    name: String,
    figures: Vec<Figure>,
    raw: Map<String, Value>,
    broken: Vec<String>,
}

impl Report {
    /// Nothing found yet. The setup goes into the raw figures.
    pub fn new(name: &str, setup: &Setup) -> Self {
        let mut raw = Map::new();
        raw.insert("benchmark".to_owned(), json!(name));
        raw.insert("machine".to_owned(), json!(machine::describe()));
        raw.insert("cores_apart".to_owned(), json!(setup.cores.are_apart()));
        raw.insert("smoke_test".to_owned(), json!(setup.quick));
        if !setup.settings.is_empty() {
            raw.insert("settings".to_owned(), json!(setup.settings));
        }
        Self { name: name.to_owned(), figures: Vec::new(), raw, broken: Vec::new() }
    }

    /// Adds a figure for people.
    pub fn show(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Adds a raw figure.
    pub fn raw(&mut self, key: &str, value: impl Into<Value>) {
        self.raw.insert(key.to_owned(), value.into());
    }

    /// Says that something is not as it must be, whatever the figures.
    pub fn expect(&mut self, holds: bool, otherwise: &str) {
        if !holds {
            self.broken.push(otherwise.to_owned());
        }
    }

    /// What is not as it must be.
    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    /// Prints the table.
    pub fn print(&self) {
        println!("\n{}", self.name);
        println!("  {:<44} {:>10} {:>10} {:>8} {:>9}", "", "figure", "baseline", "ratio", "goal");
        for figure in &self.figures {
            let number = |value: Option<f64>| value.map(short).unwrap_or_default();
            let mark = match figure.is_met() {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            };
            let bound = if figure.is_least { ">=" } else { "<=" };
            println!(
                "  {:<44} {:>10} {:>10} {:>8} {:>9}  {mark}",
                figure.what,
                short(figure.value),
                number(figure.baseline),
                number(figure.ratio()),
                figure.goal.map(|goal| format!("{bound} {}", short(goal))).unwrap_or_default(),
            );
        }
        for broken in &self.broken {
            println!("  BROKEN: {broken}");
        }
    }

    /// Writes the raw figures to `NAME.json` in a folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let mut raw = self.raw.clone();
        let goals: Map<_, _> = self
            .figures
            .iter()
            .filter_map(|figure| {
                let goal = json!({
                    "goal": figure.goal?,
                    "value": round(figure.ratio().unwrap_or(figure.value)),
                    "is_least": figure.is_least,
                    "is_ratio": figure.baseline.is_some(),
                    "met": figure.is_met()?,
                });
                Some((figure.what.clone(), goal))
            })
            .collect();
        raw.insert("goals".to_owned(), Value::Object(goals));
        fs::create_dir_all(folder)?;
        let file = folder.join(format!("{}.json", self.name));
        let text = serde_json::to_string_pretty(&Value::Object(raw))? + "\n";
        fs::write(&file, text).with_context(|| format!("writing {}", file.display()))
    }
}

/// Four significant digits, which is more than a figure is worth.
pub(super) fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    let scale = 10f64.powi(digits.clamp(0, 6));
    (value * scale).round() / scale
}

fn short(value: f64) -> String {
    round(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_beside_a_baseline_is_of_the_ratio() {
        let figure = Figure::new("us", 3.0).beside(2.5).at_most(1.25);
        assert_eq!((figure.ratio(), figure.is_met()), (Some(1.2), Some(true)));
        assert_eq!(Figure::new("us", 3.0).at_most(1.25).is_met(), Some(false));
        assert_eq!(Figure::new("us", 3.0).is_met(), None);
        assert_eq!(Figure::new("reads", 3.0).beside(4.0).at_least(0.7).is_met(), Some(true));
        assert_eq!(Figure::new("reads", 3.0).at_least(3.1).is_met(), Some(false));
    }

    #[test]
    fn figures_have_four_digits() {
        for (value, text) in
            [(12_345.6, "12346"), (1.23456, "1.235"), (0.0123456, "0.01235"), (0.0, "0")]
        {
            assert_eq!(short(value), text);
        }
    }
}
