//! Who somebody is, what that lets them do, and how often they may ask.
//!
//! Tokens are JSON Web Tokens (RFC 7519) in the compact form (RFC 7515). Ours
//! are signed with Ed25519 (RFC 8037) and nothing else; [`external`] is about
//! those of others. Pure: the time and random bytes are arguments. Nothing here
//! knows HTTP, sockets, files or stores.

mod bearer;
mod claims;
mod error;
pub mod external;
pub mod family;
mod jws;
mod key;
mod key_ring;
pub mod lockout;
pub mod rate;
mod revoked;
mod rights;
mod signed;
mod token;
mod validity;
pub mod wallet;

pub use bearer::bearer;
pub use claims::Claims;
pub use error::TokenError;
pub use key::{InvalidKey, Keys, PublicKey};
pub use key_ring::{InvalidRing, KeyRing, MIN_PERIOD_S, PUBLISH_LEAD_S};
pub use revoked::{MAX_LIFETIME_S, MAX_SIGN_IN_TOKEN_S, Revocation, Revoked};
pub use rights::{is_invited, principal};
pub use signed::{Signed, SignedTokens, TokenDigest};
pub use token::{Issuer, MAX_TOKEN_BYTES, Policy, Verifier};
pub use validity::Validity;
