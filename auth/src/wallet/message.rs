//! The message that a wallet signs: EIP-4361, Sign-In with Ethereum.
//!
//! One text has one meaning and one meaning one text: what is read is written
//! as it was. So of what the EIP's grammar allows, two things are refused: a
//! chain id with zeros in front, and an address that is not in the capitals of
//! EIP-55, as the EIP asks of accounts with a key.

use std::fmt;
use std::str::Split;

use super::uri::{is_authority, is_pchars, is_scheme, is_statement, is_uri};
use super::{Address, Timestamp};

/// Bytes of the longest message that is looked at.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024;

/// What ends the first line.
const WANTS: &str = " wants you to sign in with your Ethereum account:";

/// Why a text is not such a message, or a message cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageError {
    /// Longer than [`MAX_MESSAGE_BYTES`].
    #[error("the message is too long")]
    TooLong,
    /// A line is missing, is there twice, or is not in its place.
    #[error("the message has not the lines of EIP-4361 in their order")]
    Lines,
    /// The first line names no scheme or authority of RFC 3986.
    #[error("the message is not for an authority of RFC 3986")]
    Domain,
    /// No account in the spelling of EIP-55.
    #[error("the address is not in the spelling of EIP-55")]
    Address,
    /// A character that a statement may not have.
    #[error("the statement has a character that it may not have")]
    Statement,
    /// A URI or a resource is none of RFC 3986.
    #[error("a URI is not one of RFC 3986")]
    Uri,
    /// Not version 1.
    #[error("the version is not 1")]
    Version,
    /// Not a number of 64 bits in its shortest form.
    #[error("the chain id is not a number")]
    ChainId,
    /// Not eight letters and digits or more.
    #[error("the nonce is not eight letters and digits or more")]
    Nonce,
    /// A time is none of RFC 3339.
    #[error("a time is not one of RFC 3339")]
    Time,
    /// A character that a request id may not have.
    #[error("the request id has a character that it may not have")]
    RequestId,
}

/// What a message says. To be signed it becomes a [`SignInMessage`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageParts {
    /// The scheme of the site that asks; without: https.
    pub scheme: Option<String>,
    /// The authority of the site that asks: host, and port if it is not the
    /// scheme's own.
    pub domain: String,
    /// The account that signs.
    pub address: Address,
    /// What the person reads.
    pub statement: Option<String>,
    /// What it is about.
    pub uri: String,
    /// The chain (EIP-155).
    pub chain_id: u64,
    /// Eight letters and digits or more, never used before.
    pub nonce: String,
    /// When it was made.
    pub issued_at: Timestamp,
    /// From when on it counts no more.
    pub expiration_time: Option<Timestamp>,
    /// From when on it counts.
    pub not_before: Option<Timestamp>,
    /// Names the request.
    pub request_id: Option<String>,
    /// What else it is about.
    pub resources: Option<Vec<String>>,
}

impl MessageParts {
    /// The message that says this.
    ///
    /// # Errors
    /// When a part is not of its form.
    pub fn build(self) -> Result<SignInMessage, MessageError> {
        let message = SignInMessage::parse(self.to_string())?;
        // A line break within a part would have made others of them.
        if message.parts == self { Ok(message) } else { Err(MessageError::Lines) }
    }
}

impl fmt::Display for MessageParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}://")?;
        }
        write!(f, "{}{WANTS}\n{}\n\n", self.domain, self.address)?;
        if let Some(statement) = &self.statement {
            writeln!(f, "{statement}")?;
        }
        write!(f, "\nURI: {}\nVersion: 1\nChain ID: {}", self.uri, self.chain_id)?;
        write!(f, "\nNonce: {}\nIssued At: {}", self.nonce, self.issued_at)?;
        if let Some(time) = &self.expiration_time {
            write!(f, "\nExpiration Time: {time}")?;
        }
        if let Some(time) = &self.not_before {
            write!(f, "\nNot Before: {time}")?;
        }
        if let Some(id) = &self.request_id {
            write!(f, "\nRequest ID: {id}")?;
        }
        if let Some(resources) = &self.resources {
            f.write_str("\nResources:")?;
            resources.iter().try_for_each(|uri| write!(f, "\n- {uri}"))?;
        }
        Ok(())
    }
}

/// A well-formed message; nothing of it is judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignInMessage {
    text: String,
    parts: MessageParts,
}

impl SignInMessage {
    /// Reads a message.
    ///
    /// # Errors
    /// The first [`MessageError`] that is found.
    pub fn parse(text: impl Into<String>) -> Result<Self, MessageError> {
        let text = text.into();
        if text.len() > MAX_MESSAGE_BYTES {
            return Err(MessageError::TooLong);
        }
        let parts = Lines::new(&text).parts()?;
        Ok(Self { text, parts })
    }

