//! Signing in by a wallet: an account of Ethereum, or of a chain like it,
//! signs a message (EIP-4361) that says where, for what and until when.
//!
//! A [`Challenge`] is made for one purpose and given out once. Its message is
//! shown by the wallet and signed there; [`Challenge::prove`] takes it back and
//! says which address has signed. Only accounts that have a key can sign so;
//! contracts (EIP-1271) would have to be asked on their chain.

mod address;
mod challenge;
mod message;
mod owned;
mod signature;
mod timestamp;
mod uri;

pub use address::{Address, InvalidAddress};
pub use challenge::{Challenge, Challenges, ProofError, Purpose, Site};
pub use message::{MAX_MESSAGE_BYTES, MessageError, MessageParts, SignInMessage};
pub use owned::{MAX_WALLETS, WalletError, Wallets};
pub use signature::{InvalidSignature, Signature};
pub use timestamp::{InvalidTimestamp, Timestamp};
