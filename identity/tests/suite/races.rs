//! What others do between two steps of a sign-in.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use avvy_auth::Revocation;
use avvy_auth::wallet::ProofError;
use avvy_identity::{Identity, IdentityError, Tokens, Wanted};
use avvy_model::UserId;
use avvy_persistence::BoxFuture;
use avvy_persistence::StoreError;
use avvy_persistence::records::{
    Collection, Commit, CommitOutcome, Query, Record, RecordKey, RecordPage, Records, StoredRecord,
    SweepPlace, Swept,
};
use tokio::sync::Notify;

use super::{Case, Kit, NOW_S, Wallet, at};

pub const CASES: &[Case] = &[
    |kit| Box::pin(a_refresh_that_a_sign_out_overtakes_gives_nothing(kit)),
    |kit| Box::pin(a_sign_in_that_a_sign_out_overtakes_gives_nothing(kit)),
    |kit| Box::pin(a_sign_in_that_a_sign_out_overtakes_stays_ended(kit)),
    |kit| Box::pin(a_node_that_has_not_heard_of_a_sign_out_signs_in_after_it(kit)),
    |kit| Box::pin(a_sign_in_that_a_detachment_overtakes_is_another_users(kit)),
    |kit| Box::pin(a_newcomer_who_was_here_a_moment_before_takes_no_place(kit)),
    |kit| Box::pin(a_newcomer_who_was_quicker_elsewhere_gives_the_place_back(kit)),
    |kit| Box::pin(a_newcomer_who_does_not_wait_keeps_the_place(kit)),
    |kit| Box::pin(an_attachment_that_its_end_overtakes_comes_to_nothing(kit)),
    |kit| Box::pin(a_way_that_is_gone_goes_on_with_nothing(kit)),
    |kit| Box::pin(signing_out_twice_in_a_second_ends_what_began_between(kit)),
];

type Step = BoxFuture<'static, ()>;

/// Records before whose next commit something happens, once it is set.
struct Interrupted {
    records: Arc<dyn Records>,
    before: Mutex<Option<Step>>,
    /// Whether they can be listed.
    lists: AtomicBool,
}

impl Interrupted {
    /// The people of a kit over such records.
    fn node(kit: &Kit) -> (Arc<Self>, Identity) {
        let records = Arc::new(Self {
            records: kit.records.clone(),
            before: Mutex::default(),
            lists: AtomicBool::new(true),
        });
        let identity = kit.node_on(records.clone());
        (records, identity)
    }

    fn before(&self, step: impl Future<Output = ()> + Send + 'static) {
        *self.before.lock().unwrap() = Some(Box::pin(step));
    }
}

impl Records for Interrupted {
    fn get(
        &self,
        of: &'static Collection,
        key: RecordKey,
        now_s: u64,
    ) -> BoxFuture<'_, Result<Option<Arc<Record>>, StoreError>> {
        self.records.get(of, key, now_s)
    }

    fn get_many(
        &self,
        of: &'static Collection,
        keys: Vec<RecordKey>,
        now_s: u64,
    ) -> BoxFuture<'_, Result<Vec<Result<Option<Arc<Record>>, StoreError>>, StoreError>> {
        self.records.get_many(of, keys, now_s)
    }

    fn list(
        &self,
        of: &'static Collection,
        query: Query,
        now_s: u64,
    ) -> BoxFuture<'_, Result<RecordPage, StoreError>> {
        match self.lists.load(Ordering::SeqCst) {
            true => self.records.list(of, query, now_s),
            false => Box::pin(async { Err(StoreError::Closed) }),
        }
    }

    fn commit(
        &self,
        commit: Commit,
        now_s: u64,
    ) -> BoxFuture<'_, Result<CommitOutcome, StoreError>> {
        let before = self.before.lock().unwrap().take();
        Box::pin(async move {
            if let Some(step) = before {
                step.await;
            }
            self.records.commit(commit, now_s).await
        })
    }

    fn sweep(
        &self,
        now_s: u64,
        from: SweepPlace,
        limit: u32,
    ) -> BoxFuture<'_, Result<Swept, StoreError>> {
        self.records.sweep(now_s, from, limit)
    }

    fn scan(
        &self,
        after: Option<(String, RecordKey)>,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, StoreError>> {
        self.records.scan(after)
    }
}

/// The first step of a sign-out everywhere: that which counts.
fn signed_out(kit: &Kit, user: UserId) -> impl Future<Output = ()> + Send + 'static {
    let revoked = kit.revoked.clone();
    let revocation = Revocation::Before { user, issued_s: NOW_S + 1, is_lasting: false };
    async move { assert!(revoked.0.lock().unwrap().add(revocation)) }
}

