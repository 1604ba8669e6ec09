//! Branes that fail in one way, and do the rest as those of the system.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use avvy_actors::{Denied, OnlyIf, System, Tree, WriteRequest, Written};
use avvy_auth::Claims;
use avvy_catalog::{Answer, Branes};
use avvy_model::{BraneId, Code, Counter, Edit, EditId, Epoch, ObjectId, Operation, Seq, UserId};
use tokio::sync::Notify;

use super::{Power, edit, reopen};

/// Branes that are out of reach when the power is cut.
pub struct Cut {
    pub system: System,
    pub power: Arc<Power>,
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
    pub system: System,
    pub change: Mutex<Option<Operation>>,
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
