//! A real system on a store in memory, and failures between it and the catalog.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use avvy_actors::{
    Author, BraneChange, BraneKind, BraneRecord, Denied, OnlyIf, System, SystemConfig, Tree,
    WriteRequest, Written,
};
use avvy_auth::{Claims, Issuer, Keys, Policy};
use avvy_catalog::{Answer, Branes, Catalog, CatalogLimits, Label, NewObject, Prototype, Stored};
use avvy_model::{
    BraneId, ClientId, Code, Counter, Edit, EditId, Epoch, Handle, Kind, NumberedEdit, Object,
    ObjectId, Operation, PropKey, Props, Role, Seq, TraceId, Transform, UserId, Value, ValueLimits,
    Visibility,
};
use avvy_persistence::memory::{Fault, MemoryStore, Operation as StoreOperation};
use avvy_persistence::records::{
    Collection, Commit, CommitOutcome, Query, Record, RecordKey, RecordPage, Records, StoredRecord,
    SweepPlace, Swept,
};
use avvy_persistence::{BoxFuture, StoreError};
use tokio::sync::Notify;
use uuid::Uuid;

pub const NOW_S: u64 = 1_700_000_000;
pub const ADA: UserId = UserId::new(Uuid::from_u128(0x4000_8000_0000_0000_0ada));
pub const BOB: UserId = UserId::new(Uuid::from_u128(0x4000_8000_0000_0000_0b0b));

/// A brane of Ada's that anybody may see, and inventories beside it.
pub struct World {
    pub system: System,
    pub brane: BraneId,
    store: Arc<MemoryStore>,
}

impl World {
    pub async fn new() -> Self {
        Self::with_config(SystemConfig::default()).await
    }

    pub async fn with_config(config: SystemConfig) -> Self {
        let store = Arc::new(MemoryStore::new());
        let policy = Policy { issuer: "t".to_owned(), audience: "t".to_owned(), leeway_s: 0 };
        let verifier = Issuer::new(Keys::generate([7; 32]), policy).verifier();
        let system = System::start(store.clone(), verifier, config).await;
        let system = system.unwrap();
        let brane = BraneId::new(Uuid::from_u128(0x4000_8000_0000_0000_0001));
        let record = BraneRecord {
            name: "Hall".to_owned(),
            kind: BraneKind::Public,
            visibility: Visibility::Public,
            ..BraneRecord::new(brane, ADA, 0)
        };
        system.create_brane(record).await.unwrap();
        Self { system, brane, store }
    }

    /// Another brane like it.
    pub async fn another_brane(&self) -> BraneId {
        let brane = BraneId::new(Uuid::new_v4());
        let (kind, visibility) = (BraneKind::Public, Visibility::Public);
        let name = "Annex".to_owned();
        let record = BraneRecord { name, kind, visibility, ..BraneRecord::new(brane, ADA, 0) };
        self.system.create_brane(record).await.unwrap();
        brane
    }

    /// Where nothing fails.
    pub fn catalog(&self) -> Catalog {
        Catalog::new(self.store.clone(), CatalogLimits::default())
    }

    /// What there is beside the branes.
    pub fn records(&self) -> Arc<MemoryStore> {
        self.store.clone()
    }

    /// Where everything fails once the power is cut.
    pub fn with(&self, power: &Arc<Power>) -> (Catalog, Cut) {
        let records = CutRecords { store: self.store.clone(), power: power.clone() };
        let catalog = Catalog::new(Arc::new(records), CatalogLimits::default());
        (catalog, Cut { system: self.system.clone(), power: power.clone() })
    }

    /// Branes in which this is done after somebody has looked.
    pub fn that_changes(&self, change: Operation) -> Changing {
        Changing { system: self.system.clone(), change: Mutex::new(Some(change)) }
    }

    /// Changes what becomes of the brane.
    pub async fn change(&self, change: BraneChange) {
        change_brane(&self.system, self.brane, change).await;
    }

    /// Waits until a brane that is not active any more has closed.
    pub async fn is_closed(&self) {
        is_closed(&self.system, self.brane).await;
    }