    /// What is signed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it says.
    pub const fn parts(&self) -> &MessageParts {
        &self.parts
    }
}

/// The lines of a text, one after the other.
struct Lines<'a> {
    next: Option<&'a str>,
    rest: Split<'a, char>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let mut rest = text.split('\n');
        Self { next: rest.next(), rest }
    }

    fn take(&mut self) -> Result<&'a str, MessageError> {
        let line = self.next.ok_or(MessageError::Lines)?;
        self.next = self.rest.next();
        Ok(line)
    }

    /// The line that comes now if it begins so, without its beginning.
    fn take_if(&mut self, name: &str) -> Option<&'a str> {
        let said = self.next?.strip_prefix(name)?;
        self.next = self.rest.next();
        Some(said)
    }

    fn field(&mut self, name: &str) -> Result<&'a str, MessageError> {
        self.take_if(name).ok_or(MessageError::Lines)
    }

    fn blank(&mut self) -> Result<(), MessageError> {
        if self.take()?.is_empty() { Ok(()) } else { Err(MessageError::Lines) }
    }

    fn parts(mut self) -> Result<MessageParts, MessageError> {
        let (scheme, domain) = self.site()?;
        let address = self.take()?.parse().map_err(|_| MessageError::Address)?;
        self.blank()?;
        let statement = self.statement()?;
        let uri = checked(self.field("URI: ")?, is_uri, MessageError::Uri)?;
        if self.field("Version: ")? != "1" {
            return Err(MessageError::Version);
        }
        let chain_id = chain_id(self.field("Chain ID: ")?)?;
        let nonce = checked(self.field("Nonce: ")?, is_nonce, MessageError::Nonce)?;
        let issued_at = time(self.field("Issued At: ")?)?;
        let expiration_time = self.take_if("Expiration Time: ").map(time).transpose()?;
        let not_before = self.take_if("Not Before: ").map(time).transpose()?;
        let request_id = self.take_if("Request ID: ");
        let request_id =
            request_id.map(|id| checked(id, is_pchars, MessageError::RequestId)).transpose()?;
        let resources = self.resources()?;
        if self.next.is_some() {
            return Err(MessageError::Lines);
        }
        Ok(MessageParts {
            scheme,
            domain,
            address,
            statement,
            uri,
            chain_id,
            nonce,
            issued_at,
            expiration_time,
            not_before,
            request_id,
            resources,
        })
    }

    /// The first line. Nobody asks from an authority without a name, though
    /// the grammar has it.
    fn site(&mut self) -> Result<(Option<String>, String), MessageError> {
        let site = self.take()?.strip_suffix(WANTS).ok_or(MessageError::Lines)?;
        let (scheme, domain) = match site.split_once("://") {
            Some((scheme, domain)) => (Some(scheme), domain),
            None => (None, site),
        };
        let is_good = scheme.is_none_or(is_scheme) && !domain.is_empty() && is_authority(domain);
        if is_good {
            Ok((scheme.map(str::to_owned), domain.to_owned()))
        } else {
            Err(MessageError::Domain)
        }
    }

    /// One blank line without a statement; with one, that and a blank line.
    fn statement(&mut self) -> Result<Option<String>, MessageError> {
        let line = self.take()?;
        if line.is_empty() && self.next.is_none_or(|next| !next.is_empty()) {
            return Ok(None);
        }
        let statement = checked(line, is_statement, MessageError::Statement)?;
        self.blank()?;
        Ok(Some(statement))
    }

    fn resources(&mut self) -> Result<Option<Vec<String>>, MessageError> {
        match self.take_if("Resources:") {
            None => return Ok(None),
            Some("") => {}
            Some(_) => return Err(MessageError::Lines),
        }
        let mut resources = Vec::new();
        while let Some(uri) = self.take_if("- ") {
            resources.push(checked(uri, is_uri, MessageError::Uri)?);
        }
        Ok(Some(resources))
    }
}

fn checked(
    text: &str,
    is_good: impl Fn(&str) -> bool,
    error: MessageError,
) -> Result<String, MessageError> {
    if is_good(text) { Ok(text.to_owned()) } else { Err(error) }
}

fn is_nonce(text: &str) -> bool {
    text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn chain_id(text: &str) -> Result<u64, MessageError> {
    let number = text.parse::<u64>().map_err(|_| MessageError::ChainId)?;
    if number.to_string() == text { Ok(number) } else { Err(MessageError::ChainId) }
}

fn time(text: &str) -> Result<Timestamp, MessageError> {
    text.parse().map_err(|_| MessageError::Time)
}
