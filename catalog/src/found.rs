//! What searches find: a small record for each public thing and brane, beside
//! the thing itself.
//!
//! Each is found by its words, by its tags, and by nothing at all, once under
//! its kind and once under none. Entries are `(kind or "", word, newest first)`,
//! in which a tag is a word behind `#`. So each question is one stretch of one
//! index, in every store: that of its longest word and all words that begin so,
//! or of its tag, or of all. What else is asked is looked for in the records of
//! that stretch, so many of them for each request.

use std::collections::BTreeSet;

use avvy_model::{BraneId, Code, UserId, Visibility};
use avvy_persistence::records::{
    Change, Collection, Cursor, Draft, Expect, Fields, Index, IndexKey, KeyRange, Query, Record,
    RecordKey, RecordWrite, Value,
};
use avvy_persistence::{BraneRecord, Life};
use uuid::Uuid;

use crate::fold::{cut, fold, words};
use crate::label::{Label, MAX_TAG_BYTES, MAX_TAGS};
use crate::thing::{Kind, Thing};
use crate::work::Attempts;
use crate::{Catalog, Refused};

/// What searches find. Key: the kind, a point, and the id.
pub(crate) static FOUND: Collection =
    Collection { name: "found", indexes: &[Index::plain("by_word")] };

/// Words by which one thing is found, those of its name first, then those of
/// its tags and of its description. With the tags, and each twice, they are
/// as many entries as a record can have.
pub const MAX_WORDS: usize = 40;

/// The longest question, in bytes.
pub const MAX_QUESTION_BYTES: usize = 256;

/// The most words of a question.
pub const MAX_QUESTION_WORDS: usize = 8;

/// The most things on one page.
pub const MAX_FOUND: u32 = 100;

/// Bytes of a description that are shown.
const EXCERPT_BYTES: usize = 512;

/// Entries that one request looks at.
const MAX_LOOKED_AT: u32 = 1_000;

/// Entries that are read at a time.
const STEP: u32 = 125;

/// What can be found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FoundKind {
    /// A prototype.
    Prototype,
    /// A group.
    Group,
    /// A block.
    Block,
    /// A brane.
    Brane,
}

impl FoundKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Prototype, Self::Group, Self::Block, Self::Brane];

    /// Its name on public surfaces, and in what is stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prototype => "prototype",
            Self::Group => "group",
            Self::Block => "block",
            Self::Brane => "brane",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl From<Kind> for FoundKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Prototype => Self::Prototype,
            Kind::Group => Self::Group,
            Kind::Block => Self::Block,
        }
    }
}

/// Something that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// What it is.
    pub kind: FoundKind,
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub owner: UserId,
    /// Name, tags, and the beginning of the description.
    pub label: Label,
    /// When it was last changed, Unix time in seconds.
    pub changed_s: u64,
}

/// What is searched for. Everything that is said has to fit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Question {
    /// Words, each of which begins one of those by which a thing is found.
    pub text: String,
    /// One of its tags, in any case.
    pub tag: Option<String>,
    /// What it is.
    pub kind: Option<FoundKind>,
}

/// A page of what was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FoundPage {
    /// By the word that was found and then the newest first.
    pub found: Vec<Found>,
    /// Where the next page begins; `None`: nothing follows. There may be one
    /// although this page is short or empty.
    pub next: Option<Cursor>,
}

/// A brane, as it is found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedBrane {
    /// Its id.
    pub id: BraneId,
    /// Whose it is.
    pub owner: UserId,
    /// What people call it.
    pub label: Label,
    /// Whether it is public and there to be entered.
    pub is_listed: bool,
    /// The version of its record, which all this is of.
    pub version: u64,
}

impl From<&BraneRecord> for ListedBrane {
    fn from(record: &BraneRecord) -> Self {
        Self {
            id: record.id,
            owner: record.owner,
            label: Label {
                name: record.name.clone(),
                description: record.description.clone(),
                tags: record.tags.clone(),
            },
            is_listed: record.visibility == Visibility::Public && record.life == Life::Active,
            version: record.version,
        }
    }
}

