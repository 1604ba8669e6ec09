//! What of RFC 3986 a message to sign is made of. Whether a text is of a form;
//! nothing is resolved or normalised.

// Addresses alone: `core` knows no sockets.
use core::net::Ipv6Addr;

/// `scheme`, section 3.1.
pub fn is_scheme(text: &str) -> bool {
    let is_later = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(is_later)
}

/// `authority`, section 3.2: `[ userinfo "@" ] host [ ":" port ]`.
pub fn is_authority(text: &str) -> bool {
    let (userinfo, rest) = match text.split_once('@') {
        Some((userinfo, rest)) => (Some(userinfo), rest),
        None => (None, text),
    };
    if !userinfo.is_none_or(|userinfo| is_made_of(userinfo, |byte| is_name(byte) || byte == b':')) {
        return false;
    }
    let (is_host, port) = match rest.strip_prefix('[') {
        Some(literal) => match literal.split_once(']') {
            Some((literal, port)) => (is_ip_literal(literal), port),
            None => return false,
        },
        None => {
            let (host, port) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
            // An IPv4 address is a name, too.
            (is_made_of(host, is_name), port)
        }
    };
    let is_port = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    is_host && is_port
}

/// `URI`, section 3: with a scheme, and all that may follow.
pub fn is_uri(text: &str) -> bool {
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    let Some((scheme, hier)) = text.split_once(':') else { return false };
    let (authority, path) = match hier.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", hier),
    };
    let is_tail = |byte| is_pchar(byte) || matches!(byte, b'/' | b'?');
    is_scheme(scheme)
        && is_authority(authority)
        && is_made_of(path, |byte| is_pchar(byte) || byte == b'/')
        && is_made_of(query, is_tail)
        && is_made_of(fragment, is_tail)
}

/// `*pchar`, section 3.3.
pub fn is_pchars(text: &str) -> bool {
    is_made_of(text, is_pchar)
}

/// `*( reserved / unreserved / " " )`, section 2: a statement. No `%`, as
/// nothing is encoded there.
pub fn is_statement(text: &str) -> bool {
    let is_of_it = |byte| is_pchar(byte) || matches!(byte, b'/' | b'?' | b'#' | b'[' | b']' | b' ');
    text.bytes().all(is_of_it)
}

/// What is between the brackets of `IP-literal`.
fn is_ip_literal(text: &str) -> bool {
    match text.strip_prefix(['v', 'V']) {
        None => text.parse::<Ipv6Addr>().is_ok(),
        Some(future) => future.split_once('.').is_some_and(|(version, address)| {
            let is_version = version.bytes().all(|byte| byte.is_ascii_hexdigit());
            let is_address = |byte: u8| byte == b':' || is_name(byte);
            is_version
                && !version.is_empty()
                && !address.is_empty()
                && address.bytes().all(is_address)
        }),
    }
}

/// Whether all of it is of a set, or `pct-encoded`.
fn is_made_of(text: &str, is_of_it: impl Fn(u8) -> bool) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let is_digit = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
        let is_good = match byte {
            b'%' => is_digit(bytes.next()) && is_digit(bytes.next()),
            other => is_of_it(other),
        };
        if !is_good {
            return false;
        }
    }
    true
}

/// `unreserved / sub-delims`: what a name is made of.
const fn is_name(byte: u8) -> bool {
    matches!(
        byte,
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~'
            | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
    )
}

const fn is_pchar(byte: u8) -> bool {
    is_name(byte) || matches!(byte, b':' | b'@')
}

#[cfg(test)]
mod tests {
    use super::*;

    const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

    /// `valid_chars.json` and `invalid_chars.json` of the `siwe` test vectors
    /// (spruceid/siwe, MIT or Apache-2.0).
    #[test]
    fn takes_and_refuses_the_characters_of_the_published_vectors() {
        let name = format!("{LETTERS}-._~!$&'()*+,;=");
        let encoded = format!("{name}%00%ff%FF%0a%0A%20");
        assert!(is_scheme(&format!("{LETTERS}+-.")));
        assert!(is_statement(&format!(":/?#[]@!$&'()*+,;= {LETTERS}-._~")));
        assert!(is_authority(&format!("{encoded}:@host")));
        assert!(is_authority(&format!("[v123.{name}:]")));
        assert!(is_authority(&encoded));
        assert!(is_pchars(&format!("{encoded}:@")));
        assert!(is_uri(&format!("a:b#{encoded}:@/?")));
        for other in [" a", "a:", "a#", "a?", "a@", "a!", "a~", "", "1a"] {
            assert!(!is_scheme(other), "{other}");
        }
        for other in "`<>{|}\"\\^%\n\r\té".chars() {
            assert!(!is_statement(&other.to_string()), "{other}");
        }
        for other in "/#?[]@".chars() {
            assert!(!is_authority(&format!("a{other}b@host")), "userinfo {other}");
            assert!(!is_authority(&format!("[v1.{other}]")), "future {other}");
        }
        for other in "/#?[]".chars() {
            assert!(!is_authority(&format!("a{other}b")), "name {other}");
        }
        for other in "^`|?#[".chars().chain(['%']) {
            assert!(!is_pchars(&other.to_string()), "{other}");
        }
        for other in "#[".chars() {
            assert!(!is_uri(&format!("a:b#{other}")), "fragment {other}");
        }
    }

    #[test]
    fn takes_the_examples_of_rfc_3986() {
        let examples = [
            "ftp://ftp.is.co.za/rfc/rfc1808.txt",
            "http://www.ietf.org/rfc/rfc2396.txt",
            "ldap://[2001:db8::7]/c=GB?objectClass?one",
            "mailto:John.Doe@example.com",
            "news:comp.infosystems.www.servers.unix",
            "tel:+1-816-555-1212",
            "telnet://192.0.2.16:80/",
            "urn:oasis:names:specification:docbook:dtd:xml:4.1.2",
            "foo://example.com:8042/over/there?name=ferret#nose",
            "file:///etc/hosts",
            "a:",
            "a:/b",
        ];
        for uri in examples {
            assert!(is_uri(uri), "{uri}");
        }
    }

    #[test]
    fn refuses_what_is_no_uri() {
        let cases = [
            "",
            "a",
            "//host/path",
            "/path",
            "://host",
            "1a:b",
            "a:b c",
            "a:%2",
            "a:%zz",
            "a:b\n",
            "a:é",
            "a://ho st",
            "a://h:8x/",
            "a://[::1",
            "a://[::g]",
            "a://[1:2:3:4:5:6:7:8::]",
            "a://::1/",
            "a://u@v@h/",
            "_not_a_rfc3986_valid_uri_",
            "a:b<c>",
            "a:\"b\"",
            "a:b\\c",
        ];
        for uri in cases {
            assert!(!is_uri(uri), "{uri}");
        }
        for authority in ["h:80:80", "[::1]x", "[v.a]", "[v1.]", "[vg.a]", "a b", "h/"] {
            assert!(!is_authority(authority), "{authority}");
        }
        for authority in ["h", "h:", "h:80", "[::1]:80", "u:p@h:1", "1.2.3.4", "1.1.1.256"] {
            assert!(is_authority(authority), "{authority}");
        }
    }
}
