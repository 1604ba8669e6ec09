//! The contract of a fleet: several nodes on one store.
//!
//! A node is one life of one process. It has a lease, which it renews, and
//! holds branes, each under the epoch that it opened it with. A brane whose
//! holder's lease lasts is opened by nobody else; one whose holder's lease is
//! over is taken by whoever opens it first. Time is the store's own: no clock
//! of a node is ever judged by.
//!
//! The lease says who may open a brane. What keeps a journal whole is the
//! epoch alone: chunks of the old holder are refused from the moment of the
//! next opening, whatever it believes. So a node whose lease lapsed, and who
//! lost nothing, goes on as if nothing had been.
//!
//! A store is part of a fleet if it was made with a [`Node`]. Then
//! [`Store::open`](crate::Store::open) takes a brane that nobody holds, that
//! this node holds itself, or whose holder's lease is over, and refuses any
//! other with [`StoreError::Held`].

use avvy_model::{BraneId, Epoch, NodeId};

use crate::error::StoreError;
use crate::store::BoxFuture;

/// One life of one process of a fleet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Node {
    /// Drawn anew by every start.
    pub id: NodeId,
    /// The URL by which clients reach it, at most [`MAX_ADDRESS_BYTES`].
    pub address: String,
}

/// The longest address of a node, in bytes of UTF-8.
pub const MAX_ADDRESS_BYTES: usize = 1_024;

/// A brane that a node takes for its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Holding {
    /// Which.
    pub brane: BraneId,
    /// The epoch under which it opened it.
    pub epoch: Epoch,
}

/// What a node learns when it renews its lease. All lists are ascending.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Renewed {
    /// The lease was over at some time since the last renewal that was
    /// answered: others may have taken branes.
    pub lapsed: bool,
    /// Those of the branes it named that are not its own any more, under the
    /// epochs it named. Told again by every renewal that names them.
    pub lost: Vec<BraneId>,
    /// The branes that are offered to it, whether it said that it is ready or
    /// not. Told by every renewal until they are handed over or withdrawn.
    pub offered: Vec<BraneId>,
}

/// A node as others see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeStatus {
    /// Which.
    pub node: Node,
    /// How long its lease lasts, in milliseconds; 0: it is over.
    pub remaining_ms: u64,
    /// It gives its branes away and takes no others.
    pub draining: bool,
    /// How many branes it holds.
    pub branes: u64,
}

/// Who holds a brane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Which node. Its address is empty if nothing is known of it any more.
    pub node: Node,
    /// How long its lease lasts, in milliseconds; 0: it is over.
    pub remaining_ms: u64,
    /// The brane's newest epoch.
    pub epoch: Epoch,
}

/// What a node wants of a brane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// To offer a brane of its own to another node, in place of an earlier
    /// offer of it. Whether that node lives is not looked at. The same again
    /// changes nothing.
    Offer {
        /// Under which epoch it holds the brane.
        epoch: Epoch,
        /// The other node.
        to: NodeId,
    },
    /// To say that it is ready for a brane that is offered to it. Does nothing
    /// if it is offered no more.
    Ready,
    /// To know whether the node to which it offers a brane is ready for it;
    /// false if it is not offered.
    IsReady {
        /// Under which epoch it holds the brane.
        epoch: Epoch,
    },
    /// To take an offer back; no error if there is none.
    Withdraw {
        /// Under which epoch it holds the brane.
        epoch: Epoch,
    },
    /// To make another node the holder of a brane of its own, offered or not.
    /// That node opens it under the next epoch; until then chunks of this
    /// epoch are still taken. The same again is no error, also when the other
    /// has opened it.
    HandOver {
        /// Under which epoch it holds the brane.
        epoch: Epoch,
        /// The other node.
        to: NodeId,
    },
    /// To give a brane of its own up: whoever opens it next has it. No error
    /// if nobody holds it.
    Release {
        /// Under which epoch it holds the brane.
        epoch: Epoch,
    },
}

/// What a node can ask of the store that its fleet shares.
///
/// Every method is bounded in time, as those of [`Store`](crate::Store) are,
/// and may be repeated as it was when its outcome is unknown. All of them
/// answer `Invalid` if the store was made without a node. `StaleEpoch` means
/// that the brane is not this node's any more under that epoch.
pub trait Fleet: Send + Sync + 'static {
    /// This node.
    fn node(&self) -> Option<&Node>;

    /// Makes the node known, with a new lease. What it holds lasts from before
    /// this was sent.
    ///
    /// # Errors
    /// `Invalid` if the address is too long.
    fn enter(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Renews the lease, also one that is over, and says what has become of
    /// the branes that the node holds.
    fn renew(&self, held: Vec<Holding>) -> BoxFuture<'_, Result<Renewed, StoreError>>;

    /// Ends the node: nothing is held by it any more, and it is forgotten.
    fn leave(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Ends the lease of the node that was here before this one, which is dead,
    /// so that what it held is taken at once by whoever opens it. No error if
    /// nothing is known of it, or its lease is over. If it lived all the same it
    /// would be as one whose lease lapsed, and store nothing of what it lost.
    fn succeed(&self, before: NodeId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Lets others see that this node gives its branes away.
    fn set_draining(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// All nodes that are known, by their ids; those whose leases have long
    /// been over may be left out.
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeStatus>, StoreError>>;

    /// Who holds a brane, if anybody does. Takes nothing.
    ///
    /// # Errors
    /// `UnknownBrane`.
    fn holder(&self, brane: BraneId) -> BoxFuture<'_, Result<Option<Holder>, StoreError>>;

    /// Fulfils a wish. True if it is [`Wish::IsReady`] and the target is ready;
    /// all others have no answer.
    ///
    /// # Errors
    /// `UnknownBrane`; `StaleEpoch`, but for [`Wish::Ready`].
    fn wish(&self, brane: BraneId, wish: Wish) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// [`Wish::Offer`].
    fn offer(
        &self,
        brane: BraneId,
        epoch: Epoch,
        to: NodeId,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.wish(brane, Wish::Offer { epoch, to }).await.map(drop) })
    }

    /// [`Wish::Ready`].
    fn ready(&self, brane: BraneId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.wish(brane, Wish::Ready).await.map(drop) })
    }

    /// [`Wish::IsReady`].
    fn is_ready(&self, brane: BraneId, epoch: Epoch) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.wish(brane, Wish::IsReady { epoch })
    }

    /// [`Wish::Withdraw`].
    fn withdraw(&self, brane: BraneId, epoch: Epoch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.wish(brane, Wish::Withdraw { epoch }).await.map(drop) })
    }

    /// [`Wish::HandOver`].
    fn hand_over(
        &self,
        brane: BraneId,
        epoch: Epoch,
        to: NodeId,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.wish(brane, Wish::HandOver { epoch, to }).await.map(drop) })
    }

    /// [`Wish::Release`].
    fn release(&self, brane: BraneId, epoch: Epoch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.wish(brane, Wish::Release { epoch }).await.map(drop) })
    }
}

/// The answer of a store that was made without a node.
pub(crate) const fn no_member() -> StoreError {
    StoreError::Invalid("this store is no node of a fleet")
}