impl Catalog {
    /// Searches for public things.
    ///
    /// # Errors
    /// `malformed` for too long a question, or a cursor of another one.
    pub async fn search(
        &self,
        question: &Question,
        after: Option<Cursor>,
        limit: u32,
        now_s: u64,
    ) -> Result<FoundPage, Refused> {
        let terms = Terms::of(question)?;
        let range = terms.range();
        if after.as_ref().is_some_and(|cursor| !range.holds(&cursor.key)) {
            return Err(Refused::because(Code::Malformed, "after: the `next` of a page"));
        }
        let limit = limit.clamp(1, MAX_FOUND) as usize;
        let (mut page, mut looked_at, mut after) = (FoundPage::default(), 0, after);
        loop {
            let query = Query::new("by_word", range.clone()).after(after).limit(STEP);
            let step = self.records().list(&FOUND, query, now_s).await?;
            for listed in step.found {
                if page.found.len() == limit {
                    return Ok(page);
                }
                page.next =
                    Some(Cursor { key: listed.key.clone(), record: listed.record.key.clone() });
                let entry = Entry::of(&listed.record.body).ok_or(Code::Damaged)?;
                if terms.fit(&entry, &listed.key) {
                    page.found.push(found(&listed.record.body).ok_or(Code::Damaged)?);
                }
                looked_at += 1;
            }
            if step.next.is_none() {
                page.next = None;
                return Ok(page);
            }
            if looked_at >= MAX_LOOKED_AT {
                return Ok(page);
            }
            after = step.next;
        }
    }

    /// Has searches find a brane as it is now, or not any more. Of what was
    /// listed of a later version of it nothing is changed: of two who changed
    /// it, the one who was first may come last.
    ///
    /// # Errors
    /// `conflict` when others list it again and again; what a store's failure
    /// amounts to.
    pub async fn list_brane(&self, brane: ListedBrane, now_s: u64) -> Result<(), Refused> {
        let key = key(FoundKind::Brane, brane.id.uuid());
        let mut attempts = Attempts::new();
        loop {
            let there = self.records().get_many(&FOUND, vec![key.clone()], now_s).await?.pop();
            let there = there.transpose()?.flatten();
            let Some(write) = listing(&brane, &key, there.as_deref(), now_s) else {
                return Ok(());
            };
            if self.commit(vec![write], now_s).await?.is_some() {
                return Ok(());
            }
            attempts.again()?;
        }
    }
}

/// What has a brane be found as it is, if something is to be written for that.
fn listing(
    brane: &ListedBrane,
    key: &RecordKey,
    there: Option<&Record>,
    now_s: u64,
) -> Option<RecordWrite> {
    // What was listed before there were versions in it is older than any.
    let version_of = |there: &Record| there.body.int("version").map_or(0, i64::cast_unsigned);
    if there.is_some_and(|there| version_of(there) > brane.version) {
        return None;
    }
    let expected = there.map_or(Expect::Absent, |there| Expect::Version(there.version));
    if !brane.is_listed {
        return there.map(|_| RecordWrite::delete(&FOUND, key.clone(), expected));
    }
    let ListedBrane { id, owner, ref label, version, .. } = *brane;
    let listed = |changed_s| {
        let (kind, id, label) = (FoundKind::Brane, id.uuid(), label.clone());
        let mut draft = draft(Found { kind, id, owner, label, changed_s });
        draft.body = draft.body.with("version", version.cast_signed());
        draft
    };
    // Another version of which the same is found keeps its place.
    let kept_s = there.and_then(|there| {
        let was_s = there.body.time("changed")?;
        finds_the_same(&there.body, &listed(was_s).body).then_some(was_s)
    });
    let draft = listed(kept_s.unwrap_or(now_s));
    let is_there = there.is_some_and(|there| there.body == draft.body);
    let (key, expect, change) = (key.clone(), expected, Change::Put(draft));
    (!is_there).then_some(RecordWrite { of: &FOUND, key, expect, change })
}

/// Whether both say the same, of whatever version.
fn finds_the_same(one: &Fields, other: &Fields) -> bool {
    let of_any = |fields: &Fields| {
        let mut fields = fields.clone();
        fields.remove("version");
        fields
    };
    of_any(one) == of_any(other)
}

/// The key of something that is found.
pub(crate) fn key(kind: FoundKind, id: Uuid) -> RecordKey {
    // The letters of a kind and of an id are visible ones, and few.
    RecordKey::new(format!("{}.{id}", kind.name())).unwrap_or_else(|| RecordKey::from(id))
}

/// Has a thing be found.
pub(crate) fn listed(thing: &Thing) -> RecordWrite {
    let (kind, label) = (FoundKind::from(thing.kind()), thing.label.clone());
    let (id, owner, changed_s) = (thing.id, thing.owner, thing.changed_s);
    RecordWrite::put(&FOUND, key(kind, id), draft(Found { kind, id, owner, label, changed_s }))
}

