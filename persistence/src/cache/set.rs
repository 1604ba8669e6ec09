//! Sets of small names that each have an end, known to several processes.
//!
//! A set only grows until its members end, so places that know parts of it can
//! be put together in any order.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Mutex;

use crate::error::{Place, StoreError};
use crate::store::{BoxFuture, MAX_META_VALUE_BYTES, Store};

/// The longest name of a member, in bytes.
pub const MAX_MEMBER_BYTES: usize = 64;

/// A member of a set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Member {
    /// Its name, at most [`MAX_MEMBER_BYTES`].
    pub name: Vec<u8>,
    /// The Unix second from which it need not be known any more.
    pub until_s: u64,
}

/// A set, as one place keeps it.
pub trait SharedSet: Send + Sync + 'static {
    /// Where it is kept, for people.
    fn place(&self) -> &'static str;

    /// Adds members; what is there already stays for as long as the longer of
    /// both says.
    ///
    /// # Errors
    /// `Full` beyond the place's bound, else as the store says; then some may
    /// have been added.
    fn add(&self, members: Vec<Member>, now_s: u64) -> BoxFuture<'_, Result<(), StoreError>>;

    /// All members, perhaps with some that have ended.
    ///
    /// # Errors
    /// As the store says.
    fn all(&self) -> BoxFuture<'_, Result<Vec<Member>, StoreError>>;

    /// Ready when somebody may have added something, where that is told.
    fn changed(&self) -> BoxFuture<'_, ()>;
}

/// Values of the server's own that one set takes at most.
const MAX_PAGES: usize = 16;

/// How often adding is tried while others change the same pages. Of those who
/// write at once one comes through each time, and of each process one writes.
const MAX_TRIES: u32 = 256;

/// A set among the store's values of the server's own, in pages without a gap.
///
/// Several processes can add at once: each page is replaced only as it was
/// read. Nothing that was added is on no page for a moment, either. A page
/// lets go of a member only when that has ended, or an earlier page has it for
/// as long; so what is once on one of the first pages stays on one of those.
/// A page stays when nothing is left on it, so that no later one is missed.
pub struct MetaSet {
    store: Arc<dyn Store>,
    name: &'static str,
    writing: Mutex<()>,
}

impl MetaSet {
    /// The set of this name, of at most 32 letters.
    pub fn new(store: Arc<dyn Store>, name: &'static str) -> Self {
        Self { store, name, writing: Mutex::default() }
    }

    fn key(&self, page: usize) -> String {
        format!("{}.{page}", self.name)
    }

    /// The pages that there are, of which some may be empty.
    async fn pages(&self) -> Result<Vec<Bytes>, StoreError> {
        let mut pages = Vec::new();
        while pages.len() < MAX_PAGES {
            match self.store.meta(&self.key(pages.len())).await? {
                Some(page) => pages.push(page),
                None => break,
            }
        }
        Ok(pages)
    }

    fn read(&self, pages: &[Bytes]) -> Result<Vec<Member>, StoreError> {
        let mut members = Vec::new();
        for (nth, page) in pages.iter().enumerate() {
            decode(page, &mut members).ok_or_else(|| StoreError::Damaged {
                place: Place::Meta(self.key(nth)),
                why: "not a page of a set".to_owned(),
            })?;
        }
        Ok(members)
    }

    /// What a page lets go of is on an earlier one: pages are read upwards to
    /// find the last, and downwards to miss nothing that moves meanwhile.
    async fn members(&self) -> Result<Vec<Member>, StoreError> {
        let mut pages = self.pages().await?;
        for nth in (0..pages.len().saturating_sub(1)).rev() {
            if let Some(page) = self.store.meta(&self.key(nth)).await? {
                pages[nth] = page;
            }
        }
        Ok(joined(self.read(&pages)?, &[]))
    }

    async fn put(&self, added: Vec<Member>, now_s: u64) -> Result<(), StoreError> {
        if added.iter().any(|member| member.name.len() > MAX_MEMBER_BYTES) {
            return Err(StoreError::Invalid("the member's name is too long"));
        }
        let _writing = self.writing.lock().await;
        for _ in 0..MAX_TRIES {
            if self.try_put(&added, now_s).await? {
                return Ok(());
            }
        }
        Err(StoreError::Contended { tries: MAX_TRIES })
    }

    /// False if somebody else has changed a page meanwhile.
    async fn try_put(&self, added: &[Member], now_s: u64) -> Result<bool, StoreError> {
        let before = self.pages().await?;
        let mut members = joined(self.read(&before)?, added);
        members.retain(|member| now_s < member.until_s);
        let mut after = encode(&members);
        if after.len() > MAX_PAGES {
            return Err(StoreError::Full(format!("the set {} has as many as it may", self.name)));
        }
        after.resize(after.len().max(before.len()), Bytes::new());
        // From the first on: what moves to an earlier page is on both for a
        // moment, never on none.
        for (nth, page) in after.into_iter().enumerate() {
            let was = before.get(nth);
            if was == Some(&page) {
                continue;
            }
            if !self.store.replace_meta(&self.key(nth), was.cloned(), page).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Each member once, with the later of its ends, in the order in which they are
/// there, so that most pages stay as they are.
fn joined(there: Vec<Member>, added: &[Member]) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    let mut at: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for member in there.into_iter().chain(added.iter().cloned()) {
        match at.get(&member.name) {
            Some(at) => members[*at].until_s = members[*at].until_s.max(member.until_s),
            None => {
                at.insert(member.name.clone(), members.len());
                members.push(member);
            }
        }
    }
    members
}

impl SharedSet for MetaSet {
    fn place(&self) -> &'static str {
        "the store"
    }

    fn add(&self, members: Vec<Member>, now_s: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.put(members, now_s))
    }

