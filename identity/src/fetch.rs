//! What is asked of other servers. Whoever puts the parts together brings the
//! client; here it is known what is asked and how much of an answer is read.

use avvy_persistence::BoxFuture;

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(pub String);

/// A request to another server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchRequest {
    /// Where to: `https`, or `http` on this machine.
    pub url: String,
    /// With it the request is a POST of a form (`application/x-www-form-urlencoded`).
    pub form: Option<String>,
    /// The value of `Authorization`, if there is one. Secret.
    pub authorization: Option<String>,
    /// The most bytes of the answer.
    pub max_bytes: usize,
}

impl FetchRequest {
    pub(crate) fn get(url: &str, max_bytes: usize) -> Self {
        Self { url: url.to_owned(), form: None, authorization: None, max_bytes }
    }
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

/// Asks other servers.
pub trait Fetch: Send + Sync + 'static {
    /// Asks once, within a time that the client knows. Redirects are not
    /// followed: whoever is asked is whom the settings name.
    ///
    /// # Errors
    /// When no whole answer came in time, or it is longer than it may be.
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, FetchError>>;
}

/// The body of an answer of status 200.
pub(crate) fn good(fetched: Fetched) -> Result<Vec<u8>, FetchError> {
    match fetched.status {
        200 => Ok(fetched.body),
        status => Err(FetchError(format!("it is answered with status {status}"))),
    }
}
