//! Benchmarks and the crash test.
//!
//! [`suite`] takes the figures that `README.md` explains: a real server on
//! one core, [`load`] (one thread that holds thousands of WebSocket sessions)
//! on the other, and the [`bare`] programs that the server is compared with,
//! in the same run. [`hostile`] are clients that mean no good, [`crash`] kills
//! a server under load and checks what it had promised. [`history`] holds what
//! many clients were told against each other, [`fleet`] has a fleet fail and
//! does so. Nothing here is part of the product.

pub mod bare;
pub mod crash;
pub mod draw;
#[cfg(feature = "fleet")]
pub mod fleet;
pub mod histogram;
pub mod history;
pub mod hostile;
pub mod http;
pub mod large;
pub mod load;
pub mod machine;
pub mod process;
pub mod suite;