    /// Has branes end as in a crash: all that they leave is their log.
    pub fn store_no_snapshots(&self) {
        self.store.plan(|operation, _| match operation {
            StoreOperation::BeginSnapshot => Fault::FailBefore,
            _ => Fault::None,
        });
    }

    /// An object of the brane.
    pub async fn find(&self, id: Uuid) -> Option<(Handle, Object)> {
        let view = self.system.view(self.brane, &claims(ADA)).await.unwrap();
        let found = view.world.iter_from(Handle::ROOT).find(|(_, object)| object.id.uuid() == id);
        found.map(|(handle, object)| (handle, object.clone()))
    }
}

async fn change_brane(system: &System, brane: BraneId, change: BraneChange) {
    system.change_brane(brane, Author::Operator, change, |_| true).await.unwrap();
}

async fn is_closed(system: &System, brane: BraneId) {
    let of = EditId { client: ClientId::new(Uuid::new_v4()), counter: Counter(1) };
    let still = async || system.settle(brane, ADA, of, None).await;
    while still().await.is_err_and(|denied| denied.code == Code::Unavailable) {
        tokio::task::yield_now().await;
    }
}

/// Closes a brane and has it opened under another epoch.
pub async fn reopen(system: &System, brane: BraneId) {
    change_brane(system, brane, BraneChange::Archive { successor: None }).await;
    is_closed(system, brane).await;
    change_brane(system, brane, BraneChange::Restore).await;
}

/// Makes an edit that is taken.
pub async fn edit(system: &System, brane: BraneId, claims: &Claims, edit: Edit) {
    let edits = vec![NumberedEdit { counter: Counter(1), edit }];
    let (client, trace) = (ClientId::new(Uuid::new_v4()), TraceId::new(Uuid::new_v4()));
    let request = WriteRequest { client, known: false, edits, trace };
    let written = system.write(brane, claims, request).await.unwrap();
    written.outcomes[0].1.unwrap();
}

pub fn claims(user: UserId) -> Claims {
    Claims {
        user,
        // Bob may look, and no more.
        role: if user == BOB { Role::Visitor } else { Role::Builder },
        name: None,
        branes: Vec::new(),
        token: Uuid::from_u128(1),
        session: None,
        issued_s: 0,
        expires_s: u64::MAX,
    }
}

/// Whether a step is done when the power goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    Before,
    After,
}

/// Lasts for so many steps.
pub struct Power {
    steps: AtomicUsize,
    when: When,
}

/// Past the last step.
const CUT: usize = usize::MAX;

impl Power {
    pub fn for_steps(steps: usize, when: When) -> Arc<Self> {
        Arc::new(Self { steps: AtomicUsize::new(steps), when })
    }

    pub fn is_cut(&self) -> bool {
        self.steps.load(Ordering::SeqCst) == CUT
    }

    /// Does a step, unless the power goes before; whether it is answered.
    async fn step<T, E>(&self, done: impl Future<Output = Result<T, E>>, gone: E) -> Result<T, E> {
        let left = self.steps.load(Ordering::SeqCst);
        if left == CUT {
            return Err(gone);
        }
        self.steps.store(left.checked_sub(1).unwrap_or(CUT), Ordering::SeqCst);
        match (left, self.when) {
            (0, When::Before) => Err(gone),
            (0, When::After) => {
                let _ = done.await;
                Err(gone)
            }
            _ => done.await,
        }
    }
}

/// Branes that are out of reach when the power is cut.
pub struct Cut {
    system: System,
    power: Arc<Power>,
}

/// What branes that fail in one way do as those of the system do.
macro_rules! as_the_system {
    (enter) => {
        fn enter<'a>(&'a self, brane: BraneId, claims: &'a Claims) -> Answer<'a, Epoch> {
            Branes::enter(&self.system, brane, claims)
        }
    };
    (tree) => {
        fn tree<'a>(
            &'a self,
            brane: BraneId,
            claims: &'a Claims,
            root: ObjectId,
            max: usize,
        ) -> Answer<'a, Tree> {
            Branes::tree(&self.system, brane, claims, root, max)
        }
    };
    (settle) => {
        fn settle(
            &self,
            brane: BraneId,
            by: UserId,
            of: EditId,
            epoch: Option<Epoch>,
        ) -> Answer<'_, bool> {
            Branes::settle(&self.system, brane, by, of, epoch)
        }
    };
}

