//! The `Authorization` header.

use crate::TokenError;

/// Takes the token out of an `Authorization` header's value (RFC 6750,
/// section 2.1; the scheme's name in any case, as RFC 9110 has it).
///
/// # Errors
/// [`TokenError::NotBearer`] for any other scheme, for an empty token and for
/// bytes that a token cannot hold.
pub fn bearer(value: &[u8]) -> Result<&str, TokenError> {
    const SCHEME: &[u8] = b"bearer ";
    let (scheme, rest) = value.split_at_checked(SCHEME.len()).ok_or(TokenError::NotBearer)?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(TokenError::NotBearer);
    }
    let token = rest.trim_ascii();
    // Of all bytes, whatever was found: so several are looked at in one step.
    let is_token = token.iter().fold(true, |is_token, byte| is_token & is_token68(*byte));
    if token.is_empty() || !is_token {
        return Err(TokenError::NotBearer);
    }
    std::str::from_utf8(token).map_err(|_| TokenError::NotBearer)
}

const fn is_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_token_out() {
        assert_eq!(bearer(b"Bearer a.b-_.c"), Ok("a.b-_.c"));
        assert_eq!(bearer(b"bEARER  a.b.c "), Ok("a.b.c"));
    }

    #[test]
    fn refuses_what_is_no_bearer_token() {
        let cases: [&[u8]; 8] = [
            b"",
            b"Bearer",
            b"Bearer ",
            b"Bearer    ",
            b"Basic YTpi",
            b"Bearer a b",
            b"Bearer a\xff",
            b"Bearera.b.c",
        ];
        for case in cases {
            assert_eq!(bearer(case), Err(TokenError::NotBearer), "{case:?}");
        }
    }
}
