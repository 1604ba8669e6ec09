//! The VFS itself: the system's own, with every write, truncation, sync and
//! deletion told to the image.
//!
//! The only unsafe code of the crate. SQLite's side of the contract is
//! <https://www.sqlite.org/c3ref/vfs.html> and
//! <https://www.sqlite.org/c3ref/io_methods.html>: it passes a `sqlite3_file`
//! of `szOsFile` bytes, aligned to 8, to `xOpen`, uses it from one thread at a
//! time, and calls no method of it after `xClose`.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;
use std::sync::{Arc, OnceLock};

use rusqlite::ffi;

use super::image::{self, Failure, Image, Source, Stop};
use crate::error::StoreError;

const NAME: &CStr = c"avvy-powercut";

/// Where the system's VFS is; set before ours is registered.
static SYSTEM: OnceLock<System> = OnceLock::new();

struct System(*mut ffi::sqlite3_vfs);

// SAFETY: a registered VFS may be used from every thread, and this one is
// never unregistered.
unsafe impl Send for System {}
// SAFETY: as above.
unsafe impl Sync for System {}

/// Registers the VFS, once in a process, and says its name for
/// [`crate::sqlite::SqliteOptions::vfs`].
///
/// # Errors
/// `Io` if SQLite has no VFS to build on.
pub fn register() -> Result<&'static str, StoreError> {
    static DONE: OnceLock<c_int> = OnceLock::new();
    let code = *DONE.get_or_init(register_once);
    match code {
        ffi::SQLITE_OK => Ok("avvy-powercut"),
        code => Err(StoreError::Io(format!("registering the VFS: code {code}"))),
    }
}

fn register_once() -> c_int {
    // SAFETY: a null name asks for the default VFS.
    let system = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
    if system.is_null() {
        return ffi::SQLITE_ERROR;
    }
    SYSTEM.get_or_init(|| System(system));
    // SAFETY: `system` was found just now and stays registered.
    let (file_bytes, longest_path) = unsafe { ((*system).szOsFile, (*system).mxPathname) };
    let vfs = ffi::sqlite3_vfs {
        iVersion: 2,
        szOsFile: size_of::<ShimFile>() as c_int + file_bytes,
        mxPathname: longest_path,
        pNext: ptr::null_mut(),
        zName: NAME.as_ptr(),
        pAppData: ptr::null_mut(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_path),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: Some(last_error),
        xCurrentTimeInt64: Some(current_time_int64),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    };
    // SAFETY: the VFS is leaked, so it lives as long as SQLite may use it.
    unsafe { ffi::sqlite3_vfs_register(Box::into_raw(Box::new(vfs)), 0) }
}

/// Our file: the header that SQLite knows, the image, and behind it, in the
/// same allocation, the file of the system's VFS.
#[repr(C, align(8))]
struct ShimFile {
    base: ffi::sqlite3_file,
    /// From `Arc::into_raw`; null for files without a name.
    image: *const Image,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// The system's VFS.
fn system() -> *mut ffi::sqlite3_vfs {
    SYSTEM.get().map_or(ptr::null_mut(), |system| system.0)
}

/// The system's file behind ours.
///
/// # Safety
/// `file` must be one that SQLite allocated for this VFS.
unsafe fn real(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: `szOsFile` asks for the system's file behind `ShimFile`, whose
    // size is a multiple of its alignment, 8.
    unsafe { file.cast::<ShimFile>().add(1).cast() }
}

/// The image of a file, if it has one.
///
/// # Safety
/// `file` must be one that our `xOpen` opened and that is not closed.
unsafe fn image_of<'a>(file: *mut ffi::sqlite3_file) -> Option<&'a Image> {
    // SAFETY: `image` is null or from `Arc::into_raw`, given back in `close` only.
    unsafe { (*file.cast::<ShimFile>()).image.as_ref() }
}

/// Calls a method of the system's file, or fails with the given code.
macro_rules! pass {
    ($file:expr, $method:ident, $absent:expr $(, $argument:expr)*) => {{
        // SAFETY: SQLite calls file methods on files that our `xOpen` opened, so
        // the system's file is open, too, and its methods are set.
        unsafe {
            let real = real($file);
            match (*(*real).pMethods).$method {
                Some(method) => method(real $(, $argument)*),
                None => $absent,
            }
        }
    }};
}

/// Calls a method of the system's VFS, or fails with the given code.
macro_rules! pass_vfs {
    ($method:ident, $absent:expr $(, $argument:expr)*) => {{
        let system = system();
        // SAFETY: `SYSTEM` was set before our VFS was registered, and the
        // arguments are SQLite's own.
        unsafe {
            match (*system).$method {
                Some(method) => method(system $(, $argument)*),
                None => $absent,
            }
        }
    }};
}

/// The system's file as the image reads it.
struct Open(*mut ffi::sqlite3_file);

impl Source for Open {
    fn length(&self) -> io::Result<u64> {
        let mut length = 0;
        checked(pass!(self.0, xFileSize, ffi::SQLITE_IOERR, &mut length))?;
        Ok(length.cast_unsigned())
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let length = buffer.len() as c_int;
        let bytes = buffer.as_mut_ptr().cast::<c_void>();
        let code = pass!(self.0, xRead, ffi::SQLITE_IOERR, bytes, length, offset.cast_signed());
        // The rest of a short read is zeros.
        if code == ffi::SQLITE_IOERR_SHORT_READ { Ok(()) } else { checked(code) }
    }
}

fn checked(code: c_int) -> io::Result<()> {
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => Err(io::Error::other(format!("SQLite's code {code}"))),
    }
}