impl Branes for Cut {
    fn enter<'a>(&'a self, brane: BraneId, claims: &'a Claims) -> Answer<'a, Epoch> {
        let enter = Branes::enter(&self.system, brane, claims);
        Box::pin(self.power.step(enter, Code::Unavailable.into()))
    }

    fn tree<'a>(
        &'a self,
        brane: BraneId,
        claims: &'a Claims,
        root: ObjectId,
        max: usize,
    ) -> Answer<'a, Tree> {
        let tree = self.system.tree(brane, claims, root, max);
        Box::pin(self.power.step(tree, Code::Unavailable.into()))
    }

    fn write_if<'a>(
        &'a self,
        brane: BraneId,
        claims: &'a Claims,
        request: WriteRequest,
        only_if: OnlyIf,
    ) -> Answer<'a, Written> {
        let write = self.system.write_if(brane, claims, request, only_if);
        Box::pin(self.power.step(write, Code::Timeout.into()))
    }

    fn settle(
        &self,
        brane: BraneId,
        by: UserId,
        of: EditId,
        epoch: Option<Epoch>,
    ) -> Answer<'_, bool> {
        let applied = self.system.settle(brane, by, of, epoch);
        Box::pin(self.power.step(applied, Code::Unavailable.into()))
    }
}

/// Branes in which somebody else is quick.
pub struct Changing {
    system: System,
    change: Mutex<Option<Operation>>,
}

impl Branes for Changing {
    as_the_system!(enter);

    fn tree<'a>(
        &'a self,
        brane: BraneId,
        claims: &'a Claims,
        root: ObjectId,
        max: usize,
    ) -> Answer<'a, Tree> {
        Box::pin(async move {
            let tree = self.system.tree(brane, claims, root, max).await?;
            let change = self.change.lock().unwrap().take();
            if let Some(change) = change {
                edit(&self.system, brane, claims, Edit::One(change)).await;
            }
            Ok(tree)
        })
    }

    fn write_if<'a>(
        &'a self,
        brane: BraneId,
        claims: &'a Claims,
        request: WriteRequest,
        only_if: OnlyIf,
    ) -> Answer<'a, Written> {
        Box::pin(self.system.write_if(brane, claims, request, only_if))
    }

    as_the_system!(settle);
}

/// Branes that take no edit of anybody but this user.
pub struct Down {
    pub system: System,
    pub but: Option<UserId>,
}

impl Branes for Down {
    as_the_system!(enter);

    as_the_system!(tree);

    fn write_if<'a>(
        &'a self,
        brane: BraneId,
        claims: &'a Claims,
        request: WriteRequest,
        only_if: OnlyIf,
    ) -> Answer<'a, Written> {
        match self.but == Some(claims.user) {
            true => Branes::write_if(&self.system, brane, claims, request, only_if),
            false => Box::pin(async { Err(Code::Unavailable.into()) }),
        }
    }

    as_the_system!(settle);
}

/// Branes of which one answers everything so.
pub struct Broken {
    pub system: System,
    pub brane: BraneId,
    pub code: Code,
}

impl Broken {
    /// Asks the system, unless it is the one.
    fn ask<'a, T: Send + 'a>(&self, brane: BraneId, asked: Answer<'a, T>) -> Answer<'a, T> {
        match brane == self.brane {
            true => Box::pin(std::future::ready(Err(Denied::from(self.code)))),
            false => asked,
        }
    }
}

impl Branes for Broken {
    fn enter<'a>(&'a self, brane: BraneId, claims: &'a Claims) -> Answer<'a, Epoch> {
        self.ask(brane, Branes::enter(&self.system, brane, claims))
    }

