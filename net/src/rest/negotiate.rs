//! Which form a body has: CBOR, or JSON where a header names it.

use std::cmp::Reverse;

use avvy_model::Code;
use avvy_protocol::rest::Format;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::Failure;

/// What the form of an answer goes by, and whether it is packed, for those who
/// keep answers (RFC 9110, section 12.5.5).
pub(super) const VARY: HeaderValue =
    HeaderValue::from_static("accept, content-type, accept-encoding");

/// The form of the request's body. CBOR when nothing is said.
///
/// # Errors
/// 415 `unsupported_media_type`.
pub(super) fn body_format(headers: &HeaderMap) -> Result<Format, Failure> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Format::Cbor) };
    let text = value.to_str().unwrap_or_default();
    Format::from_media_type(text).ok_or_else(|| {
        Failure::new(Code::UnsupportedMediaType)
            .details("Content-Type: application/cbor or application/json")
    })
}

/// The form of the answer: what `Accept` weighs highest (RFC 9110, section
/// 12.5.1); where it says nothing or weighs both alike, that of the request's
/// body, else CBOR. A form that is named goes before one that `*/*` allows.
///
/// # Errors
/// 406 `unsupported_media_type` when it allows neither.
pub(super) fn answer_format(headers: &HeaderMap) -> Result<Format, Failure> {
    let usual = body_format(headers).unwrap_or_default();
    let ranges: Vec<Range> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(Range::parse)
        .collect();
    if ranges.is_empty() {
        return Ok(usual);
    }
    [Format::Cbor, Format::Json]
        .into_iter()
        .filter_map(|format| {
            let range = ranges.iter().filter(|range| range.allows(format));
            // The most specific range decides, whatever the others say.
            let range = range.max_by_key(|range| (range.specific(), Reverse(range.weight)))?;
            (range.weight > 0).then_some((range.weight, range.specific(), format == usual, format))
        })
        .max_by_key(|(weight, specific, is_usual, _)| (*weight, *specific, *is_usual))
        .map(|(.., format)| format)
        .ok_or_else(|| {
            Failure::new(Code::UnsupportedMediaType)
                .status(StatusCode::NOT_ACCEPTABLE)
                .details("Accept: application/cbor or application/json")
        })
}

/// One element of `Accept`.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// In thousandths.
    weight: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let weight = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .map_or(1_000, |(_, value)| thousandths(value.trim()));
        Some(Self { kind, subtype, weight })
    }

    fn allows(&self, format: Format) -> bool {
        let (kind, subtype) = format.media_type().split_once('/').unwrap_or_default();
        (self.kind == "*" && self.subtype == "*")
            || (self.kind.eq_ignore_ascii_case(kind)
                && (self.subtype == "*" || self.subtype.eq_ignore_ascii_case(subtype)))
    }

    fn specific(&self) -> u8 {
        u8::from(self.kind != "*") + u8::from(self.subtype != "*")
    }
}

/// `0`, `0.5`, `1.000`; what is no weight counts as none given.
fn thousandths(text: &str) -> u16 {
    match text.parse::<f32>() {
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1_000.0) as u16,
        _ => 1_000,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
        pairs.collect()
    }

    #[test]
    fn answers_in_the_form_asked_for() {
        use Format::{Cbor, Json};
        let cases = [
            ("*/*", Some(Cbor)),
            ("application/cbor", Some(Cbor)),
            ("application/json", Some(Json)),
            ("APPLICATION/JSON;charset=utf-8", Some(Json)),
            ("application/*", Some(Cbor)),
            ("application/json, text/plain, */*", Some(Json)),
            ("text/html, */*;q=0.8", Some(Cbor)),
            ("application/cbor;q=0.5, application/json", Some(Json)),
            ("application/cbor, application/json", Some(Cbor)),
            ("application/json;q=0, */*", Some(Cbor)),
            ("application/cbor;q=0, */*;q=0.1", Some(Json)),
            ("*/*;q=high", Some(Cbor)),
            ("", Some(Cbor)),
            ("nonsense", Some(Cbor)),
            ("text/html", None),
            ("text/*, image/png", None),
            ("*/*;q=0", None),
            ("application/json;q=0", None),
        ];
        for (accept, expected) in cases {
            let found = answer_format(&headers(&[(header::ACCEPT, accept)]));
            assert_eq!(found.ok(), expected, "{accept:?}");
        }
    }

    #[test]
    fn answers_json_to_json() {
        let json = (header::CONTENT_TYPE, "application/json");
        assert_eq!(answer_format(&headers(std::slice::from_ref(&json))).unwrap(), Format::Json);
        let any = headers(&[json.clone(), (header::ACCEPT, "*/*")]);
        assert_eq!(answer_format(&any).unwrap(), Format::Json);
        let cbor = headers(&[json, (header::ACCEPT, "application/cbor")]);
        assert_eq!(answer_format(&cbor).unwrap(), Format::Cbor);
    }

    #[test]
    fn reads_every_line_of_accept() {
        let lines = [(header::ACCEPT, "text/html"), (header::ACCEPT, "application/json")];
        assert_eq!(answer_format(&headers(&lines)).unwrap(), Format::Json);
    }

    #[test]
    fn says_406_and_415() {
        let refused = answer_format(&headers(&[(header::ACCEPT, "image/png")])).unwrap_err();
        assert_eq!(refused.http_status(), StatusCode::NOT_ACCEPTABLE);
        for text in ["text/plain", "application/x-www-form-urlencoded", ""] {
            let refused = body_format(&headers(&[(header::CONTENT_TYPE, text)])).unwrap_err();
            assert_eq!(refused.http_status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{text:?}");
        }
    }

    #[test]
    fn takes_cbor_when_nothing_is_said() {
        assert_eq!(body_format(&HeaderMap::new()).unwrap(), Format::Cbor);
        assert_eq!(answer_format(&HeaderMap::new()).unwrap(), Format::Cbor);
    }
}
