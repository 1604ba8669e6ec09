//! What a provider says: bytes of others, read and held to what they may be.
//! Knows no network.

use serde::Deserialize;

use super::OidcError;

/// Bytes of the largest description of a provider, or answer with tokens.
pub(super) const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What stands for the tenant in the issuer of a provider with several.
const TENANT: &str = "{tenantid}";

/// Where a provider is asked, and how (OpenID Connect Discovery 1.0, section 3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    /// Its issuer, as its ID tokens say it.
    pub issuer: IssuerName,
    /// Where browsers are sent.
    pub authorization_endpoint: String,
    /// Where codes become tokens.
    pub token_endpoint: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// The secret goes into the form, not into a header.
    pub is_by_form: bool,
}

/// What is read of it. What is not known is passed over.
#[derive(Deserialize)]
struct Raw {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Description {
    /// Reads what the provider with this issuer says of itself; `has_tenants`:
    /// each of its tenants is an issuer.
    ///
    /// Browsers, codes and the server's secret go where this says, so all of it
    /// is encrypted; or, as the issuer itself is, on this machine, at the very
    /// place where the issuer is.
    ///
    /// # Errors
    /// `Provider`.
    pub fn read(bytes: &[u8], issuer: &str, has_tenants: bool) -> Result<Self, OidcError> {
        let says = |what: &str| OidcError::Provider(what.to_owned());
        let raw: Raw = serde_json::from_slice(bytes)
            .map_err(|_| says("what it says of itself is no description"))?;
        let name = match has_tenants {
            true => IssuerName::of_tenants(&raw.issuer, issuer),
            false => (raw.issuer == issuer).then(|| IssuerName::One(issuer.to_owned())),
        };
        let name = name.ok_or_else(|| says("says that it is another one"))?;
        let places = [&raw.authorization_endpoint, &raw.token_endpoint, &raw.jwks_uri];
        if !places.into_iter().all(|place| is_as_safe(place, issuer)) {
            return Err(says("is asked at a place that is not encrypted, or none"));
        }
        let methods = raw.token_endpoint_auth_methods_supported.unwrap_or_default();
        let has = |name: &str| methods.iter().any(|method| method == name);
        Ok(Self {
            issuer: name,
            authorization_endpoint: raw.authorization_endpoint,
            token_endpoint: raw.token_endpoint,
            jwks_uri: raw.jwks_uri,
            is_by_form: has("client_secret_post") && !has("client_secret_basic"),
        })
    }
}

/// Whether a place is `https`, or has scheme and authority of an issuer that is
/// not: the settings have such an issuer on this machine alone.
fn is_as_safe(place: &str, issuer: &str) -> bool {
    let Some((scheme, rest)) = place.split_once("://") else { return false };
    let authority = |rest: &str| rest.split(['/', '?', '#']).next().unwrap_or("").to_owned();
    let own = issuer.strip_prefix("http://").map(authority);
    let authority = authority(rest);
    let is_one = !authority.is_empty() && !authority.contains(['@', '\\']);
    let is_safe = scheme == "https" || (scheme == "http" && own.as_ref() == Some(&authority));
    is_one && is_safe && place.bytes().all(|byte| byte.is_ascii_graphic())
}

/// By what name a provider signs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IssuerName {
    /// Always this one.
    One(String),
    /// What comes before the tenant's id, and what after it.
    Tenants(String, String),
}

impl IssuerName {
    /// The name of a provider with tenants, where the settings name one of them,
    /// or all, in the place of the tenant.
    fn of_tenants(said: &str, issuer: &str) -> Option<Self> {
        let (before, after) = said.split_once(TENANT)?;
        let one = issuer.strip_prefix(before)?.strip_suffix(after)?;
        let is_one = !one.is_empty() && !one.contains('/') && before.ends_with('/');
        let is_whole = after.starts_with('/') && !after.contains(TENANT);
        (is_one && is_whole).then(|| Self::Tenants(before.to_owned(), after.to_owned()))
    }

    /// Whether an issuer is this one, or a tenant's of it.
    pub fn is(&self, issuer: &str) -> bool {
        match self {
            Self::One(one) => one == issuer,
            Self::Tenants(..) => self.tenant(issuer).is_some(),
        }
    }

    /// Whether a key that is said to be of one issuer, or of every tenant's, signs
    /// for another.
    pub(super) fn is_signed_by(&self, of: &str, issuer: &str) -> bool {
        match self {
            // A name of its own for each key is Microsoft's alone.
            Self::One(_) => true,
            Self::Tenants(before, after) => {
                of == issuer || of == format!("{before}{TENANT}{after}")
            }
        }
    }

    /// The tenant of an issuer, if this one has tenants and that is one: a UUID in
    /// its one form.
    pub fn tenant<'a>(&self, issuer: &'a str) -> Option<&'a str> {
        let Self::Tenants(before, after) = self else { return None };
        let tenant = issuer.strip_prefix(&**before)?.strip_suffix(&**after)?;
        let parsed = uuid::Uuid::try_parse(tenant).ok()?;
        (parsed.to_string() == tenant).then_some(tenant)
    }
}

/// The answer of a token endpoint (RFC 6749, section 5).
#[derive(Deserialize)]
struct TokenAnswer {
    id_token: Option<String>,
    error: Option<String>,
}