    fn tree<'a>(
        &'a self,
        brane: BraneId,
        claims: &'a Claims,
        root: ObjectId,
        max: usize,
    ) -> Answer<'a, Tree> {
        self.ask(brane, Branes::tree(&self.system, brane, claims, root, max))
    }

    fn write_if<'a>(
        &'a self,
        brane: BraneId,
        claims: &'a Claims,
        request: WriteRequest,
        only_if: OnlyIf,
    ) -> Answer<'a, Written> {
        self.ask(brane, Branes::write_if(&self.system, brane, claims, request, only_if))
    }

    fn settle(
        &self,
        brane: BraneId,
        by: UserId,
        of: EditId,
        epoch: Option<Epoch>,
    ) -> Answer<'_, bool> {
        self.ask(brane, Branes::settle(&self.system, brane, by, of, epoch))
    }
}

/// A brane with no room for one more session, whose first one who asks what
/// became of an edit is slow to hear it.
pub struct Crowded {
    pub system: System,
    pub code: Code,
    pub settled: Notify,
    pub heard: Notify,
}

impl Branes for Crowded {
    as_the_system!(enter);

    as_the_system!(tree);

    fn write_if<'a>(
        &'a self,
        _: BraneId,
        _: &'a Claims,
        _: WriteRequest,
        _: OnlyIf,
    ) -> Answer<'a, Written> {
        Box::pin(std::future::ready(Err(Denied::from(self.code))))
    }

    fn settle(
        &self,
        brane: BraneId,
        by: UserId,
        of: EditId,
        epoch: Option<Epoch>,
    ) -> Answer<'_, bool> {
        Box::pin(async move {
            let settled = self.system.settle(brane, by, of, epoch).await;
            self.settled.notify_one();
            self.heard.notified().await;
            settled
        })
    }
}

/// Branes that refuse the first edit, as one does whose journal is full.
pub struct Full {
    pub system: System,
    pub is_full: AtomicBool,
}

impl Branes for Full {
    as_the_system!(enter);

    as_the_system!(tree);

    fn write_if<'a>(
        &'a self,
        brane: BraneId,
        claims: &'a Claims,
        request: WriteRequest,
        only_if: OnlyIf,
    ) -> Answer<'a, Written> {
        if self.is_full.swap(false, Ordering::SeqCst) {
            let refused = (Counter(1), Err(Code::Unavailable.into()));
            let (epoch, durable) = (Epoch(1), Seq(0));
            return Box::pin(
                async move { Ok(Written { epoch, outcomes: vec![refused], durable }) },
            );
        }
        Branes::write_if(&self.system, brane, claims, request, only_if)
    }

    as_the_system!(settle);
}

/// Branes at which two are at the same transfer: `first` is refused as `change`
/// came before, takes that back, and ends the transfer while the answer to the
/// other is on its way.
pub struct Race {
    pub system: System,
    pub change: [Operation; 2],
    pub is_first: bool,
    /// The brane is opened anew after the first has been told.
    pub is_reopened: bool,
    /// The first has been told that nothing was done.
    pub first_settled: Arc<Notify>,
    /// The other has written.
    pub other_wrote: Arc<Notify>,
    /// The first has ended it.
    pub first_ended: Arc<Notify>,
}

impl Branes for Race {
    as_the_system!(enter);

    as_the_system!(tree);

    fn write_if<'a>(
        &'a self,
        brane: BraneId,
        claims: &'a Claims,
        request: WriteRequest,
        only_if: OnlyIf,
    ) -> Answer<'a, Written> {
        Box::pin(async move {
            let [change, back] = &self.change;
            if self.is_first {
                edit(&self.system, brane, claims, Edit::One(change.clone())).await;
                let refused = self.system.write_if(brane, claims, request, only_if).await;
                edit(&self.system, brane, claims, Edit::One(back.clone())).await;
                return refused;
            }
            self.first_settled.notified().await;
            let written = self.system.write_if(brane, claims, request, only_if).await;
            self.other_wrote.notify_one();
            self.first_ended.notified().await;
            written
        })
    }

    fn settle(
        &self,
        brane: BraneId,
        by: UserId,
        of: EditId,
        epoch: Option<Epoch>,
    ) -> Answer<'_, bool> {
        Box::pin(async move {
            let settled = self.system.settle(brane, by, of, epoch).await;
            if self.is_first {
                if self.is_reopened {
                    reopen(&self.system, brane).await;
                }
                self.first_settled.notify_one();
                self.other_wrote.notified().await;
            }
            settled
        })
    }
}

