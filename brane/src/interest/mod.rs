//! Who sees what of a world: its objects by cell, what a window of the log
//! shows in each cell, and which objects cross from one to another.

mod cells;
mod region;
mod tracker;

pub(crate) use cells::Cells;
pub use region::Region;
pub(crate) use tracker::Tracker;
pub use tracker::{Crossed, Crossing, MAX_CROSSED, Spot};
