use std::collections::BTreeMap;
use std::mem;

use avvy_model::{ClientId, Counter, Handle, Object, Position, StateHash, UserId};

use super::{FIRST, WITH_RIGHTS, kind};
use crate::cbor::{Writer, Written, write, write_object};
use crate::clients::{Client, Clients, Outcome};
use crate::pages::Frozen;
use crate::rights::write_entry;

/// A part is closed when it has reached this; one more object fits above it.
const PART_BYTES: usize = 240 * 1024;

/// Writes a snapshot part by part, on whatever thread.
pub struct Encoder {
    frozen: Frozen,
    clients: Clients,
    position: Position,
    hash: StateHash,
    next: Next,
    index: u64,
}

/// What the next part holds.
#[derive(Clone, Copy)]
enum Next {
    Head,
    Objects(Handle),
    Clients(Option<ClientId>),
    /// From the entry of this number on.
    Rights(usize),
    End,
    Nothing,
}

impl Encoder {
    /// All four of the same moment: the objects, the clients, where in the
    /// log, and [`crate::World::state_hash`].
    pub const fn new(
        frozen: Frozen,
        clients: Clients,
        position: Position,
        hash: StateHash,
    ) -> Self {
        Self { frozen, clients, position, hash, next: Next::Head, index: 0 }
    }

    /// The next part; `None` after the last one.
    pub fn next_part(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(PART_BYTES + 32 * 1024);
        match mem::replace(&mut self.next, Next::Nothing) {
            Next::Head => self.head(&mut out),
            Next::Objects(from) => self.objects(from, &mut out),
            Next::Clients(after) => self.some_clients(after, &mut out),
            Next::Rights(from) => self.some_rights(from, &mut out),
            Next::End => self.start(&mut out, kind::END, FIRST, 0),
            Next::Nothing => return None,
        }
        self.index += 1;
        Some(out)
    }

    /// The fields of every part; `more` fields follow.
    fn start(&self, out: &mut Vec<u8>, kind: u64, version: u64, more: u64) {
        write(out, |e| {
            e.map(4 + more)?.u8(0)?.u64(version)?.u8(1)?.u64(version)?;
            e.u8(2)?.u64(self.index)?.u8(3)?.u64(kind)?;
            Ok(())
        });
    }

    fn head(&mut self, out: &mut Vec<u8>) {
        self.start(out, kind::HEAD, FIRST, 6);
        write(out, |e| {
            e.u8(4)?.u64(self.position.epoch.0)?.u8(5)?.u64(self.position.seq.0)?;
            e.u8(6)?.u32(self.frozen.next_handle().0)?.u8(7)?.u32(self.frozen.len())?;
            e.u8(8)?.bytes(&self.hash.to_bytes())?;
            e.u8(9)?.u64(self.clients.writers().count() as u64)?;
            Ok(())
        });
        self.next = Next::Objects(Handle::ROOT);
    }

    fn objects(&mut self, from: Handle, out: &mut Vec<u8>) {
        let mut owners = Owners::default();
        let (mut body, mut count) = (Vec::with_capacity(PART_BYTES + 16 * 1024), 0u64);
        self.next = Next::Clients(None);
        for (handle, object) in self.frozen.iter_from(from) {
            if body.len() + owners.in_order.len() * 17 >= PART_BYTES {
                self.next = Next::Objects(handle);
                break;
            }
            write(&mut body, |e| owners.write(e, handle, object));
            count += 1;
        }
        self.start(out, kind::OBJECTS, FIRST, 2);
        write(out, |e| {
            e.u8(4)?.array(owners.in_order.len() as u64)?;
            for owner in &owners.in_order {
                e.bytes(&owner.to_bytes())?;
            }
            e.u8(5)?.array(count)?;
            Ok(())
        });
        out.append(&mut body);
    }

    fn some_clients(&mut self, after: Option<ClientId>, out: &mut Vec<u8>) {
        let (mut body, mut count, mut last) = (Vec::new(), 0u64, after);
        self.next = if self.frozen.rights.is_new() { Next::End } else { Next::Rights(0) };
        for (id, client) in self.clients.writers_after(after) {
            if body.len() >= PART_BYTES {
                self.next = Next::Clients(last);
                break;
            }
            write(&mut body, |e| write_client(e, id, client));
            (count, last) = (count + 1, Some(id));
        }
        self.start(out, kind::CLIENTS, FIRST, 1);
        write(out, |e| e.u8(4)?.array(count).map(drop));
        out.append(&mut body);
    }

    fn some_rights(&mut self, from: usize, out: &mut Vec<u8>) {
        let (mut body, mut count) = (Vec::new(), 0usize);
        self.next = Next::End;
        for entry in self.frozen.rights.entries().skip(from) {
            if body.len() >= PART_BYTES {
                self.next = Next::Rights(from + count);
                break;
            }
            write(&mut body, |e| write_entry(e, &entry));
            count += 1;
        }
        self.start(out, kind::RIGHTS, WITH_RIGHTS, 1);
        write(out, |e| e.u8(4)?.array(count as u64).map(drop));
        out.append(&mut body);
    }
}

/// A part's table of owners, in order of their first object.
#[derive(Default)]
struct Owners {
    in_order: Vec<UserId>,
    numbers: BTreeMap<UserId, u32>,
}

impl Owners {
    fn write(&mut self, e: &mut Writer<'_>, handle: Handle, object: &Object) -> Written {
        let Self { in_order, numbers } = self;
        let number = *numbers.entry(object.owner).or_insert_with(|| {
            in_order.push(object.owner);
            (in_order.len() - 1) as u32
        });
        write_object(e, handle, object, |e| e.u32(number).map(drop))
    }
}

fn write_client(e: &mut Writer<'_>, id: ClientId, client: &Client) -> Written {
    e.array(5)?.bytes(&id.to_bytes())?.bytes(&client.user.to_bytes())?;
    e.u64(client.seen_ms)?.u64(client.highest.0)?;
    let outcomes = client.outcomes();
    e.array(outcomes.len() as u64)?;
    let mut last = Counter(0);
    for (counter, outcome) in outcomes {
        let more = counter.0 - last.0;
        last = counter;
        match outcome {
            Outcome::Applied(seq) => e.array(2)?.u64(more)?.u64(seq.0)?,
            Outcome::Refused(refusal) => {
                let code = refusal.code.number();
                match refusal.operation {
                    None => e.array(3)?.u64(more)?.null()?.u16(code)?,
                    Some(n) => e.array(4)?.u64(more)?.null()?.u16(code)?.u32(n)?,
                }
            }
        };
    }
    Ok(())
}
