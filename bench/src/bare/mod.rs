//! What the server is compared with: programs that do the least that could
//! be done, without protocol, world or log.

mod append;
mod drain;
mod hold;
mod http;
mod program;
mod write;

pub use append::append;
pub use drain::Drain;
pub use program::{BareProgram, Role, run};
