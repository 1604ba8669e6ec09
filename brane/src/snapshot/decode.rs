use avvy_model::{
    ClientId, Code, Counter, Epoch, Handle, Position, Refusal, Seq, StateHash, UserId, WorldLimits,
};
use minicbor::data::Type;

use super::objects::Objects;
use super::{SnapshotError, VERSION, kind};
use crate::cbor::{Malformed, bytes, fields, list, read_object, tuple};
use crate::clients::{Clients, Outcome};
use crate::rights::{Entry, read_entry};
use crate::world::World;

/// Bytes of a small piece of the rights in a list.
const SMALL_ENTRY: usize = 20;

/// What a snapshot holds.
#[derive(Debug)]
pub struct Restored {
    /// The objects.
    pub world: World,
    /// Those who have written, and their outcomes.
    pub clients: Clients,
    /// Where in the log.
    pub position: Position,
}

/// Reads a snapshot part by part.
pub struct Decoder {
    expected: u64,
    head: Option<Head>,
    ended: bool,
    objects: Objects,
    clients: Clients,
    client_count: u64,
    rights: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Head {
    position: Position,
    next_handle: Handle,
    objects: u32,
    hash: StateHash,
    clients: u64,
}

impl Decoder {
    /// Nothing read yet. The limits are those of [`Clients::new`].
    pub fn new(limits: &WorldLimits) -> Self {
        Self {
            expected: 0,
            head: None,
            ended: false,
            objects: Objects::new(),
            clients: Clients::new(limits),
            client_count: 0,
            rights: Vec::new(),
        }
    }

    /// Where in the log the snapshot was taken, once the first part was read.
    pub fn position(&self) -> Option<Position> {
        self.head.map(|head| head.position)
    }

    /// Reads the next part.
    ///
    /// # Errors
    /// Any [`SnapshotError`], after which the decoder is of no use.
    pub fn feed(&mut self, part: &[u8]) -> Result<(), SnapshotError> {
        let expected = self.expected;
        let mut d = minicbor::Decoder::new(part);
        let mut reading = Reading::default();
        let read = reading.part(&mut d, self);
        if let Some(needed) = reading.too_new {
            return Err(SnapshotError::TooNew(needed));
        }
        if let Some(found) = reading.index.filter(|found| *found != expected) {
            return Err(SnapshotError::OutOfOrder { expected, found });
        }
        if read.is_err() || d.position() != part.len() || reading.index.is_none() {
            return Err(SnapshotError::Malformed(expected));
        }
        self.expected += 1;
        Ok(())
    }

    /// After the last part.
    ///
    /// # Errors
    /// Any [`SnapshotError`].
    pub fn finish(self) -> Result<Restored, SnapshotError> {
        let head = self.head.filter(|_| self.ended).ok_or(SnapshotError::Incomplete)?;
        if head.objects != self.objects.len() || head.clients != self.client_count {
            return Err(SnapshotError::Incomplete);
        }
        let Head { next_handle, position, hash, .. } = head;
        let world = self.objects.finish(next_handle, position.seq, hash, self.rights)?;
        Ok(Restored { world, clients: self.clients, position: head.position })
    }

    fn object(
        &mut self,
        d: &mut minicbor::Decoder<'_>,
        owners: &[UserId],
    ) -> Result<(), Malformed> {
        let read = read_object(d, |d| owners.get(d.u32()? as usize).copied().ok_or(Malformed))?;
        let room = self.head.is_some_and(|head| self.objects.len() < head.objects);
        if room && self.objects.add(read) { Ok(()) } else { Err(Malformed) }
    }

