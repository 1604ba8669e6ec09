//! What SQLite's errors mean to a store.

use rusqlite::ErrorCode;

use crate::error::{Place, StoreError};

/// Translates the errors of one database file.
pub(super) fn of(file: &str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |error| translate(file, &error)
}

/// Translates an error: statements are fixed, so one that SQLite does not
/// understand, or a value of the wrong type, means that the file is not what
/// it was.
pub(super) fn translate(file: &str, error: &rusqlite::Error) -> StoreError {
    let damaged =
        || StoreError::Damaged { place: Place::File(file.to_owned()), why: error.to_string() };
    let io = || StoreError::Io(format!("{file}: {error}"));
    let rusqlite::Error::SqliteFailure(failure, _) = error else {
        return damaged();
    };
    match failure.code {
        ErrorCode::DiskFull => StoreError::Full(format!("{file}: {error}")),
        ErrorCode::SystemIoFailure
        | ErrorCode::CannotOpen
        | ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::OutOfMemory
        | ErrorCode::OperationInterrupted
        | ErrorCode::OperationAborted
        | ErrorCode::PermissionDenied
        | ErrorCode::ReadOnly
        | ErrorCode::NoLargeFileSupport
        | ErrorCode::AuthorizationForStatementDenied => io(),
        _ => damaged(),
    }
}
