//! The id under which a request is found in the log.

use avvy_model::TraceId;
use axum::http::{HeaderMap, HeaderName};
use uuid::Uuid;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The trace id of the `traceparent` header (W3C Trace Context, level 1,
/// section 3.2) if it is well-formed, else a new one.
pub(super) fn trace_of(headers: &HeaderMap) -> TraceId {
    headers
        .get(TRACEPARENT)
        .and_then(|value| traceparent(value.as_bytes()))
        .unwrap_or_else(|| TraceId::new(Uuid::new_v4()))
}

/// `version "-" trace-id "-" parent-id "-" flags`, in lower-case hex digits.
/// A later version than 00 may go on after another dash.
fn traceparent(value: &[u8]) -> Option<TraceId> {
    let (known, more) = value.split_at_checked(55)?;
    let mut parts = known.split(|byte| *byte == b'-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let (parent, flags) = (parts.next()?, parts.next()?);
    let lengths = [version.len(), trace.len(), parent.len(), flags.len()];
    let all_hex = [version, trace, parent, flags].into_iter().flatten().all(is_lower_hex);
    if lengths != [2, 32, 16, 2] || parts.next().is_some() || !all_hex || version == b"ff" {
        return None;
    }
    let may_go_on = version != b"00" && more.first() == Some(&b'-');
    let is_zero = |id: &[u8]| id.iter().all(|byte| *byte == b'0');
    if !(more.is_empty() || may_go_on) || is_zero(trace) || is_zero(parent) {
        return None;
    }
    let digits = std::str::from_utf8(trace).ok()?;
    u128::from_str_radix(digits, 16).ok().map(|id| TraceId::new(Uuid::from_u128(id)))
}

fn is_lower_hex(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn takes_the_example_of_the_standard() {
        let id = traceparent(GOOD.as_bytes()).unwrap();
        assert_eq!(id.to_string(), "0af76519-16cd-43dd-8448-eb211c80319c");
        let later = format!("cc{}-what-will-be", &GOOD[2..]);
        assert_eq!(traceparent(later.as_bytes()), Some(id));
    }

    #[test]
    fn passes_over_what_is_not_well_formed() {
        let zeros = "0".repeat(32);
        let cases = [
            String::new(),
            "00".to_owned(),
            GOOD.to_uppercase(),
            GOOD[..54].to_owned(),
            format!("{GOOD}-00"),
            format!("{GOOD}0"),
            format!("ff{}", &GOOD[2..]),
            format!("00-{zeros}-b7ad6b7169203331-01"),
            format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", &zeros[..16]),
            "00-0af7651916cd43dd8448eb211c80319cb7ad6b7169203331--01x".to_owned(),
            "-".repeat(55),
            "ä".repeat(30),
        ];
        for case in cases {
            assert_eq!(traceparent(case.as_bytes()), None, "{case}");
        }
    }

    #[test]
    fn draws_one_where_there_is_none() {
        let headers = HeaderMap::new();
        assert_ne!(trace_of(&headers), trace_of(&headers));
    }
}