/// The ID token in the answer of a token endpoint.
///
/// # Errors
/// `Refused` when it says so; `Provider` when it says nothing that is understood.
pub fn id_token(status: u16, body: &[u8]) -> Result<String, OidcError> {
    let read: TokenAnswer = serde_json::from_slice(body)
        .map_err(|_| OidcError::Provider(format!("status {status}")))?;
    if let Some(error) = read.error {
        return Err(OidcError::Refused(short(&error)));
    }
    let token = read.id_token.filter(|_| status == 200);
    token.ok_or_else(|| OidcError::Provider("gives no ID token".to_owned()))
}

/// What a provider says, as far as it is told on.
pub(super) fn short(said: &str) -> String {
    said.chars().filter(|letter| letter.is_ascii_graphic()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT_A: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

    fn described(issuer: &str, token_endpoint: &str) -> Vec<u8> {
        let at = |path: &str| format!("https://id.example/{path}");
        let (authorize, keys) = (at("authorize"), at("keys"));
        format!(
            r#"{{"issuer":"{issuer}","authorization_endpoint":"{authorize}",
                "token_endpoint":"{token_endpoint}","jwks_uri":"{keys}","more":[1]}}"#
        )
        .into_bytes()
    }

    #[test]
    fn nothing_is_sent_where_others_can_read_it() {
        let read = |issuer: &str, place: &str| {
            Description::read(&described(issuer, place), issuer, false).is_ok()
        };
        let issuer = "https://id.example";
        assert!(read(issuer, "https://id.example/token"));
        assert!(read(issuer, "https://tokens.example:8443/t?x=y"), "Google has several hosts");
        for bad in [
            "",
            "/token",
            "http://id.example/token",
            "http://127.0.0.1:6379/",
            "http://localhost/",
            "https://",
            "https:///token",
            "https://id.example@evil.example/",
            "https://id.example\\\\@evil.example/",
            "javascript:alert(1)",
            "https://id.example/a b",
            "HTTPS://id.example/",
        ] {
            assert!(!read(issuer, bad), "{bad:?}");
        }
        let here = "http://127.0.0.1:4444";
        assert!(read(here, "http://127.0.0.1:4444/token") && read(here, "https://id.example/"));
        for bad in ["http://127.0.0.1:6379/", "http://127.0.0.1/", "http://127.0.0.1:4444@x/"] {
            assert!(!read(here, bad), "{bad:?}");
        }
    }

    #[test]
    fn a_provider_is_who_the_settings_say() {
        let place = "https://id.example/token";
        let said = described("https://other.example", place);
        assert!(Description::read(&said, "https://id.example", false).is_err());
        for bad in [&b""[..], b"[]", b"{}", b"null", &[b'['; 10_000]] {
            assert!(Description::read(bad, "https://id.example", false).is_err());
        }
    }

    #[test]
    fn a_tenant_is_one_of_the_provider() {
        let said = "https://login.example/{tenantid}/v2.0";
        let name = |said: &str, issuer: &str| {
            let read = Description::read(&described(said, "https://x.example/"), issuer, true);
            read.ok().map(|read| read.issuer)
        };
        let all = name(said, "https://login.example/organizations/v2.0")
            .unwrap_or_else(|| panic!("it is read"));
        let of = |tenant: &str| format!("https://login.example/{tenant}/v2.0");
        assert_eq!(all.tenant(&of(TENANT_A)), Some(TENANT_A));
        let upper = TENANT_A.to_uppercase();
        for bad in ["", "organizations", "{tenantid}", &upper, &format!("{TENANT_A}/x"), "a/../b"] {
            assert!(all.tenant(&of(bad)).is_none() && !all.is(&of(bad)), "{bad:?}");
        }
        assert!(!all.is(&format!("https://evil.example/{TENANT_A}/v2.0")));
        for (said, issuer) in [
            ("https://login.example/v2.0", "https://login.example/v2.0"),
            (said, "https://login.example/a/b/v2.0"),
            (said, "https://login.example/v2.0"),
            (said, "https://evil.example/organizations/v2.0"),
            ("https://{tenantid}/v2.0", "https://evil/v2.0x"),
            ("{tenantid}", "https://login.example/organizations/v2.0"),
            ("https://login.example/{tenantid}{tenantid}/v2.0", "https://login.example/ab/v2.0"),
        ] {
            assert_eq!(name(said, issuer), None, "{said} {issuer}");
        }
        // The settings name no tenants: the template is another issuer.
        let read = Description::read(&described(said, "https://x.example/"), said, false);
        assert!(read.is_ok_and(|read| !read.issuer.is(&of(TENANT_A))));
    }

    #[test]
    fn an_answer_has_a_token_or_a_reason() {
        let ok = |body: &str| id_token(200, body.as_bytes());
        assert_eq!(ok(r#"{"id_token":"a.b.c","x":1}"#), Ok("a.b.c".to_owned()));
        let refused = ok("{\"error\":\"invalid\\r\\ngrant\",\"id_token\":\"a\"}");
        assert_eq!(refused, Err(OidcError::Refused("invalidgrant".to_owned())));
        assert!(id_token(302, br#"{"id_token":"a.b.c"}"#).is_err(), "nobody is followed");
        for bad in ["", "{}", "[]", r#"{"id_token":1}"#, r#"{"id_token":"a","id_token":"b"}"#] {
            assert!(matches!(ok(bad), Err(OidcError::Provider(_))), "{bad}");
        }
    }
}
