//! A cache of read models over a store, in two tiers: this process, then Redis
//! (feature `redis`), which the nodes of a fleet share.
//!
//! [`Caches`] makes a cache of any [`Model`]. [`CachedStore`] is a
//! [`Store`](crate::Store) that sees every write of a brane's record, and
//! [`CachedRecords`] are [`Records`](crate::records::Records) that see every
//! commit, so invalidation is their own matter. What holds:
//!
//! - Who has written, and been answered, reads on the same node what was
//!   written. Other nodes hear of it by a notice. A notice can be lost; then,
//!   and whatever else fails, a value is served for at most
//!   [`CacheOptions::max_stale`] after the store was asked for it.
//! - A read that began before a write never puts its value back after it: in
//!   the process by tickets, in Redis by leases, both of which a write ends.
//! - A key is loaded once at a time in a process, and across processes while
//!   others wait a moment for who holds the lease.
//! - What is asked for all the time is loaded anew before it ends, by one, in the
//!   background, so that its end holds nobody up.
//! - What is not there is remembered, too, for a shorter time.
//! - A node that opens a brane says so, so that who had it need not wait until
//!   the store tells.
//! - Redis is never needed: when it is away, slow or full, the store is asked.

#[cfg(any(feature = "redis", test))]
mod breaker;
#[cfg(any(feature = "redis", feature = "testing", test))]
mod frame;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod fuzzing;
mod hub;
mod layer;
mod local;
mod model;
// Without Redis nobody tells anybody, nor shares anything.
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
mod notice;
mod records;
#[cfg(feature = "redis")]
pub mod redis;
mod set;
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
mod shared;
mod status;
mod store;

pub use hub::Caches;
pub use layer::{Cache, CacheOptions, Write};
pub use model::{BraneRecords, Model};
pub use notice::{Moved, News};
pub use records::{CachedRecords, RecordsByKey};
pub use set::{MAX_MEMBER_BYTES, Member, MetaSet, SharedSet};
pub use status::{CacheStatus, SharedStatus, TierStatus};
pub use store::CachedStore;
