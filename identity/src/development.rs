//! Signing in on a machine of one's own: by a name, and nothing else.

use crate::ways::Way;
use crate::{Asker, Identity, IdentityError, Tokens};

/// The longest such name, in bytes.
const MAX_NAME_BYTES: usize = 32;

impl Identity {
    /// Signs in as whoever is named so: the same user each time.
    ///
    /// # Errors
    /// `NotOffered` unless the server is one for development; `Malformed`,
    /// `TooManyNew`.
    pub async fn sign_in_for_development(
        &self,
        name: &str,
        asker: &Asker,
    ) -> Result<Tokens, IdentityError> {
        if !self.options().development {
            return Err(IdentityError::NotOffered);
        }
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(is_letter) {
            return Err(IdentityError::Malformed("name: 1 to 32 letters, digits, -, _ and ."));
        }
        let way = Way::Development(name.to_owned());
        let comer = self.comer(&way, asker).await?;
        self.sign_in(&way, name, comer, asker).await
    }
}
