//! Bodies of those who sign in, and of what keeps them signed in.

use avvy_model::UserId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[cfg(feature = "openapi")]
use super::schema;
use crate::codec::{text, whole};

/// Asks for what a wallet is to sign.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AskChallenge {
    /// The wallet: 0x and 40 hexadecimal digits in the capitals of EIP-55.
    pub address: String,
    /// The chain (EIP-155); the first that the server serves when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_id: Option<u64>,
    /// What for: `sign_in` when left out; with a token also `attach` and
    /// `detach`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// With `detach`: the wallet that is to go; `address` signs for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wallet: Option<String>,
}

/// What a wallet is to sign.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChallengeBody {
    /// The message (EIP-4361), to be signed as it is (`personal_sign`).
    pub message: String,
    /// Its nonce.
    pub nonce: String,
    /// The Unix second from which an answer does not count any more.
    #[serde(with = "whole")]
    pub expires: u64,
}

/// What a wallet has signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignedBody {
    /// The message, as it was signed.
    pub message: String,
    /// The signature: 0x and 130 hexadecimal digits.
    pub signature: String,
}

/// Who to be, on a server for development.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DevelopmentSignIn {
    /// 1 to 32 letters, digits, `-`, `_` and `.`.
    pub name: String,
}

/// What a sign-in by an account elsewhere is ended with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TicketBody {
    /// The ticket with which the browser came back, which is good once.
    pub ticket: String,
    /// The app's secret, whose hash was given at the beginning.
    pub verifier: String,
}

/// An account elsewhere that signs in the caller.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountBody {
    /// Names it: 64 hexadecimal digits.
    pub id: String,
    /// Whose account it is.
    pub issuer: String,
    /// Since when, in Unix seconds.
    pub attached: u64,
}

/// The accounts elsewhere that sign in the caller.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountsBody {
    /// All of them.
    pub accounts: Vec<AccountBody>,
}

/// The providers whose accounts sign in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProvidersBody {
    /// Their names in paths.
    pub providers: Vec<String>,
}

/// What the next tokens are asked for with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RefreshBody {
    /// The refresh token, which is good once.
    pub refresh_token: String,
}

/// The tokens of somebody who is signed in. All of it is secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokensBody {
    /// For `Authorization: Bearer` and the WebSocket's hello.
    pub access_token: String,
    /// The Unix second at which it ends.
    #[serde(with = "whole")]
    pub access_expires: u64,
    /// For the next tokens, once.
    pub refresh_token: String,
    /// The Unix second at which that ends if it is not used.
    #[serde(with = "whole")]
    pub refresh_expires: u64,
    /// Whose they are.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub user: UserId,
    /// Names the sign-in.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub session: Uuid,
    /// Whether the user came just now for the first time.
    pub is_new: bool,
}

/// A sign-in that lasts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignInBody {
    /// Names it.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub id: Uuid,
    /// When it began, in Unix seconds.
    #[serde(with = "whole")]
    pub began: u64,
    /// When it was used last, in Unix seconds.
    #[serde(with = "whole")]
    pub used: u64,
    /// When it ends if it is not used, in Unix seconds.
    #[serde(with = "whole")]
    pub expires: u64,
    /// By what, for people: a wallet's address, or the name of a provider.
    pub by: String,
    /// By what program, as that said itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Whether the token that asks is of it.
    pub is_this: bool,
}

/// The sign-ins of a user that last, the one that began last first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignInsBody {
    /// All of them.
    pub sessions: Vec<SignInBody>,
}

/// The wallets of a user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WalletsBody {
    /// Their addresses.
    pub wallets: Vec<String>,
}