async fn a_refresh_that_a_sign_out_overtakes_gives_nothing(kit: Kit) {
    let (records, node) = Interrupted::node(&kit);
    let first = kit.dev("ada").await;
    records.before(signed_out(&kit, first.user));
    if let Ok(tokens) = node.refresh(&first.refresh.text(), &at(NOW_S)).await {
        assert_eq!(kit.claims(&tokens.access, NOW_S).err(), Some(None), "it was signed out");
        assert!(node.refresh(&tokens.refresh.text(), &at(NOW_S)).await.is_err());
    }
}

async fn a_sign_in_that_a_sign_out_overtakes_gives_nothing(kit: Kit) {
    let (records, node) = Interrupted::node(&kit);
    let user = kit.dev("ada").await.user;
    records.before(signed_out(&kit, user));
    let tokens = node.sign_in_for_development("ada", &at(NOW_S)).await.unwrap();
    // Either it came later, and counts, or it came before, and does not.
    let counts = kit.claims(&tokens.access, NOW_S).is_ok();
    let goes_on = node.refresh(&tokens.refresh.text(), &at(NOW_S)).await.is_ok();
    assert_eq!(counts, goes_on, "both or neither");
}

/// It begins when the sign-out has cleared up, which nobody knows of for long.
async fn a_sign_in_that_a_sign_out_overtakes_stays_ended(kit: Kit) {
    let (records, node) = Interrupted::node(&kit);
    let claims = kit.of(&kit.dev("ada").await);
    let other = kit.other_node();
    records.before(async move { other.sign_out_everywhere(&claims, NOW_S).await.unwrap() });
    let late = node.sign_in_for_development("ada", &at(NOW_S)).await.unwrap();
    assert_eq!(kit.claims(&late.access, NOW_S).err(), Some(None));
    let later_s = NOW_S + 3 * 3_600;
    kit.forget(later_s);
    let refused = node.refresh(&late.refresh.text(), &at(later_s)).await.err();
    assert_eq!(refused, Some(IdentityError::SignedOut));
}

async fn a_node_that_has_not_heard_of_a_sign_out_signs_in_after_it(kit: Kit) {
    let claims = kit.of(&kit.dev("ada").await);
    kit.identity.sign_out_everywhere(&claims, NOW_S).await.unwrap();
    let known = std::mem::take(&mut *kit.revoked.0.lock().unwrap());
    let again = kit.dev("ada").await;
    *kit.revoked.0.lock().unwrap() = known;
    assert!(kit.claims(&again.access, NOW_S).is_ok());
    assert!(kit.identity.refresh(&again.refresh.text(), &at(NOW_S)).await.is_ok());
}

/// A user by one wallet, to whom another was attached.
async fn with_two(kit: &Kit, first: &Wallet, second: &Wallet) -> UserId {
    let claims = kit.of(&kit.by_wallet(first).await.unwrap());
    let signed = kit.ask(second, Wanted::Attach(claims.user)).await;
    kit.identity.attach_wallet(&claims, &signed, &at(NOW_S)).await.unwrap();
    claims.user
}

/// Whoever is being shut out leaves no other way in behind.
async fn an_attachment_that_its_end_overtakes_comes_to_nothing(kit: Kit) {
    let [owner, thief, another] = [1, 2, 3].map(Wallet::new);
    let user = with_two(&kit, &owner, &thief).await;
    let (records, node) = Interrupted::node(&kit);
    let other = kit.other_node();
    let attach = async |stolen: &Tokens, step: Step| {
        let signed = kit.ask(&another, Wanted::Attach(user)).await;
        // The first commit takes the nonce; the next one attaches.
        let again = Arc::clone(&records);
        records.before(async move { again.before(step) });
        node.attach_wallet(&kit.of(stolen), &signed, &at(NOW_S)).await
    };
    let stolen = kit.by_wallet(&thief).await.unwrap();
    let (mine, elsewhere) = (kit.of(&kit.by_wallet(&owner).await.unwrap()), other.clone());
    let sign_out = async move { elsewhere.sign_out_everywhere(&mine, NOW_S).await.unwrap() };
    assert_eq!(attach(&stolen, Box::pin(sign_out)).await, Err(IdentityError::NotJustNow));
    let stolen = kit.by_wallet(&thief).await.unwrap();
    let (detach, address) =
        (kit.ask(&owner, Wanted::Detach(user, thief.address)).await, thief.address);
    let detach = async move {
        other.detach_wallet(user, address, &detach, &at(NOW_S)).await.unwrap();
    };
    assert_eq!(attach(&stolen, Box::pin(detach)).await, Err(IdentityError::NotJustNow));
    assert_eq!(kit.identity.wallets(user, NOW_S).await, Ok(vec![owner.address]));
}

