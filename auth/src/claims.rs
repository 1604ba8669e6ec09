//! What a token says.

use std::str::FromStr;

use avvy_model::{BraneId, Role, UserId};
use serde::{Deserialize, Serialize};
use uuid::{Uuid, Variant};

use crate::TokenError;

/// What a token says of its bearer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    /// `sub`: the user. A UUID of version 4.
    pub user: UserId,
    /// `role`: the most that the token lets its bearer do in any brane. What
    /// the user may do there is a bound, too.
    pub role: Role,
    /// `name`: for people to read; proves nothing.
    pub name: Option<String>,
    /// `branes`: private branes of others that the bearer is let into.
    pub branes: Vec<BraneId>,
    /// `jti`: names the token. A UUID of version 4.
    pub token: Uuid,
    /// `sid`: the sign-in that gave the token, if one did. Its tokens can be
    /// revoked together, under its name. A UUID of version 4.
    pub session: Option<Uuid>,
    /// `iat`: Unix seconds at which it was made.
    pub issued_s: u64,
    /// `exp`: Unix seconds from which it no longer counts.
    pub expires_s: u64,
}

/// The JSON of the payload. A member that is there twice is refused (RFC
/// 7519, section 4), one that is not known is passed over.
#[derive(Serialize, Deserialize)]
pub struct Payload {
    pub iss: String,
    pub sub: String,
    pub aud: Audience,
    pub exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    pub iat: u64,
    pub jti: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    pub role: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branes: Vec<String>,
}

/// `aud`: one name or a list of them (RFC 7519, section 4.1.3).
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    pub fn holds(&self, name: &str) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Many(many) => many.iter().any(|one| one == name),
        }
    }
}

impl Payload {
    /// The payload in which `issuer` says this to `audience`.
    pub fn new(claims: &Claims, issuer: &str, audience: &str) -> Self {
        Self {
            iss: issuer.to_owned(),
            sub: claims.user.to_string(),
            aud: Audience::One(audience.to_owned()),
            exp: claims.expires_s,
            nbf: None,
            iat: claims.issued_s,
            jti: claims.token.as_hyphenated().to_string(),
            sid: claims.session.map(|session| session.as_hyphenated().to_string()),
            role: claims.role.name().to_owned(),
            name: claims.name.clone(),
            branes: claims.branes.iter().map(BraneId::to_string).collect(),
        }
    }

    /// What it says, if every part is of its form.
    pub fn claims(self) -> Result<Claims, TokenError> {
        let branes = self.branes.iter().map(|brane| brane.parse());
        Ok(Claims {
            user: UserId::new(version_4(&self.sub)?),
            role: Role::from_name(&self.role).ok_or(TokenError::Malformed)?,
            name: self.name,
            branes: branes.collect::<Result<_, _>>().map_err(|_| TokenError::Malformed)?,
            token: version_4(&self.jti)?,
            session: self.sid.as_deref().map(version_4).transpose()?,
            issued_s: self.iat,
            expires_s: self.exp,
        })
    }
}

/// The UUID of version 4 that a text is.
pub fn version_4(text: &str) -> Result<Uuid, TokenError> {
    let uuid = UserId::from_str(text).map_err(|_| TokenError::Malformed)?.uuid();
    let is_v4 = uuid.get_version_num() == 4 && uuid.get_variant() == Variant::RFC4122;
    if is_v4 { Ok(uuid) } else { Err(TokenError::Malformed) }
}
