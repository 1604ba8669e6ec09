//! A transfer as a record.

use avvy_auth::Claims;
use avvy_model::{
    BraneId, ClientId, Code, Counter, EditId, Epoch, Handle, ObjectId, Role, Transform, UserId,
};
use avvy_persistence::records::{Collection, Draft, Fields, Index, IndexKey, Record, Value};
use bytes::Bytes;
use uuid::Uuid;

use crate::Refused;

/// Transfers, also those that have ended not long ago. Key: the id.
pub(super) static TRANSFERS: Collection = Collection {
    name: "transfers",
    // (when it began): those that have not ended.
    indexes: &[Index::plain("by_begun")],
};

/// Where something goes in a brane.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Place {
    /// The brane.
    pub brane: BraneId,
    /// The group; `None`: the root.
    pub parent: Option<ObjectId>,
    /// Relative to the group; `None`: as it is in the inventory.
    pub transform: Option<Transform>,
}

/// What is to be moved for one user.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Transfer {
    pub(super) id: Uuid,
    pub(super) user: UserId,
    /// What the token lets its bearer do.
    role: Role,
    /// Whether it names this brane, so that its bearer is let in.
    is_let_in: bool,
    pub(super) brane: BraneId,
    /// That does it.
    pub(super) edit: EditId,
    /// Under which the edit is taken. `None`, under any, is for transfers of
    /// before, each of which had a client of its own.
    pub(super) epoch: Option<Epoch>,
    pub(super) way: Way,
    /// The things, a group before what is in it.
    pub(super) objects: Vec<Uuid>,
    begun_s: u64,
    pub(super) state: State,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Way {
    /// Into the brane.
    Out { parent: Option<ObjectId>, transform: Option<Transform> },
    /// Out of the brane: what they are there, in the order of the things, and
    /// their digests.
    In { from: Vec<(ObjectId, Handle, [u8; 16])> },
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Begun,
    /// `None`: it was done; a code: the things are where they were.
    Ended(Option<Code>),
}

impl Transfer {
    pub(super) fn new(
        id: Uuid,
        claims: &Claims,
        (brane, epoch): (BraneId, Epoch),
        number: u64,
        way: Way,
        objects: Vec<Uuid>,
        begun_s: u64,
    ) -> Self {
        Self {
            id,
            user: claims.user,
            role: claims.role,
            is_let_in: claims.branes.contains(&brane),
            brane,
            edit: EditId { client: ClientId::of_transfers(claims.user), counter: Counter(number) },
            epoch: Some(epoch),
            way,
            objects,
            begun_s,
            state: State::Begun,
        }
    }

    /// The same, when it has ended.
    pub(super) fn at_its_end(&self, refused: Option<Code>) -> Self {
        Self { state: State::Ended(refused), ..self.clone() }
    }

    /// As whom the edit is made, whoever sends it.
    pub(super) fn claims(&self) -> Claims {
        Claims {
            user: self.user,
            role: self.role,
            name: None,
            branes: self.is_let_in.then_some(self.brane).into_iter().collect(),
            token: self.id,
            session: None,
            issued_s: self.begun_s,
            expires_s: u64::MAX,
        }
    }

    pub(super) fn draft(&self) -> Draft {
        let ids = |ids: &mut dyn Iterator<Item = Uuid>| ids.map(Value::from).collect::<Vec<_>>();
        let mut body = Fields::new()
            .with("user", self.user.uuid())
            .with("role", self.role.name())
            .with("is_let_in", self.is_let_in)
            .with("brane", self.brane.uuid())
            .with("objects", ids(&mut self.objects.iter().copied()))
            .with("begun", Value::time(self.begun_s));
        let EditId { client, counter } = self.edit;
        match self.epoch {
            Some(epoch) => {
                body.set("number", counter.0.cast_signed());
                body.set("epoch", epoch.0.cast_signed());
            }
            None => body.set("client", client.uuid()),
        }
        match &self.way {
            Way::Out { parent, transform } => {
                body.set("way", "out");
                if let Some(parent) = parent {
                    body.set("parent", parent.uuid());
                }
                if let Some(transform) = transform {
                    body.set("transform", Bytes::copy_from_slice(&transform.to_packed()));
                }
            }
            Way::In { from } => {
                body.set("way", "in");
                body.set("from", ids(&mut from.iter().map(|(id, ..)| id.uuid())));
                let seen = from.iter().map(|(_, handle, digest)| {
                    Bytes::from([&handle.0.to_be_bytes()[..], digest].concat()).into()
                });
                body.set("seen", seen.collect::<Vec<Value>>());
            }
        }
        match self.state {
            State::Begun => {
                Draft::new(body).found_by("by_begun", IndexKey::new().number(self.begun_s))
            }
            State::Ended(None) => Draft::new(body.with("ended", "done")),
            State::Ended(Some(code)) => Draft::new(body.with("ended", code.name())),
        }
    }
}

/// The transfer of a record.
///
/// # Errors
/// `damaged` if it is none.
pub(super) fn read(record: &Record) -> Result<Transfer, Refused> {
    parse(record).ok_or(Code::Damaged.into())
}

fn parse(record: &Record) -> Option<Transfer> {
    let body = &record.body;
    let id = |name: &str| body.text(name).and_then(|text| Uuid::try_parse(text).ok());
    let way = match body.text("way")? {
        "out" => {
            let packed =
                |bytes: &Bytes| Transform::from_packed(bytes.as_ref().try_into().ok()?).ok();
            let transform = match body.bytes("transform") {
                Some(bytes) => Some(packed(bytes)?),
                None => None,
            };
            Way::Out { parent: id("parent").map(ObjectId::new), transform }
        }
        "in" => {
            let from = ids(body, "from")?.into_iter().map(ObjectId::new);
            let seen = body.array("seen")?.iter().map(|seen| match seen {
                Value::Bytes(bytes) => {
                    let (handle, digest) = bytes.split_first_chunk::<4>()?;
                    Some((Handle(u32::from_be_bytes(*handle)), digest.try_into().ok()?))
                }
                _ => None,
            });
            let seen = seen.collect::<Option<Vec<_>>>()?;
            let from = from.zip(seen).map(|(id, (handle, digest))| (id, handle, digest));
            Way::In { from: from.collect() }
        }
        _ => return None,
    };
    let state = match body.text("ended") {
        None => State::Begun,
        Some("done") => State::Ended(None),
        Some(code) => State::Ended(Some(Code::from_name(code)?)),
    };
    let user = UserId::new(id("user")?);
    let number = |name: &str| body.int(name).map(i64::cast_unsigned);
    let epoch = number("epoch").map(Epoch);
    let (client, counter) = match epoch {
        Some(_) => (ClientId::of_transfers(user), number("number")?),
        None => (ClientId::new(id("client")?), 1),
    };
    Some(Transfer {
        id: Uuid::try_parse(record.key.as_str()).ok()?,
        user,
        role: Role::from_name(body.text("role")?)?,
        is_let_in: body.bool("is_let_in")?,
        brane: BraneId::new(id("brane")?),
        edit: EditId { client, counter: Counter(counter) },
        epoch,
        way,
        objects: ids(body, "objects")?,
        begun_s: body.time("begun")?,
        state,
    })
}

fn ids(body: &Fields, name: &str) -> Option<Vec<Uuid>> {
    let id = |value: &Value| match value {
        Value::Text(text) => Uuid::try_parse(text).ok(),
        _ => None,
    };
    body.array(name)?.iter().map(id).collect()
}
