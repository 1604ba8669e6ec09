//! Queries of addresses, and forms.

use std::fmt::Write;

/// Pairs as `application/x-www-form-urlencoded`.
pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{}={}", encoded(name), encoded(value));
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// An address with these pairs in its query, before its fragment.
pub(super) fn with_query(address: &str, pairs: &[(&str, &str)]) -> String {
    let (rest, fragment) = address.find('#').map_or((address, ""), |place| address.split_at(place));
    let mark = match rest.rsplit_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    format!("{rest}{mark}{}{fragment}", form(pairs))
}

/// As RFC 3986 has it: all but its unreserved letters as %XX. Each reader of
/// forms understands that, too.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            byte => write!(encoded, "%{byte:02X}").expect("a String takes all"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_place() {
        assert_eq!(form(&[("a b", "c&d=e"), ("é", "\r\n")]), "a%20b=c%26d%3De&%C3%A9=%0D%0A");
        let pairs = [("t", "x/y")];
        for (address, then) in [
            ("https://a/b", "https://a/b?t=x%2Fy"),
            ("https://a/b?", "https://a/b?t=x%2Fy"),
            ("https://a/b?c=d", "https://a/b?c=d&t=x%2Fy"),
            ("https://a/b?c=d#e?f", "https://a/b?c=d&t=x%2Fy#e?f"),
            ("https://a/#", "https://a/?t=x%2Fy#"),
        ] {
            assert_eq!(with_query(address, &pairs), then);
        }
    }
}
