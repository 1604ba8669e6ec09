//! What the driver's errors mean to a store.
//!
//! Its own texts are never passed on: they may hold the address, and with it a
//! password, or what was to be stored.

use mongodb::error::{Error, ErrorKind, TRANSIENT_TRANSACTION_ERROR, WriteFailure};

use crate::error::{Place, StoreError};

/// Why a piece of work was not done.
pub(super) enum Failure {
    /// The driver or the server says so.
    Driver(Error),
    /// The store says so.
    Store(StoreError),
    /// What was read is not what is there any more: read and judge again.
    Again,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Driver(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Failure {
    /// Whether the same work may go well at once.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Driver(error) => error.contains_label(TRANSIENT_TRANSACTION_ERROR),
            Self::Store(_) => false,
            Self::Again => true,
        }
    }

    /// The store's word for it.
    pub(super) fn told(self) -> StoreError {
        match self {
            Self::Driver(error) => translate(&error),
            Self::Store(error) => error,
            Self::Again => StoreError::Io("mongodb: others changed it all the time".into()),
        }
    }
}

/// `MaxTimeMSExpired`, `ExceededTimeLimit`, `NetworkInterfaceExceededTimeLimit`.
const TIME_IS_OVER: [i32; 3] = [50, 262, 202];
/// `OutOfDiskSpace`.
const NO_ROOM: i32 = 14_031;
/// `DuplicateKey`.
const DUPLICATE: i32 = 11_000;

/// Whether the server had no time for it.
pub(super) fn is_too_late(failure: &Failure) -> bool {
    let Failure::Driver(error) = failure else { return false };
    code(error).is_some_and(|(code, _)| TIME_IS_OVER.contains(&code))
}

/// Whether a document with this key is there already.
pub(super) fn is_duplicate(error: &Error) -> bool {
    match error.kind.as_ref() {
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE,
        ErrorKind::InsertMany(_) => duplicate_at(error).is_some(),
        _ => code(error).is_some_and(|(code, _)| code == DUPLICATE),
    }
}

/// Which document of an insertion has a key that is there already.
pub(super) fn duplicate_at(error: &Error) -> Option<usize> {
    let ErrorKind::InsertMany(error) = error.kind.as_ref() else { return None };
    let errors = error.write_errors.iter().flatten();
    errors.filter(|error| error.code == DUPLICATE).map(|error| error.index).next()
}

/// Translates an error.
pub(super) fn translate(error: &Error) -> StoreError {
    let io = |what: &str| StoreError::Io(format!("mongodb: {what}"));
    if let Some((code, name)) = code(error) {
        return match code {
            NO_ROOM => StoreError::Full("mongodb".into()),
            code => io(&format!("the server answered {code} ({name})")),
        };
    }
    match error.kind.as_ref() {
        ErrorKind::Authentication { .. } => io("the server does not let us in"),
        ErrorKind::Io(_) => io("the connection broke"),
        ErrorKind::ConnectionPoolCleared { .. } => io("the connections were given up"),
        ErrorKind::ServerSelection { .. } => io("no primary can be reached"),
        ErrorKind::DnsResolve { .. } => io("the name of a server cannot be resolved"),
        ErrorKind::IncompatibleServer { .. } => io("the server is too old"),
        ErrorKind::InvalidTlsConfig { .. } => io("TLS cannot be used as it is set up"),
        ErrorKind::InvalidArgument { .. } => StoreError::Invalid("MongoDB's driver refuses it"),
        ErrorKind::Bson(_)
        | ErrorKind::BsonDeserialization(_)
        | ErrorKind::InvalidResponse { .. } => {
            let place = Place::File("mongodb".into());
            StoreError::Damaged { place, why: "what the server sent cannot be read".into() }
        }
        _ => io("the driver failed"),
    }
}

/// The server's code, and the name of it, which is a word of the server's own.
fn code(error: &Error) -> Option<(i32, String)> {
    match error.kind.as_ref() {
        ErrorKind::Command(error) => Some((error.code, error.code_name.clone())),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => {
            Some((error.code, error.code_name.clone()))
        }
        ErrorKind::Write(WriteFailure::WriteError(error)) => {
            Some((error.code, error.code_name.clone().unwrap_or_default()))
        }
        ErrorKind::InsertMany(error) => {
            let write = error.write_errors.iter().flatten().next();
            let write = write.map(|error| (error.code, error.code_name.clone()));
            let concern = error.write_concern_error.as_ref();
            let concern = || concern.map(|error| (error.code, Some(error.code_name.clone())));
            write.or_else(concern).map(|(code, name)| (code, name.unwrap_or_default()))
        }
        _ => None,
    }
}