    fn all(&self) -> BoxFuture<'_, Result<Vec<Member>, StoreError>> {
        Box::pin(self.members())
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// Pages of members: length, name, end.
pub(super) fn encode(members: &[Member]) -> Vec<Bytes> {
    let mut pages = Vec::new();
    let mut page = Vec::new();
    for Member { name, until_s } in members {
        if page.len() + 1 + name.len() + 8 > MAX_META_VALUE_BYTES {
            pages.push(std::mem::take(&mut page).into());
        }
        page.push(u8::try_from(name.len()).unwrap_or_default());
        page.extend_from_slice(name);
        page.extend_from_slice(&until_s.to_le_bytes());
    }
    if !page.is_empty() {
        pages.push(page.into());
    }
    pages
}

/// The members of a page, after those that are there; `None` if it is none.
pub(super) fn decode(mut page: &[u8], members: &mut Vec<Member>) -> Option<()> {
    while let Some((length, rest)) = page.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (until, rest) = rest.split_first_chunk::<8>()?;
        members.push(Member { name: name.to_owned(), until_s: u64::from_le_bytes(*until) });
        page = rest;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::memory::MemoryDisk;

    fn member(nth: u64, until_s: u64) -> Member {
        let name = [&nth.to_le_bytes()[..], &[7; 25]].concat();
        Member { name, until_s }
    }

    async fn all(set: &MetaSet) -> Vec<Member> {
        let mut all = set.all().await.unwrap();
        all.sort();
        all
    }

    #[tokio::test]
    async fn members_stay_until_they_end() {
        let disk = MemoryDisk::new();
        let set = MetaSet::new(Arc::new(disk.mount()), "revoked");
        assert_eq!(all(&set).await, []);
        set.add(vec![member(1, 10), member(2, 20)], 0).await.unwrap();
        set.add(vec![member(2, 15), member(3, 30)], 9).await.unwrap();
        let set = MetaSet::new(Arc::new(disk.mount()), "revoked");
        assert_eq!(all(&set).await, [member(1, 10), member(2, 20), member(3, 30)]);
        set.add(vec![member(2, 25)], 10).await.unwrap();
        assert_eq!(all(&set).await, [member(2, 25), member(3, 30)]);
        set.add(Vec::new(), 30).await.unwrap();
        assert_eq!(all(&set).await, []);
    }

    #[tokio::test]
    async fn a_set_takes_pages_and_gives_them_back() {
        let disk = MemoryDisk::new();
        let set = MetaSet::new(Arc::new(disk.mount()), "revoked");
        let many: Vec<_> = (0..6_000).map(|nth| member(nth, 10 + nth % 2)).collect();
        let filled = async || {
            let pages = set.pages().await.unwrap();
            (pages.iter().filter(|page| !page.is_empty()).count(), all(&set).await.len())
        };
        set.add(many.clone(), 0).await.unwrap();
        assert_eq!(filled().await, (4, 6_000));
        set.add(vec![member(6_000, 50)], 10).await.unwrap();
        assert_eq!(filled().await, (2, 3_001));
        set.add(many.iter().map(|one| Member { until_s: 60, ..one.clone() }).collect(), 11)
            .await
            .unwrap();
        assert_eq!(all(&set).await.len(), 6_001);
        let more = (0..40_000).map(|nth| member(nth, 60)).collect();
        assert!(matches!(set.add(more, 0).await, Err(StoreError::Full(_))));
        assert_eq!(all(&set).await.len(), 6_001);
    }

    /// Several processes add while members end and others move to their places.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn what_several_add_at_once_is_all_kept() {
        const STEPS: u64 = 30;
        let store: Arc<dyn Store> = Arc::new(MemoryDisk::new().mount());
        let fresh = || MetaSet::new(Arc::clone(&store), "revoked");
        // More than one page, of which some end with each step.
        let some = (1_000..3_500).map(|nth| member(nth, 2 + nth % STEPS)).collect();
        fresh().add(some, 0).await.unwrap();
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..4 {
            let set = fresh();
            writers.spawn(async move {
                for now_s in 1..=STEPS {
                    let lasting = member(writer * STEPS + now_s, 1_000);
                    set.add(vec![lasting.clone()], now_s).await.unwrap();
                    assert!(set.all().await.unwrap().contains(&lasting), "{writer} at {now_s}");
                }
            });
        }
        writers.join_all().await;
        let lasting = all(&fresh()).await.into_iter().filter(|member| member.until_s == 1_000);
        assert_eq!(lasting.count() as u64, 4 * STEPS);
    }

    #[tokio::test]
    async fn what_is_no_page_is_damaged() {
        let store = Arc::new(MemoryDisk::new().mount());
        store.put_meta("revoked.0", Bytes::from_static(&[33, 1, 2])).await.unwrap();
        let set = MetaSet::new(store, "revoked");
        assert!(matches!(set.all().await, Err(StoreError::Damaged { .. })));
        assert!(set.add(vec![member(1, 1)], 0).await.is_err());
    }
}
