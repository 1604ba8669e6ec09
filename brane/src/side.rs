//! What a world keeps beside its objects: who is whose child, and when each
//! object changed last. Never shared with frozen copies, so that linking a
//! new child does not copy its siblings' pages.

use avvy_model::{Handle, Seq};

/// As many as fit into 1 KiB, so that the allocator wastes nothing.
const PAGE: usize = 50;
const CHUNK: usize = 64;
/// No such object. Never given out as a handle.
pub(crate) const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Links {
    first_child: u32,
    next: u32,
    previous: u32,
}

struct Page {
    links: [Links; PAGE],
    changed: [Seq; PAGE],
    /// The latest of `changed`.
    newest: Seq,
    live: u32,
}

const _: () = assert!(size_of::<Page>() <= 1024);

impl Page {
    fn empty() -> Box<Self> {
        let links = Links { first_child: NONE, next: NONE, previous: NONE };
        Box::new(Self { links: [links; PAGE], changed: [Seq(0); PAGE], newest: Seq(0), live: 0 })
    }
}

struct Chunk {
    pages: [Option<Box<Page>>; CHUNK],
    live: u32,
}

/// Links and marks by handle.
#[derive(Default)]
pub(crate) struct Side {
    chunks: Vec<Option<Box<Chunk>>>,
}

const fn place(handle: u32) -> (usize, usize, usize) {
    let n = handle as usize;
    (n / (PAGE * CHUNK), n / PAGE % CHUNK, n % PAGE)
}

impl Side {
    /// Makes room for an object.
    pub(crate) fn add(&mut self, handle: Handle) {
        let (chunk, page, slot) = place(handle.0);
        if self.chunks.len() <= chunk {
            self.chunks.resize_with(chunk + 1, || None);
        }
        let chunk = self.chunks[chunk]
            .get_or_insert_with(|| Box::new(Chunk { pages: [const { None }; CHUNK], live: 0 }));
        if chunk.pages[page].is_none() {
            chunk.live += 1;
        }
        let page = chunk.pages[page].get_or_insert_with(Page::empty);
        page.live += 1;
        page.links[slot] = Links { first_child: NONE, next: NONE, previous: NONE };
        page.changed[slot] = Seq(0);
    }

    /// Takes the room away.
    pub(crate) fn remove(&mut self, handle: Handle) {
        let (chunk_at, page_at, _) = place(handle.0);
        let Some(chunk) = self.chunks[chunk_at].as_mut() else { return };
        let Some(page) = chunk.pages[page_at].as_mut() else { return };
        page.live -= 1;
        if page.live == 0 {
            chunk.pages[page_at] = None;
            chunk.live -= 1;
            if chunk.live == 0 {
                self.chunks[chunk_at] = None;
            }
        }
    }

    /// The one after an object in its list, or [`NONE`].
    pub(crate) fn next(&self, handle: Handle) -> u32 {
        self.links(handle.0).next
    }

    /// Takes all children from under `parent`: a list that begins with what this gives.
    pub(crate) fn take_children(&mut self, parent: Handle) -> u32 {
        std::mem::replace(&mut self.links_mut(parent.0).first_child, NONE)
    }

    /// Hangs `child` under `parent`. Both have room.
    pub(crate) fn link(&mut self, child: Handle, parent: Handle) {
        let mut head = self.links(parent.0).first_child;
        self.push(&mut head, child);
        self.links_mut(parent.0).first_child = head;
    }

    /// Takes `child` from under `parent`, where it hangs.
    pub(crate) fn unlink(&mut self, child: Handle, parent: Handle) {
        let mut head = self.links(parent.0).first_child;
        self.pull(&mut head, child);
        self.links_mut(parent.0).first_child = head;
    }

    /// Puts an object that hangs under nothing into the list that begins with
    /// `head`.
    pub(crate) fn push(&mut self, head: &mut u32, handle: Handle) {
        let first = std::mem::replace(head, handle.0);
        *self.links_mut(handle.0) = Links { next: first, previous: NONE, ..*self.links(handle.0) };
        if first != NONE {
            self.links_mut(first).previous = handle.0;
        }
    }

    /// Takes an object out of the list that begins with `head`, where it is.
    pub(crate) fn pull(&mut self, head: &mut u32, handle: Handle) {
        let Links { next, previous, .. } = *self.links(handle.0);
        if previous == NONE {
            *head = next;
        } else {
            self.links_mut(previous).next = next;
        }
        if next != NONE {
            self.links_mut(next).previous = previous;
        }
    }

    /// The children, the latest linked first.
    pub(crate) fn children(&self, parent: Handle) -> impl Iterator<Item = Handle> {
        self.list(self.page(parent.0).map_or(NONE, |(page, slot)| page.links[slot].first_child))
    }

    /// The objects of the list that begins with `head`, the latest first.
    pub(crate) fn list(&self, head: u32) -> impl Iterator<Item = Handle> {
        let mut at = head;
        std::iter::from_fn(move || {
            let handle = (at != NONE).then_some(at)?;
            at = self.links(handle).next;
            Some(Handle(handle))
        })
    }

    /// Notes that an object changed.
    pub(crate) fn mark(&mut self, handle: Handle, at: Seq) {
        if let Some((page, slot)) = self.page_mut(handle.0) {
            page.changed[slot] = at;
            page.newest = page.newest.max(at);
        }
    }

    /// The handles whose mark is later than `since`, ascending; also such as
    /// are there no more.
    pub(crate) fn marked_since(&self, since: Seq) -> impl Iterator<Item = Handle> {
        let chunks = self.chunks.iter().enumerate();
        let pages = chunks.flat_map(|(c, chunk)| {
            let pages = chunk.iter().flat_map(|chunk| chunk.pages.iter().enumerate());
            pages.filter_map(move |(p, page)| Some((c * CHUNK + p, page.as_deref()?)))
        });
        let changed = pages.filter(move |(_, page)| page.newest > since);
        changed.flat_map(move |(n, page)| {
            let slots = page.changed.iter().enumerate().filter(move |(_, at)| **at > since);
            slots.map(move |(slot, _)| Handle((n * PAGE + slot) as u32))
        })
    }

    fn page(&self, handle: u32) -> Option<(&Page, usize)> {
        let (chunk, page, slot) = place(handle);
        Some((self.chunks.get(chunk)?.as_ref()?.pages[page].as_deref()?, slot))
    }

    fn page_mut(&mut self, handle: u32) -> Option<(&mut Page, usize)> {
        let (chunk, page, slot) = place(handle);
        Some((self.chunks.get_mut(chunk)?.as_mut()?.pages[page].as_deref_mut()?, slot))
    }

    fn links(&self, handle: u32) -> &Links {
        let (page, slot) = self.page(handle).expect("every object has room here");
        &page.links[slot]
    }

    fn links_mut(&mut self, handle: u32) -> &mut Links {
        let (page, slot) = self.page_mut(handle).expect("every object has room here");
        &mut page.links[slot]
    }
}