/// Records that are out of reach when the power is cut. Each commit is a step;
/// what is only read is none.
struct CutRecords {
    store: Arc<MemoryStore>,
    power: Arc<Power>,
}

impl CutRecords {
    fn check(&self) -> Result<(), StoreError> {
        match self.power.is_cut() {
            true => Err(gone()),
            false => Ok(()),
        }
    }
}

fn gone() -> StoreError {
    StoreError::Closed
}

impl Records for CutRecords {
    fn get(
        &self,
        of: &'static Collection,
        key: RecordKey,
        now_s: u64,
    ) -> BoxFuture<'_, Result<Option<Arc<Record>>, StoreError>> {
        Box::pin(async move {
            self.check()?;
            self.store.get(of, key, now_s).await
        })
    }

    fn get_many(
        &self,
        of: &'static Collection,
        keys: Vec<RecordKey>,
        now_s: u64,
    ) -> BoxFuture<'_, Result<Vec<Result<Option<Arc<Record>>, StoreError>>, StoreError>> {
        Box::pin(async move {
            self.check()?;
            self.store.get_many(of, keys, now_s).await
        })
    }

    fn list(
        &self,
        of: &'static Collection,
        query: Query,
        now_s: u64,
    ) -> BoxFuture<'_, Result<RecordPage, StoreError>> {
        Box::pin(async move {
            self.check()?;
            self.store.list(of, query, now_s).await
        })
    }

    fn commit(
        &self,
        commit: Commit,
        now_s: u64,
    ) -> BoxFuture<'_, Result<CommitOutcome, StoreError>> {
        // This store does it when it is asked, not when it is waited for.
        let done = async move { self.store.commit(commit, now_s).await };
        Box::pin(self.power.step(done, gone()))
    }

    fn sweep(
        &self,
        now_s: u64,
        from: SweepPlace,
        limit: u32,
    ) -> BoxFuture<'_, Result<Swept, StoreError>> {
        self.store.sweep(now_s, from, limit)
    }

    fn scan(
        &self,
        after: Option<(String, RecordKey)>,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, StoreError>> {
        self.store.scan(after)
    }
}

pub fn label(name: &str) -> Label {
    Label { name: name.to_owned(), ..Label::default() }
}

pub fn entries(text: &str) -> Vec<(PropKey, Option<Value>)> {
    let key = PropKey::new("says", &ValueLimits::NONE).unwrap();
    vec![(key, Some(Value::text(text)))]
}

pub fn props(text: &str) -> Props {
    let limits = ValueLimits::NONE;
    let entry = (PropKey::new("says", &limits).unwrap(), Value::text(text));
    Props::from_entries(vec![entry], &limits).unwrap()
}

/// Properties that are texts.
pub fn texts(of: &[(String, String)]) -> Props {
    let limits = ValueLimits::NONE;
    let entry =
        |(key, text): &(String, String)| (PropKey::new(key, &limits).unwrap(), Value::text(text));
    Props::from_entries(of.iter().map(entry).collect(), &limits).unwrap()
}

pub fn says(text: &str) -> Prototype {
    Prototype { defaults: props(text), ..Prototype::default() }
}

pub fn block(name: &str) -> NewObject {
    NewObject {
        kind: Kind::Block,
        label: label(name),
        transform: Transform::IDENTITY,
        props: Props::default(),
        children: Vec::new(),
        gallery: Vec::new(),
    }
}

pub fn group(name: &str, children: &[&Stored]) -> NewObject {
    let children = children.iter().map(|child| child.thing.id).collect();
    NewObject { kind: Kind::Group, children, ..block(name) }
}
