//! Tokens that end before their time.

use serde::{Deserialize, Serialize};

use crate::codec::whole;

/// Asks for tokens of one's own to be revoked: one of the three, or none for
/// the token that asks.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevokeTokens {
    /// The token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The token's `jti`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// All whose `iat` is before this, in Unix seconds; a later time than now
    /// counts as now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
}

/// Tokens were revoked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevokedBody {
    /// The Unix second until which it is remembered: they have ended by then.
    #[serde(with = "whole")]
    pub until: u64,
}
