//! Conditions on versions: `ETag`, `If-Match`, `If-None-Match` (RFC 9110,
//! sections 8.8.3 and 13).
//!
//! A tag is `"<version>.<form>"`, the version in hexadecimal, and ends in `.gz`
//! where the answer is packed: a strong tag names one sequence of bytes, and
//! each form of an answer is another. So is what an owner sees and others do
//! not: `"<version>.own.<form>"`. A change asks for the version alone, so any
//! tag of it will do.

use std::fmt::Write;

use avvy_model::Code;
use avvy_protocol::rest::Format;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{App, Failure};

/// The longest tag: sixteen digits, a dot, the longest form, and quotes.
const MAX_TAG_BYTES: usize = 27;

/// The most tags of one header.
const MAX_TAGS: usize = 16;

/// What a condition names.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Named {
    /// Any version, as long as there is one.
    Any,
    /// These tags.
    Tags(Vec<String>),
}

/// What weak tags are to a condition (RFC 9110, section 8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weak {
    Count,
    NameNothing,
}

/// What an answer shows. Of each thing, every one is other bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub(super) version: u64,
    /// Whether it is what the owner alone sees.
    pub(super) is_own: bool,
    pub(super) format: Format,
}

/// The tag of an answer.
pub(super) fn entity_tag(Seen { version, is_own, format }: Seen) -> HeaderValue {
    let form = match (is_own, format) {
        (false, Format::Cbor) => "cbor",
        (false, Format::Json) => "json",
        (true, Format::Cbor) => "own.cbor",
        (true, Format::Json) => "own.json",
    };
    let mut tag = String::with_capacity(MAX_TAG_BYTES);
    // Writing to a String cannot fail.
    let _ = write!(tag, "\"{version:x}.{form}\"");
    HeaderValue::try_from(tag).expect("hexadecimal digits and letters are a header's value")
}

/// The same of an answer that was packed.
pub(super) fn packed(tag: &HeaderValue) -> Option<HeaderValue> {
    let tag = tag.to_str().ok()?.strip_suffix('"')?;
    HeaderValue::try_from(format!("{tag}.gz\"")).ok()
}

/// The tag of an answer that `If-None-Match` names, packed or not: a cache goes
/// by it to what it has. `None`: it has to be sent.
pub(super) fn known(headers: &HeaderMap, seen: Seen) -> Option<HeaderValue> {
    let tag = entity_tag(seen);
    let plain = tag.to_str().unwrap_or_default().trim_matches('"');
    match named(headers, header::IF_NONE_MATCH, Weak::Count) {
        Ok(Some(Named::Any)) => Some(tag),
        // Packing changes no meaning, and neither does a proxy that packs and
        // says so by a weak tag.
        Ok(Some(Named::Tags(tags))) if tags.iter().any(|known| known == plain) => Some(tag),
        Ok(Some(Named::Tags(tags))) => {
            let is_packed = |known: &String| known.strip_suffix(".gz") == Some(plain);
            if tags.iter().any(is_packed) { packed(&tag) } else { None }
        }
        // A condition that cannot be read spares nothing.
        Ok(None) | Err(_) => None,
    }
}

/// The condition of a change, if it has one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct IfMatch(Option<Named>);

/// The condition of a change that has to have one.
pub(super) struct MustMatch(pub(super) IfMatch);

impl IfMatch {
    /// Whether there is a condition.
    pub(super) const fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Holds the condition to the version that is there.
    ///
    /// # Errors
    /// `precondition_failed`.
    pub(super) fn check(&self, version: u64) -> Result<(), Failure> {
        let holds = match &self.0 {
            None | Some(Named::Any) => true,
            Some(Named::Tags(tags)) => tags.iter().any(|tag| version_of(tag) == Some(version)),
        };
        if holds { Ok(()) } else { Err(Code::PreconditionFailed.into()) }
    }
}

impl FromRequestParts<App> for IfMatch {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failure> {
        named(&parts.headers, header::IF_MATCH, Weak::NameNothing).map(Self)
    }
}

impl FromRequestParts<App> for MustMatch {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let condition = IfMatch::from_request_parts(parts, app).await?;
        match condition.0 {
            Some(_) => Ok(Self(condition)),
            None => Err(Code::PreconditionRequired.into()),
        }
    }
}

