//! Why a token does not count.

use avvy_model::Code;

/// Why a token does not count. The variants are for the log; a stranger is
/// told no more than [`TokenError::code`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("there is no token")]
    Missing,
    /// The `Authorization` header is not `Bearer` and a token.
    #[error("the authorization header does not hold a bearer token")]
    NotBearer,
    /// Longer than [`crate::MAX_TOKEN_BYTES`].
    #[error("the token is too long")]
    TooLong,
    /// Not three parts of base64url that hold the JSON objects of a JWT.
    #[error("the token is not a well-formed JWT")]
    Malformed,
    /// Signed by an algorithm other than that of its key, or by none.
    #[error("the token is not signed with the algorithm of its key")]
    WrongAlgorithm,
    /// Names no key, or one that is not ours.
    #[error("the token names a key that is not known")]
    UnknownKey,
    /// Was changed, or signed by another key.
    #[error("the token's signature does not fit")]
    BadSignature,
    /// Made by another issuer.
    #[error("the token is from another issuer")]
    WrongIssuer,
    /// Made for another audience.
    #[error("the token is for another audience")]
    WrongAudience,
    /// Its `iat` or `nbf` lies ahead by more than the leeway.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Its `exp` has passed by more than the leeway.
    #[error("the token has expired")]
    Expired,
    /// Of another issuer, whose keys are not known yet.
    #[error("the keys of the token's issuer are not known yet")]
    KeysAway,
    /// Counts for longer than [`crate::MAX_LIFETIME_S`], or as one of a sign-in
    /// than [`crate::MAX_SIGN_IN_TOKEN_S`]: it would outlive its own revocation.
    #[error("the token counts for longer than a token may")]
    TooLasting,
}

impl TokenError {
    /// The code that the asker is told.
    pub const fn code(self) -> Code {
        match self {
            Self::Missing | Self::NotBearer => Code::NotAuthenticated,
            Self::Expired => Code::TokenExpired,
            Self::KeysAway => Code::Unavailable,
            Self::TooLong
            | Self::Malformed
            | Self::WrongAlgorithm
            | Self::UnknownKey
            | Self::BadSignature
            | Self::WrongIssuer
            | Self::WrongAudience
            | Self::NotYetValid
            | Self::TooLasting => Code::TokenInvalid,
        }
    }
}
