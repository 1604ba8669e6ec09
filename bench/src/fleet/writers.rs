//! Clients that write, watch, and write down what they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use avvy_client::machine::MachineOptions;
use avvy_client::net::{Brane, Client, ClientOptions, EditError, WorldChange};
use avvy_model::{
    BraneId, Edit, Handle, Kind, ObjectId, Operation, PropKey, Props, PropsPatch, Role, Seq,
    Target, Transform, Value, ValueLimits,
};
use avvy_protocol::{Flush, FlushItem, WireChange};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::Options;
use super::site::Site;
use crate::draw::Draw;
use crate::history::{Clerk, Fact, Recorder, Tag};
use crate::http;

/// The property that holds an edit's tag.
const KEY: &str = "n";
/// Edits that a client keeps in flight.
const IN_FLIGHT: usize = 24;
/// The pause between two edits of a client.
const PAUSE: Duration = Duration::from_millis(25);
/// One edit in so many makes an object.
const CREATE_EVERY: u64 = 10;
/// How long a fleet that is whole again may take until everybody is back and
/// every edit has its last news.
const SETTLE: Duration = Duration::from_secs(120);

/// What the branes show in the end.
pub(super) type Worlds = BTreeMap<BraneId, BTreeMap<ObjectId, Tag>>;
/// The clerks of each brane's clients.
pub(super) type Clerks = BTreeMap<BraneId, Vec<Clerk>>;

/// All clients.
pub(super) struct Crowd {
    members: Vec<Member>,
    working: watch::Sender<bool>,
    wrong: Wrong,
}

struct Member {
    brane: Brane,
    clerk: Clerk,
    places: Arc<Semaphore>,
    _client: Client,
}

/// What must not happen and did.
#[derive(Clone, Default)]
struct Wrong(Arc<Mutex<Vec<String>>>);

impl Wrong {
    fn add(&self, what: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    fn check(&self) -> Result<()> {
        let wrong = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.first().map_or(Ok(()), |first| bail!("{} times, first: {first}", wrong.len()))
    }
}

impl Crowd {
    /// Makes branes, and has clients write in them at once.
    pub(super) async fn start(site: &Site, options: &Options, draw: &mut Draw) -> Result<Self> {
        let owner = site.server(0)?.tokens(draw, 1, Role::Owner)?.remove(0);
        let addresses = site.addresses();
        let (working, is_working) = watch::channel(true);
        let mut crowd = Self { members: Vec::new(), working, wrong: Wrong::default() };
        for _ in 0..options.branes {
            let (id, recorder) = (BraneId::new(draw.uuid()), Recorder::default());
            let (address, owner) = (addresses[0], owner.clone());
            tokio::task::spawn_blocking(move || http::create_brane(address, &owner, id)).await??;
            for token in site.server(0)?.tokens(draw, options.clients, Role::Builder)? {
                let nth = crowd.members.len() as u64;
                let urls = addresses.iter().map(|address| format!("ws://{address}/ws"));
                let mut urls: Vec<String> = urls.collect();
                urls.rotate_left(nth as usize % addresses.len());
                let client = Client::connect(&urls[0], &token, client_options(&urls[1..])).await?;
                let brane = client.join(id).await?;
                let places = Arc::new(Semaphore::new(IN_FLIGHT));
                let member = Member { brane, clerk: recorder.clerk(), places, _client: client };
                crowd.let_go(&member, nth, Draw::new(draw.number()), is_working.clone()).await?;
                crowd.members.push(member);
            }
        }
        Ok(crowd)
    }

    /// What the clients are in.
    pub(super) fn branes(&self) -> Vec<BraneId> {
        let ids: BTreeSet<BraneId> = self.members.iter().map(|member| member.brane.id()).collect();
        ids.into_iter().collect()
    }

