//! The objects of a world by handle, in pages that copies of the world share
//! until one of them writes.
//!
//! Two levels above the objects: a table of chunks, each of 64 pages, each of
//! 46 objects. Freezing copies the table (340 pointers for a million
//! objects). The first write to a page after that copies the page and the
//! chunk above it, a few microseconds, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use avvy_model::{Followed, Handle, Object, ObjectId, Props, PrototypeId};

use crate::Rights;

/// As many as fit into 4 KiB, so that the allocator wastes nothing.
const PAGE: usize = 46;
const CHUNK: usize = 64;

#[derive(Clone)]
struct Page {
    live: u32,
    slots: [Option<Object>; PAGE],
}

// With the two counts of its `Arc`.
const _: () = assert!(size_of::<Page>() + 16 <= 4096);

impl Page {
    fn empty() -> Self {
        Self { live: 0, slots: [const { None }; PAGE] }
    }
}

#[derive(Clone)]
struct Chunk {
    live: u32,
    pages: [Option<Arc<Page>>; CHUNK],
}

impl Chunk {
    fn empty() -> Self {
        Self { live: 0, pages: [const { None }; CHUNK] }
    }
}

/// Objects by handle. Cloning shares everything.
#[derive(Clone, Default)]
pub(crate) struct Pages {
    chunks: Vec<Option<Arc<Chunk>>>,
    len: u32,
}

const fn place(handle: Handle) -> (usize, usize, usize) {
    let n = handle.0 as usize;
    (n / (PAGE * CHUNK), n / PAGE % CHUNK, n % PAGE)
}

impl Pages {
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn get(&self, handle: Handle) -> Option<&Object> {
        let (chunk, page, slot) = place(handle);
        let chunk = self.chunks.get(chunk)?.as_deref()?;
        chunk.pages[page].as_deref()?.slots[slot].as_ref()
    }

    /// For writing: makes the page this copy's own.
    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<&mut Object> {
        let (chunk, page, slot) = place(handle);
        let chunk = Arc::make_mut(self.chunks.get_mut(chunk)?.as_mut()?);
        Arc::make_mut(chunk.pages[page].as_mut()?).slots[slot].as_mut()
    }

    /// Puts an object into an empty place.
    pub(crate) fn insert(&mut self, handle: Handle, object: Object) {
        let (chunk, page, slot) = place(handle);
        if self.chunks.len() <= chunk {
            self.chunks.resize(chunk + 1, None);
        }
        let chunk = self.chunks[chunk].get_or_insert_with(|| Arc::new(Chunk::empty()));
        let chunk = Arc::make_mut(chunk);
        if chunk.pages[page].is_none() {
            chunk.live += 1;
        }
        let page = chunk.pages[page].get_or_insert_with(|| Arc::new(Page::empty()));
        let page = Arc::make_mut(page);
        debug_assert!(page.slots[slot].is_none(), "{handle} is taken");
        page.slots[slot] = Some(object);
        page.live += 1;
        self.len += 1;
    }

    /// Takes an object out, and with it pages that hold no other.
    pub(crate) fn remove(&mut self, handle: Handle) -> Option<Object> {
        self.get(handle)?;
        let (chunk_at, page_at, slot) = place(handle);
        let chunk = Arc::make_mut(self.chunks[chunk_at].as_mut()?);
        let page = Arc::make_mut(chunk.pages[page_at].as_mut()?);
        let object = page.slots[slot].take()?;
        page.live -= 1;
        self.len -= 1;
        if page.live == 0 {
            chunk.pages[page_at] = None;
            chunk.live -= 1;
            if chunk.live == 0 {
                self.chunks[chunk_at] = None;
            }
        }
        Some(object)
    }

    /// All objects, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Handle, &Object)> {
        self.iter_from(Handle(0))
    }

    /// Those from a handle on, ascending.
    pub(crate) fn iter_from(&self, from: Handle) -> impl Iterator<Item = (Handle, &Object)> {
        let (first_chunk, _, _) = place(from);
        let chunks = self.chunks.iter().enumerate().skip(first_chunk);
        let pages = chunks.flat_map(|(c, chunk)| {
            let pages = chunk.iter().flat_map(|chunk| chunk.pages.iter().enumerate());
            pages.map(move |(p, page)| ((c * CHUNK + p) * PAGE, page))
        });
        pages
            .flat_map(|(base, page)| {
                let slots = page.iter().flat_map(|page| page.slots.iter().enumerate());
                slots.filter_map(move |(s, slot)| {
                    // `insert` was given a u32.
                    slot.as_ref().map(|object| (Handle((base + s) as u32), object))
                })
            })
            .skip_while(move |(handle, _)| *handle < from)
    }
}

