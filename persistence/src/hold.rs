//! Who holds a brane, and how it changes hands.
//!
//! Pure, so that every store gives and refuses alike.

use avvy_model::{Epoch, NodeId};

use crate::error::StoreError;
use crate::fleet::Wish;

/// What a store keeps beside a brane's head. It says who may open the brane;
/// what its journal takes is a matter of the epoch alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Hold {
    pub(crate) holder: Option<NodeId>,
    /// To whom the holder offers it.
    pub(crate) coming: Option<Coming>,
    /// The last hand-over, so that it is known when it is asked for again.
    pub(crate) handed: Option<Handed>,
}

/// An offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Coming {
    pub(crate) to: NodeId,
    pub(crate) is_ready: bool,
}

/// A hand-over that was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Handed {
    pub(crate) from: NodeId,
    pub(crate) epoch: Epoch,
    pub(crate) to: NodeId,
}

impl Hold {
    /// The holder that has to be over before this node may open the brane;
    /// `None` is a store that is part of no fleet.
    pub(crate) fn in_the_way_of(&self, node: Option<NodeId>) -> Option<NodeId> {
        self.holder.filter(|holder| Some(*holder) != node)
    }

    /// Makes a node the holder, as it opens the brane.
    pub(crate) fn take(&mut self, node: Option<NodeId>) {
        if self.holder != node {
            self.coming = None;
        }
        self.holder = node;
    }

    /// Fulfils a node's wish, as [`Fleet::wish`](crate::Fleet::wish) says; the
    /// brane's newest epoch is `newest`.
    pub(crate) fn fulfil(
        &mut self,
        me: NodeId,
        newest: Epoch,
        wish: Wish,
    ) -> Result<bool, StoreError> {
        let is_mine = |epoch| match self.holder == Some(me) && newest == epoch {
            true => Ok(()),
            false => Err(StoreError::StaleEpoch { current: newest }),
        };
        match wish {
            Wish::Offer { epoch, to } => {
                is_mine(epoch)?;
                if self.coming.is_none_or(|coming| coming.to != to) {
                    self.coming = Some(Coming { to, is_ready: false });
                }
            }
            Wish::Ready => {
                if let Some(coming) = self.coming.as_mut().filter(|coming| coming.to == me) {
                    coming.is_ready = true;
                }
            }
            Wish::IsReady { epoch } => {
                is_mine(epoch)?;
                return Ok(self.coming.is_some_and(|coming| coming.is_ready));
            }
            Wish::Withdraw { epoch } => {
                is_mine(epoch)?;
                self.coming = None;
            }
            Wish::HandOver { epoch, to } => {
                let handed = Some(Handed { from: me, epoch, to });
                if self.handed != handed {
                    is_mine(epoch)?;
                    *self = Self { holder: Some(to), coming: None, handed };
                }
            }
            Wish::Release { epoch } => {
                if self.holder.is_some() {
                    is_mine(epoch)?;
                    (self.holder, self.coming) = (None, None);
                }
            }
        }
        Ok(false)
    }
}