    async fn let_go(
        &self,
        member: &Member,
        nth: u64,
        draw: Draw,
        working: watch::Receiver<bool>,
    ) -> Result<()> {
        let news = member.brane.subscribe().await?;
        tokio::spawn(watch_and_note(news, member.clerk.clone(), self.wrong.clone()));
        let writer = Writer {
            brane: member.brane.clone(),
            clerk: member.clerk.clone(),
            places: Arc::clone(&member.places),
            wrong: self.wrong.clone(),
            draw,
            first: nth << 32,
            count: 0,
            objects: Vec::new(),
        };
        tokio::spawn(writer.write(working));
        Ok(())
    }

    /// Has everybody stop, and waits until all edits have had their last news
    /// and all copies agree with the server. Gives what was written down, and
    /// what the branes show.
    pub(super) async fn settle(self) -> Result<(Clerks, Worlds)> {
        self.working.send_replace(false);
        let deadline = Instant::now() + SETTLE;
        let (mut clerks, mut worlds) = (Clerks::new(), Worlds::new());
        for (nth, member) in self.members.iter().enumerate() {
            let rest = deadline.saturating_duration_since(Instant::now());
            let all = member.places.acquire_many(IN_FLIGHT as u32);
            let all = timeout(rest, all).await;
            self.wrong.check()?;
            let left = IN_FLIGHT - member.places.available_permits();
            let _all =
                all.with_context(|| format!("client {nth}: {left} edits have no news"))??;
        }
        for (nth, member) in self.members.iter().enumerate() {
            let rest = deadline.saturating_duration_since(Instant::now());
            let agrees = timeout(rest, agree(&member.brane)).await;
            agrees.with_context(|| format!("client {nth} gets no state hash"))??;
            let world = member.brane.read(world).await?;
            let id = member.brane.id();
            let first = worlds.entry(id).or_insert_with(|| world.clone());
            ensure!(*first == world, "client {nth} shows another world than the first one of {id}");
            clerks.entry(id).or_default().push(member.clerk.clone());
        }
        self.wrong.check()?;
        Ok((clerks, worlds))
    }
}

/// Waits until a copy is the server's.
async fn agree(brane: &Brane) -> Result<()> {
    loop {
        match brane.check().await {
            Ok(check) => match check.ours {
                Some(ours) if ours == check.theirs => return Ok(()),
                Some(_) => bail!("a copy differs from the server at {}", check.at),
                None => {}
            },
            // Cut off meanwhile; it comes back by itself.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

fn world(copy: &mut avvy_client::replica::Replica) -> BTreeMap<ObjectId, Tag> {
    let objects = copy.handles().into_iter().filter(|handle| *handle != Handle::ROOT);
    let shown = objects.filter_map(|handle| copy.get(handle));
    shown.filter_map(|object| Some((object.id, tag_of(&object.props)?))).collect()
}

/// Writes down all that a copy is shown.
async fn watch_and_note(mut news: mpsc::Receiver<WorldChange>, clerk: Clerk, wrong: Wrong) {
    while let Some(change) = news.recv().await {
        match change {
            WorldChange::Flushed(flush) => clerk.note(saw(&flush)),
            WorldChange::Live { at, resynced } => {
                clerk.note(Fact::Follows { at, anew: resynced });
            }
            WorldChange::Rewound { to } => clerk.note(Fact::Rewound(to)),
            WorldChange::Closed { code: Some(code) } => wrong.add(format!("it was left: {code}")),
            WorldChange::AreaFlushed(_)
            | WorldChange::Viewed { .. }
            | WorldChange::Level { .. }
            | WorldChange::Rights(_)
            | WorldChange::Changed(_)
            | WorldChange::People(_)
            | WorldChange::Downgrade { .. }
            | WorldChange::Down(_)
            | WorldChange::Closed { code: None } => {}
        }
    }
}

fn saw(flush: &Flush) -> Fact {
    let Flush { epoch, from, to, durable, ref items, .. } = *flush;
    let (mut edits, mut seq) = (Vec::new(), from);
    for item in items {
        let count = match item {
            FlushItem::Moves(moves) => moves.len() as u64,
            FlushItem::Skip(count) => *count,
            FlushItem::Event(event) => {
                let tag = event.changes.first().and_then(|change| match change {
                    WireChange::Created(new) => tag_of(&new.object.props),
                    WireChange::Updated { patch, .. } => tag_in(patch),
                    _ => None,
                });
                edits.extend(tag.map(|tag| (seq.next(), tag)));
                1
            }
        };
        seq = Seq(seq.0 + count);
    }
    Fact::Saw { epoch, from, to, durable, edits }
}

/// The tag of the edit that an object shows.
pub(super) fn tag_of(props: &Props) -> Option<Tag> {
    decoded(&props.get(KEY)?)
}

/// The tag of an edit that changed an object.
pub(super) fn tag_in(patch: &PropsPatch) -> Option<Tag> {
    let found = patch.entries().iter().find(|(key, _)| key.as_str() == KEY);
    decoded(found?.1.as_ref()?)
}

fn decoded(value: &Value) -> Option<Tag> {
    ciborium::from_reader(value.as_bytes()).ok().map(Tag)
}

/// Writes as one client.
struct Writer {
    brane: Brane,
    clerk: Clerk,
    places: Arc<Semaphore>,
    wrong: Wrong,
    draw: Draw,
    first: u64,
    count: u64,
    objects: Vec<ObjectId>,
}

impl Writer {
    async fn write(mut self, mut working: watch::Receiver<bool>) {
        loop {
            // Ends with the one who has the sender.
            if working.wait_for(|working| *working).await.is_err() {
                return;
            }
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            if !*working.borrow() {
                continue;
            }
            let (tag, edit) = match self.next() {
                Ok(next) => next,
                Err(error) => return self.wrong.add(format!("{error:#}")),
            };
            self.clerk.note(Fact::Sent(tag));
            let Ok(pending) = self.brane.submit(edit).await else {
                return self.wrong.add("a client has ended".to_owned());
            };
            let (clerk, wrong) = (self.clerk.clone(), self.wrong.clone());
            tokio::spawn(async move {
                let _place = place;
                match pending.durable().await {
                    Ok(at) => clerk.note(Fact::Durable(tag, at)),
                    Err(EditError::Refused(_) | EditError::NotTaken(_)) => {
                        clerk.note(Fact::Refused(tag));
                    }
                    Err(EditError::Unknown) => clerk.note(Fact::Unknown(tag)),
                    Err(EditError::Closed) => wrong.add("a client has ended".to_owned()),
                }
            });
            sleep(PAUSE.mul_f64(2.0 * self.draw.fraction())).await;
        }
    }

    /// The next edit: makes an object, or changes one of the own.
    fn next(&mut self) -> Result<(Tag, Edit)> {
        self.count += 1;
        let tag = Tag(self.first + self.count);
        let key = PropKey::new(KEY, &ValueLimits::default())?;
        let value = Value::int(tag.0.cast_signed());
        let operation = if self.count % CREATE_EVERY == 1 {
            let id = ObjectId::new(self.draw.uuid());
            self.objects.push(id);
            Operation::Create {
                id,
                parent: Target::Handle(Handle::ROOT),
                kind: Kind::Block,
                transform: Transform::IDENTITY,
                props: Props::from_entries(vec![(key, value)], &ValueLimits::default())?,
            }
        } else {
            let any = self.draw.below(self.objects.len() as u64) as usize;
            let patch = PropsPatch::new(vec![(key, Some(value))])?;
            Operation::Update { target: Target::Id(self.objects[any]), patch }
        };
        Ok((tag, Edit::One(operation)))
    }
}

fn client_options(others: &[String]) -> ClientOptions {
    ClientOptions {
        machine: MachineOptions { join_retry_ms: 50, ..MachineOptions::default() },
        connect_timeout_ms: 2_000,
        reconnect_first_ms: 50,
        reconnect_max_ms: 500,
        subscriber_backlog: 1 << 16,
        other_addresses: others.to_vec(),
        ..ClientOptions::default()
    }
}