fn draft(found: Found) -> Draft {
    let Found { kind, id, owner, label, changed_s } = found;
    let Label { name, description, tags } = label;
    let texts = std::iter::once(name.as_str()).chain(tags.iter().map(String::as_str));
    let own_words = words(texts.chain([description.as_str()]), MAX_WORDS);
    let body = Fields::new()
        .with("kind", kind.name())
        .with("id", id)
        .with("owner", owner.uuid())
        .with("name", name.as_str())
        .with("description", cut(&description, EXCERPT_BYTES))
        .with("tags", tags.iter().map(|tag| tag.as_str().into()).collect::<Vec<Value>>())
        .with("words", own_words.join(" "))
        .with("changed", Value::time(changed_s));
    let terms: BTreeSet<String> = tags
        .iter()
        .take(MAX_TAGS)
        .map(|tag| tag_term(tag))
        .chain(own_words)
        .chain([String::new()])
        .collect();
    let mut draft = Draft::new(body);
    for term in terms {
        for scope in ["", kind.name()] {
            draft = draft.found_by("by_word", entry_key(scope, &term, changed_s));
        }
    }
    draft
}

fn entry_key(scope: &str, term: &str, changed_s: u64) -> IndexKey {
    IndexKey::new().text(scope).text(term).number(u64::MAX - changed_s)
}

/// A tag among the words.
fn tag_term(tag: &str) -> String {
    format!("#{}", fold(tag))
}

/// What a record says that questions are about.
struct Entry<'a> {
    words: &'a str,
    tags: &'a [Value],
    changed_s: u64,
}

impl<'a> Entry<'a> {
    fn of(body: &'a Fields) -> Option<Self> {
        let (words, tags) = (body.text("words")?, body.array("tags")?);
        Some(Self { words, tags, changed_s: body.time("changed")? })
    }
}

/// What a record lets be found.
fn found(body: &Fields) -> Option<Found> {
    let id = |name| Uuid::try_parse(body.text(name)?).ok();
    let label = Label {
        name: body.text("name")?.to_owned(),
        description: body.text("description")?.to_owned(),
        tags: body.array("tags")?.iter().map(text).collect::<Option<_>>()?,
    };
    Some(Found {
        kind: FoundKind::from_name(body.text("kind")?)?,
        id: id("id")?,
        owner: UserId::new(id("owner")?),
        label,
        changed_s: body.time("changed")?,
    })
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// A question, taken apart.
struct Terms {
    scope: &'static str,
    /// By which the stretch is found.
    first: First,
    /// What else one of a thing's words has to begin with.
    words: Vec<String>,
    tag: Option<String>,
}

enum First {
    /// All words that begin so.
    Word(String),
    /// This tag, or with no letters everything.
    Exactly(String),
}

impl Terms {
    fn of(question: &Question) -> Result<Self, Refused> {
        let Question { text, tag, kind } = question;
        let malformed = |details| Err(Refused::because(Code::Malformed, details));
        if text.len() > MAX_QUESTION_BYTES {
            return malformed("q: at most 256 bytes");
        }
        if tag.as_ref().is_some_and(|tag| tag.is_empty() || tag.len() > MAX_TAG_BYTES) {
            return malformed("tag: 1 to 32 bytes");
        }
        let mut words = words([text.as_str()], MAX_QUESTION_WORDS + 1);
        if words.len() > MAX_QUESTION_WORDS {
            return malformed("q: at most 8 words");
        }
        // Who asks for a word that nothing can have is not shown everything.
        if words.is_empty() && !text.trim().is_empty() {
            return malformed("q: letters or digits");
        }
        let scope = kind.map_or("", FoundKind::name);
        let tag = tag.as_deref().map(tag_term);
        // The longest is likely the rarest; of several the first.
        let longest = (0..words.len()).rev().max_by_key(|nth| words[*nth].chars().count());
        let first = match (longest, &tag) {
            (Some(longest), _) => First::Word(words.remove(longest)),
            (None, Some(tag)) => First::Exactly(tag.clone()),
            (None, None) => First::Exactly(String::new()),
        };
        Ok(Self { scope, first, words, tag })
    }

    fn range(&self) -> KeyRange {
        let key = IndexKey::new().text(self.scope);
        KeyRange::prefix(match &self.first {
            First::Word(word) => key.text_beginning(word),
            First::Exactly(term) => key.text(term),
        })
    }

    /// Whether all that is asked fits something that stands under this key, and
    /// it is there for the first time.
    fn fit(&self, entry: &Entry<'_>, key: &IndexKey) -> bool {
        let Entry { words, tags, changed_s } = *entry;
        let begins = |begin: &String| beginning(words, begin).next().is_some();
        let has_tag = |tag: &String| tags.iter().filter_map(text).any(|own| tag_term(&own) == *tag);
        let is_first = || match &self.first {
            First::Word(begin) => {
                let first = beginning(words, begin).min();
                first.is_some_and(|word| entry_key(self.scope, word, changed_s) == *key)
            }
            First::Exactly(_) => true,
        };
        self.words.iter().all(begins) && self.tag.iter().all(has_tag) && is_first()
    }
}

/// Those of some words that begin so.
fn beginning<'a>(words: &'a str, begin: &'a str) -> impl Iterator<Item = &'a str> {
    words.split(' ').filter(move |word| word.starts_with(begin))
}