    fn client(&mut self, d: &mut minicbor::Decoder<'_>) -> Result<(), Malformed> {
        tuple(d, 5, |d| {
            let id = ClientId::from_bytes(bytes(d)?);
            let user = UserId::from_bytes(bytes(d)?);
            let (seen_ms, highest) = (d.u64()?, Counter(d.u64()?));
            let mut last = Counter(0);
            let outcomes = list(d, 4, |d| {
                let (more, outcome) = outcome(d)?;
                last = Counter(last.0.checked_add(more).ok_or(Malformed)?);
                Ok((last, outcome))
            })?;
            let rising = outcomes.windows(2).all(|pair| pair[0].0 < pair[1].0);
            if !rising || last > highest || highest == Counter(0) {
                return Err(Malformed);
            }
            self.clients.restore(id, user, seen_ms, highest, outcomes);
            self.client_count += 1;
            Ok(())
        })
    }
}

/// `[more, seq]`, `[more, null, code]` or `[more, null, code, operation]`.
fn outcome(d: &mut minicbor::Decoder<'_>) -> Result<(u64, Outcome), Malformed> {
    let count = d.array()?.ok_or(Malformed)?;
    let more = d.u64()?;
    let (known, outcome) = if d.datatype()? == Type::Null {
        d.null()?;
        // A code of a later program: the edit was not applied, and why is not
        // known here.
        let code = Code::from_number(d.u16()?).unwrap_or(Code::OutcomeUnknown);
        let operation = if count > 3 { Some(d.u32()?) } else { None };
        (count.clamp(3, 4), Outcome::Refused(Refusal { code, operation }))
    } else {
        (2, Outcome::Applied(Seq(d.u64()?)))
    };
    for _ in 0..count.checked_sub(known).ok_or(Malformed)? {
        d.skip()?;
    }
    Ok((more, outcome))
}

/// The fields of the part being read.
#[derive(Default)]
struct Reading {
    index: Option<u64>,
    kind: Option<u64>,
    too_new: Option<u64>,
    owners: Vec<UserId>,
    /// Of a head, by key less 4.
    numbers: [Option<u64>; 6],
    hash: Option<StateHash>,
}

impl Reading {
    fn part(&mut self, d: &mut minicbor::Decoder<'_>, into: &mut Decoder) -> Result<(), Malformed> {
        fields(d, |d, key| self.field(d, key, into))?;
        match self.kind.ok_or(Malformed)? {
            kind::HEAD => {
                let head = self.head()?;
                into.objects.expect(head.objects);
                into.head = Some(head);
            }
            kind::END => into.ended = true,
            _ => {}
        }
        Ok(())
    }

    fn field(
        &mut self,
        d: &mut minicbor::Decoder<'_>,
        key: u64,
        into: &mut Decoder,
    ) -> Result<bool, Malformed> {
        match (key, self.kind) {
            (1, _) => self.check_version(d.u64()?)?,
            (2, _) => self.check_index(d.u64()?, into)?,
            (3, _) => self.check_kind(d.u64()?, into)?,
            (8, Some(kind::HEAD)) => self.hash = Some(StateHash::from_bytes(bytes(d)?)),
            (4..=9, Some(kind::HEAD)) => self.numbers[key as usize - 4] = Some(d.u64()?),
            (4, Some(kind::OBJECTS)) => {
                self.owners = list(d, 17, |d| Ok(UserId::from_bytes(bytes(d)?)))?;
            }
            (5, Some(kind::OBJECTS)) => {
                let owners = std::mem::take(&mut self.owners);
                for _ in 0..d.array()?.ok_or(Malformed)? {
                    into.object(d, &owners)?;
                }
                into.objects.settle();
            }
            (4, Some(kind::CLIENTS)) => {
                for _ in 0..d.array()?.ok_or(Malformed)? {
                    into.client(d)?;
                }
            }
            (4, Some(kind::RIGHTS)) => {
                into.rights.append(&mut list(d, SMALL_ENTRY, read_entry)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn check_version(&mut self, needed: u64) -> Result<(), Malformed> {
        self.too_new = (needed > VERSION).then_some(needed);
        if self.too_new.is_some() { Err(Malformed) } else { Ok(()) }
    }

    fn check_index(&mut self, index: u64, into: &Decoder) -> Result<(), Malformed> {
        self.index = Some(index);
        if index == into.expected { Ok(()) } else { Err(Malformed) }
    }

    /// The head comes first and once, nothing after the end.
    fn check_kind(&mut self, kind: u64, into: &Decoder) -> Result<(), Malformed> {
        let in_place = (kind == kind::HEAD) == into.head.is_none() && !into.ended;
        self.kind = Some(kind);
        if in_place { Ok(()) } else { Err(Malformed) }
    }

    fn head(&self) -> Result<Head, Malformed> {
        let number = |key: usize| self.numbers[key - 4].ok_or(Malformed);
        let small = |key| u32::try_from(number(key)?).map_err(|_| Malformed);
        Ok(Head {
            position: Position { epoch: Epoch(number(4)?), seq: Seq(number(5)?) },
            next_handle: Handle(small(6)?),
            objects: small(7)?,
            hash: self.hash.ok_or(Malformed)?,
            clients: number(9)?,
        })
    }
}