/// A node that dies between taking a way away and ending what it began.
async fn a_way_that_is_gone_goes_on_with_nothing(kit: Kit) {
    let (owner, thief) = (Wallet::new(1), Wallet::new(2));
    let user = with_two(&kit, &owner, &thief).await;
    let stolen = kit.by_wallet(&thief).await.unwrap();
    let (records, node) = Interrupted::node(&kit);
    let signed = kit.ask(&owner, Wanted::Detach(user, thief.address)).await;
    records.lists.store(false, Ordering::SeqCst);
    let died = node.detach_wallet(user, thief.address, &signed, &at(NOW_S)).await;
    assert!(matches!(died, Err(IdentityError::Store(_))), "{died:?}");
    let refused = kit.identity.refresh(&stolen.refresh.text(), &at(NOW_S)).await.err();
    assert_eq!(refused, Some(IdentityError::SignedOut));
    assert_eq!(kit.claims(&stolen.access, NOW_S).err(), Some(None));
}

async fn a_sign_in_that_a_detachment_overtakes_is_another_users(kit: Kit) {
    let (owner, thief) = (Wallet::new(1), Wallet::new(2));
    let user = with_two(&kit, &owner, &thief).await;
    let (records, node) = Interrupted::node(&kit);
    let detach = kit.ask(&owner, Wanted::Detach(user, thief.address)).await;
    let (other, address) = (kit.other_node(), thief.address);
    let signed = kit.ask(&thief, Wanted::SignIn).await;
    // The first commit takes the nonce; the next one begins the sign-in.
    let again = Arc::clone(&records);
    records.before(async move {
        again.before(async move {
            other.detach_wallet(user, address, &detach, &at(NOW_S)).await.unwrap();
        });
    });
    let tokens = node.sign_in_by_wallet(&signed, &at(NOW_S)).await.unwrap();
    assert_ne!(tokens.user, user, "the wallet is not the user's any more");
    assert_eq!(kit.identity.sessions(user, NOW_S).await.unwrap().len(), 1);
}

async fn a_newcomer_who_was_here_a_moment_before_takes_no_place(kit: Kit) {
    let kit = kit.with_newcomers(1);
    let (records, node) = Interrupted::node(&kit);
    let other = kit.other_node();
    let here = at(NOW_S);
    records.before(async move {
        other.sign_in_for_development("ada", &at(NOW_S)).await.unwrap();
    });
    assert!(!node.sign_in_for_development("ada", &here).await.unwrap().is_new);
    assert!(node.sign_in_for_development("bob", &here).await.unwrap().is_new);
    assert!(node.sign_in_for_development("carol", &here).await.is_err(), "the one place is taken");
}

/// The answer of a wallet counts once: at the other node, a moment before.
async fn a_newcomer_who_was_quicker_elsewhere_gives_the_place_back(kit: Kit) {
    let kit = kit.with_newcomers(1);
    let (records, node) = Interrupted::node(&kit);
    let (other, here) = (kit.other_node(), at(NOW_S));
    let answer = kit.ask(&Wallet::new(1), Wanted::SignIn).await;
    let same = answer.clone();
    records.before(async move {
        assert!(other.sign_in_by_wallet(&same, &at(NOW_S)).await.unwrap().is_new);
    });
    let refused = node.sign_in_by_wallet(&answer, &here).await.err();
    assert_eq!(refused, Some(ProofError::UnknownNonce.into()));
    let answer = kit.ask(&Wallet::new(2), Wanted::SignIn).await;
    assert!(node.sign_in_by_wallet(&answer, &here).await.unwrap().is_new, "the place is free");
    assert!(node.sign_in_for_development("carol", &here).await.is_err(), "and taken");
}

/// Whoever goes away when the commit is under way may be somebody new by then.
async fn a_newcomer_who_does_not_wait_keeps_the_place(kit: Kit) {
    let kit = kit.with_newcomers(1);
    let (records, node) = Interrupted::node(&kit);
    let reached = Arc::new(Notify::new());
    let told = Arc::clone(&reached);
    records.before(async move {
        told.notify_one();
        std::future::pending::<()>().await;
    });
    let here = at(NOW_S);
    tokio::select! {
        _ = node.sign_in_for_development("ada", &here) => panic!("it does not end"),
        () = reached.notified() => {}
    }
    let refused = node.sign_in_for_development("bob", &here).await.err();
    assert!(matches!(refused, Some(IdentityError::TooManyNew(_))), "{refused:?}");
}

async fn signing_out_twice_in_a_second_ends_what_began_between(kit: Kit) {
    let first = kit.of(&kit.dev("ada").await);
    kit.identity.sign_out_everywhere(&first, NOW_S).await.unwrap();
    let between = kit.dev("ada").await;
    let claims = kit.of(&between);
    kit.identity.sign_out_everywhere(&claims, NOW_S).await.unwrap();
    assert_eq!(kit.claims(&between.access, NOW_S).err(), Some(None));
    assert!(kit.identity.refresh(&between.refresh.text(), &at(NOW_S)).await.is_err());
    let after = kit.dev("ada").await;
    assert!(kit.claims(&after.access, NOW_S).is_ok());
}