/// The path that SQLite passes.
///
/// # Safety
/// `name` must be null or a C string.
unsafe fn path(name: *const c_char) -> Option<PathBuf> {
    if name.is_null() {
        return None;
    }
    // SAFETY: not null, so a C string.
    let name = unsafe { CStr::from_ptr(name) };
    Some(PathBuf::from(OsStr::from_bytes(name.to_bytes())))
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes a file of `szOsFile` bytes; null methods tell it
    // that there is nothing to close if this fails.
    let real = unsafe {
        (*file).pMethods = ptr::null();
        real(file)
    };
    let code = pass_vfs!(xOpen, ffi::SQLITE_CANTOPEN, name, real, flags, out_flags);
    if code != ffi::SQLITE_OK {
        return code;
    }
    // SAFETY: SQLite passes null or a C string.
    let path = unsafe { path(name) };
    let image = match path.map(|path| image::of(&path, &Open(file))).transpose() {
        Ok(image) => image.map_or(ptr::null(), Arc::into_raw),
        Err(_) => {
            pass!(file, xClose, ffi::SQLITE_OK);
            return ffi::SQLITE_CANTOPEN;
        }
    };
    // SAFETY: the allocation holds a `ShimFile`, which has no destructor.
    unsafe {
        let base = ffi::sqlite3_file { pMethods: &raw const METHODS };
        file.cast::<ShimFile>().write(ShimFile { base, image });
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let code = pass!(file, xClose, ffi::SQLITE_OK);
    // SAFETY: the file was opened by `open`, and SQLite closes it once; so the
    // count that `Arc::into_raw` left is given back once.
    unsafe {
        let shim = file.cast::<ShimFile>();
        if !(*shim).image.is_null() {
            drop(Arc::from_raw((*shim).image));
            (*shim).image = ptr::null();
        }
    }
    code
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    length: c_int,
    offset: i64,
) -> c_int {
    let write = || pass!(file, xWrite, ffi::SQLITE_IOERR_WRITE, bytes, length, offset);
    // SAFETY: SQLite writes to files that are open.
    match unsafe { image_of(file) } {
        None => write(),
        Some(image) => image
            .write(&Open(file), offset.cast_unsigned(), u64::from(length.unsigned_abs()), write)
            .unwrap_or_else(|stop| code(&stop, ffi::SQLITE_IOERR_WRITE)),
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, length: i64) -> c_int {
    let truncate = || pass!(file, xTruncate, ffi::SQLITE_IOERR_TRUNCATE, length);
    // SAFETY: SQLite truncates files that are open.
    match unsafe { image_of(file) } {
        None => truncate(),
        Some(image) => {
            let truncated = image.truncate(length.cast_unsigned(), truncate);
            truncated.unwrap_or_else(|stop| code(&stop, ffi::SQLITE_IOERR_TRUNCATE))
        }
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite syncs files that are open.
    match unsafe { image_of(file) }.map(|image| image.sync(&Open(file))) {
        None | Some(Ok(())) => ffi::SQLITE_OK,
        Some(Err(_)) => ffi::SQLITE_IOERR_FSYNC,
    }
}

/// SQLite's code for an operation that is not done.
const fn code(stop: &Stop, failed: c_int) -> c_int {
    match stop {
        Stop::Failing(Failure::Full) => ffi::SQLITE_FULL,
        Stop::Failing(Failure::Io | Failure::Sync) | Stop::Dead => failed,
    }
}

unsafe extern "C" fn delete(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    sync_directory: c_int,
) -> c_int {
    // SAFETY: SQLite passes a C string.
    let path = unsafe { path(name) };
    if !path.is_none_or(|path| image::delete(&path, sync_directory != 0)) {
        return ffi::SQLITE_IOERR_DELETE;
    }
    pass_vfs!(xDelete, ffi::SQLITE_IOERR_DELETE, name, 0)
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    bytes: *mut c_void,
    length: c_int,
    offset: i64,
) -> c_int {
    pass!(file, xRead, ffi::SQLITE_IOERR_READ, bytes, length, offset)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, length: *mut i64) -> c_int {
    pass!(file, xFileSize, ffi::SQLITE_IOERR_FSTAT, length)
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    pass!(file, xLock, ffi::SQLITE_IOERR_LOCK, level)
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    pass!(file, xUnlock, ffi::SQLITE_IOERR_UNLOCK, level)
}

unsafe extern "C" fn check_reserved_lock(
    file: *mut ffi::sqlite3_file,
    answer: *mut c_int,
) -> c_int {
    pass!(file, xCheckReservedLock, ffi::SQLITE_IOERR_LOCK, answer)
}

unsafe extern "C" fn file_control(
    file: *mut ffi::sqlite3_file,
    operation: c_int,
    argument: *mut c_void,
) -> c_int {
    pass!(file, xFileControl, ffi::SQLITE_NOTFOUND, operation, argument)
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    pass!(file, xSectorSize, 4096)
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    pass!(file, xDeviceCharacteristics, 0)
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    page: c_int,
    page_bytes: c_int,
    extend: c_int,
    memory: *mut *mut c_void,
) -> c_int {
    pass!(file, xShmMap, ffi::SQLITE_IOERR_SHMMAP, page, page_bytes, extend, memory)
}

unsafe extern "C" fn shm_lock(
    file: *mut ffi::sqlite3_file,
    offset: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    pass!(file, xShmLock, ffi::SQLITE_IOERR_SHMLOCK, offset, count, flags)
}

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    pass!(file, xShmBarrier, ());
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, delete: c_int) -> c_int {
    pass!(file, xShmUnmap, ffi::SQLITE_OK, delete)
}

unsafe extern "C" fn access(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    answer: *mut c_int,
) -> c_int {
    pass_vfs!(xAccess, ffi::SQLITE_IOERR_ACCESS, name, flags, answer)
}

unsafe extern "C" fn full_path(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    length: c_int,
    full: *mut c_char,
) -> c_int {
    pass_vfs!(xFullPathname, ffi::SQLITE_CANTOPEN, name, length, full)
}

unsafe extern "C" fn randomness(
    _: *mut ffi::sqlite3_vfs,
    length: c_int,
    bytes: *mut c_char,
) -> c_int {
    pass_vfs!(xRandomness, 0, length, bytes)
}

unsafe extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    pass_vfs!(xSleep, 0, microseconds)
}

unsafe extern "C" fn current_time(_: *mut ffi::sqlite3_vfs, time: *mut f64) -> c_int {
    pass_vfs!(xCurrentTime, ffi::SQLITE_ERROR, time)
}

unsafe extern "C" fn current_time_int64(_: *mut ffi::sqlite3_vfs, time: *mut i64) -> c_int {
    pass_vfs!(xCurrentTimeInt64, ffi::SQLITE_ERROR, time)
}

unsafe extern "C" fn last_error(
    _: *mut ffi::sqlite3_vfs,
    length: c_int,
    text: *mut c_char,
) -> c_int {
    pass_vfs!(xGetLastError, 0, length, text)
}
