//! The tables of `docs/HOSTILE.md`.

use std::path::Path;

const TABLE: &str = include_str!("../../../docs/HOSTILE.md");

/// A row: `| case | what is done | answer | [stated](where) |`.
pub struct Row {
    pub case: String,
    pub answer: String,
    pub stated: String,
}

pub fn rows() -> Vec<Row> {
    TABLE.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.strip_prefix("| `")?.split(" | ").collect();
    let [case, _, answer, stated] = cells[..] else { panic!("not four cells: {line}") };
    let answer = answer.replace('`', "");
    let (_, place) = stated.split_once("](").unwrap_or_else(|| panic!("no link: {line}"));
    Some(Row {
        case: case.trim_end_matches('`').to_owned(),
        answer,
        stated: place.trim_end_matches([')', ' ', '|']).to_owned(),
    })
}

impl Row {
    /// Whether the link leads to a heading.
    pub fn is_stated(&self) -> bool {
        let Some((file, anchor)) = self.stated.split_once('#') else { return false };
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let text = std::fs::read_to_string(docs.join(file)).unwrap_or_default();
        text.lines().filter(|line| line.starts_with('#')).any(|line| anchor_of(line) == anchor)
    }
}

/// The anchor of a heading: in lower case, with dashes for spaces and without
/// other marks.
fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    text.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
}
