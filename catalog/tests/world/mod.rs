//! A real system on a store in memory, and failures between it and the catalog.

mod branes;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use avvy_actors::{
    Author, BraneChange, BraneKind, BraneRecord, System, SystemConfig, WriteRequest,
};
use avvy_auth::{Claims, Issuer, Keys, Policy};
use avvy_catalog::{Catalog, CatalogLimits, Label, NewObject, Prototype, Stored};
use avvy_model::{
    BraneId, ClientId, Code, Counter, Edit, EditId, Handle, Kind, NumberedEdit, Object, Operation,
    PropKey, Props, Role, TraceId, Transform, UserId, Value, ValueLimits, Visibility,
};
use avvy_persistence::memory::{Fault, MemoryStore, Operation as StoreOperation};
use avvy_persistence::records::{
    Collection, Commit, CommitOutcome, Query, Record, RecordKey, RecordPage, Records, StoredRecord,
    SweepPlace, Swept,
};
use avvy_persistence::{BoxFuture, StoreError};
use uuid::Uuid;

pub use branes::{Broken, Changing, Crowded, Cut, Down, Full, Race};

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