/// The version of a tag of ours.
fn version_of(tag: &str) -> Option<u64> {
    let digits = tag.split('.').next()?;
    let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex { u64::from_str_radix(digits, 16).ok() } else { None }
}

/// What a header names.
///
/// # Errors
/// `malformed` if it is no list of tags, or a long one.
fn named(headers: &HeaderMap, name: HeaderName, weak: Weak) -> Result<Option<Named>, Failure> {
    let malformed = || {
        let details = format!("{name}: * or at most {MAX_TAGS} entity tags");
        Failure::new(Code::Malformed).details(details)
    };
    let mut tags = Vec::new();
    let mut is_there = false;
    for line in headers.get_all(&name) {
        is_there = true;
        let line = line.to_str().map_err(|_| malformed())?.trim();
        if line == "*" {
            return Ok(Some(Named::Any));
        }
        for tag in line.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            let (is_weak, quoted) = match tag.strip_prefix("W/") {
                Some(quoted) => (true, quoted),
                None => (false, tag),
            };
            let opaque = quoted.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let opaque = opaque.filter(|tag| !tag.contains('"')).ok_or_else(malformed)?;
            if !is_weak || weak == Weak::Count {
                tags.push(opaque.to_owned());
            }
            if tags.len() > MAX_TAGS {
                return Err(malformed());
            }
        }
    }
    Ok(is_there.then_some(Named::Tags(tags)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        [(name, value.parse().unwrap())].into_iter().collect()
    }

    fn matches(value: &str, version: u64) -> Result<bool, Code> {
        let headers = headers(header::IF_MATCH, value);
        let named = named(&headers, header::IF_MATCH, Weak::NameNothing);
        let condition = IfMatch(named.map_err(|failure| failure.code())?);
        Ok(condition.check(version).is_ok())
    }

    #[test]
    fn a_change_goes_by_the_version_alone() {
        let cases = [
            ("*", true),
            ("\"2a.cbor\"", true),
            ("\"2a.json\"", true),
            ("\"2a.json.gz\"", true),
            ("\"2a.own.json\"", true),
            ("\"2b.json\", \"2a.cbor\"", true),
            ("\"2b.json\"", false),
            ("W/\"2a.json\"", false),
            ("\"\"", false),
            ("\"+2a\"", false),
            ("", false),
        ];
        for (value, holds) in cases {
            assert_eq!(matches(value, 42), Ok(holds), "{value}");
        }
        let many = vec!["\"1\""; MAX_TAGS + 1].join(",");
        for value in ["2a", "\"2a", "2a\"", "\"2\"a\"", &many] {
            assert_eq!(matches(value, 42), Err(Code::Malformed), "{value}");
        }
    }

    const JSON: Seen = Seen { version: 42, is_own: false, format: Format::Json };

    #[test]
    fn who_knows_an_answer_is_spared_that_one() {
        let (cbor, own) = (Seen { format: Format::Cbor, ..JSON }, Seen { is_own: true, ..JSON });
        let cases = [
            (JSON, "\"2a.json\"", Some("\"2a.json\"")),
            (JSON, "\"2a.json.gz\"", Some("\"2a.json.gz\"")),
            (JSON, "\"2a.json.gz\", \"2a.json\"", Some("\"2a.json\"")),
            (JSON, "W/\"2a.json\"", Some("\"2a.json\"")),
            (JSON, "\"2b.json\"", None),
            (JSON, "\"2a.own.json\"", None),
            (JSON, "nonsense", None),
            (cbor, "*", Some("\"2a.cbor\"")),
            (cbor, "\"2a.json\"", None),
            (own, "\"2a.own.json\"", Some("\"2a.own.json\"")),
            (own, "\"2a.json\"", None),
        ];
        for (seen, value, expected) in cases {
            let known = known(&headers(header::IF_NONE_MATCH, value), seen);
            assert_eq!(known.as_ref().map(HeaderValue::as_bytes), expected.map(str::as_bytes));
        }
        assert_eq!(known(&HeaderMap::new(), JSON), None);
    }

    #[test]
    fn a_packed_answer_has_a_tag_of_its_own() {
        let tag = entity_tag(JSON);
        assert_eq!(tag, "\"2a.json\"");
        assert_eq!(packed(&tag).unwrap(), "\"2a.json.gz\"");
    }
}