/// What became of an older state of a world.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Changes<'a> {
    /// Objects that are new or different, ascending by handle.
    pub changed: Vec<(Handle, &'a Object)>,
    /// Objects that are gone, whatever became of their handles.
    pub gone: Vec<ObjectId>,
}

/// Whether both are the very same.
fn is_shared<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

impl Pages {
    fn chunk(&self, nth: usize) -> Option<&Arc<Chunk>> {
        self.chunks.get(nth).and_then(Option::as_ref)
    }

    fn changes_since(&self, older: &Self) -> Changes<'_> {
        let mut changes = Changes::default();
        for c in 0..self.chunks.len().max(older.chunks.len()) {
            let (new, old) = (self.chunk(c), older.chunk(c));
            if is_shared(new, old) {
                continue;
            }
            for p in 0..CHUNK {
                let new = new.and_then(|chunk| chunk.pages[p].as_ref());
                let old = old.and_then(|chunk| chunk.pages[p].as_ref());
                if !is_shared(new, old) {
                    compare(new, old, (c * CHUNK + p) * PAGE, &mut changes);
                }
            }
        }
        // One that was deleted and came back has another handle.
        let back: BTreeSet<ObjectId> =
            changes.changed.iter().map(|(_, object)| object.id).collect();
        changes.gone.retain(|id| !back.contains(id));
        changes
    }
}

fn compare<'a>(
    new: Option<&'a Arc<Page>>,
    old: Option<&Arc<Page>>,
    base: usize,
    changes: &mut Changes<'a>,
) {
    for s in 0..PAGE {
        let new = new.and_then(|page| page.slots[s].as_ref());
        let old = old.and_then(|page| page.slots[s].as_ref());
        match (new, old) {
            (Some(new), old) if old != Some(new) => {
                // `insert` was given a u32.
                changes.changed.push((Handle((base + s) as u32), new));
            }
            (None, Some(old)) => changes.gone.push(old.id),
            _ => {}
        }
    }
}

/// A world's objects at one moment. Cheap to take, to clone and to send to
/// another thread; the world goes on meanwhile.
#[derive(Clone)]
pub struct Frozen {
    pub(crate) pages: Pages,
    pub(crate) next_handle: Handle,
    pub(crate) rights: Arc<Rights>,
    /// Of what is followed, ascending.
    pub(crate) instances: Arc<[(PrototypeId, u32)]>,
}

impl Frozen {
    /// Who might do what at that moment.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// What the brane followed of a prototype.
    pub fn followed(&self, prototype: PrototypeId) -> Option<Followed> {
        Followed::of_root(self.root_props()?, prototype)
    }

    /// How many instances there were of a prototype that the brane followed.
    pub fn instances(&self, prototype: PrototypeId) -> Option<u32> {
        let at = self.instances.binary_search_by_key(&prototype, |(id, _)| *id).ok()?;
        Some(self.instances[at].1)
    }

    /// The properties of the root, by which instances have their defaults
    /// ([`Object::in_effect`]).
    pub fn root_props(&self) -> Option<&Props> {
        self.pages.get(Handle::ROOT).map(|root| &root.props)
    }

    /// The object of a handle.
    pub fn get(&self, handle: Handle) -> Option<&Object> {
        self.pages.get(handle)
    }

    /// All objects, ascending by handle; the root first.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &Object)> {
        self.pages.iter()
    }

    /// The objects from a handle on, ascending: for whoever reads in portions.
    pub fn iter_from(&self, from: Handle) -> impl Iterator<Item = (Handle, &Object)> {
        self.pages.iter_from(from)
    }

    /// What became of an older state of the same world. Costs a comparison of
    /// pointers for each page, and more only for those that were written since.
    pub fn changes_since(&self, older: &Self) -> Changes<'_> {
        self.pages.changes_since(&older.pages)
    }

    /// How many, the root included.
    pub const fn len(&self) -> u32 {
        self.pages.len()
    }

    /// Never: the root is always there. Here for the company of [`Self::len`].
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The handle that the next created object would get.
    pub const fn next_handle(&self) -> Handle {
        self.next_handle
    }
}

impl std::fmt::Debug for Frozen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frozen({} objects)", self.len())
    }
}
