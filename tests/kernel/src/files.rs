//! Calls about files, as a test's program makes them.
use crate::sys::{self, Error};
use coracle_hal::host::program;
use linux_raw_sys::general as abi;

/// The working directory, as openat(2) and its kin know it.
pub const HERE: usize = abi::AT_FDCWD as usize;

/// pipe2(2): reads from the first descriptor come from the second.
pub fn pipe(flags: u32) -> (usize, usize) {
    let at = sys::memory(8);
    sys::call(abi::__NR_pipe2, &[at, flags as usize]).expect("a pipe is made");
    (crate::load_u32(at) as usize, crate::load_u32(at + 4) as usize)
}

/// read(2) of up to `len` bytes.
pub fn read(descriptor: usize, len: usize) -> Result<Vec<u8>, Error> {
    let at = sys::memory(len.max(1));
    let read = sys::call(abi::__NR_read, &[descriptor, at, len]).map(|len| sys::bytes(at, len));
    sys::free(at, len.max(1));
    read
}

/// write(2); returns how many bytes were written.
pub fn write(descriptor: usize, bytes: &[u8]) -> Result<usize, Error> {
    let at = sys::put(bytes);
    let written = sys::call(abi::__NR_write, &[descriptor, at, bytes.len()]);
    sys::free(at, bytes.len().max(1));
    written
}

/// close(2).
pub fn close(descriptor: usize) {
    sys::call(abi::__NR_close, &[descriptor]).expect("an open descriptor is closed");
}

/// openat(2) in the working directory.
pub fn open(path: &str, flags: u32, mode: u32) -> Result<usize, Error> {
    sys::call(abi::__NR_openat, &[HERE, sys::string(path), flags as usize, mode as usize])
}

/// Makes a file with these bytes.
pub fn make(path: &str, bytes: &[u8]) {
    let file = open(path, abi::O_CREAT | abi::O_WRONLY | abi::O_TRUNC, 0o644).expect("a file is made");
    assert_eq!(write(file, bytes), Ok(bytes.len()));
    close(file);
}

/// All bytes of a file.
pub fn contents(path: &str) -> Result<Vec<u8>, Error> {
    /// Bytes read at once.
    const PIECE: usize = 4096;
    let file = open(path, abi::O_RDONLY, 0)?;
    let mut bytes = Vec::new();
    loop {
        let piece = read(file, PIECE)?;
        if piece.is_empty() {
            close(file);
            return Ok(bytes);
        }
        bytes.extend(piece);
    }
}

/// A call that takes a path and one more argument.
pub fn with_path(number: u32, path: &str, argument: usize) -> Result<usize, Error> {
    sys::call(number, &[sys::string(path), argument])
}

/// A call that takes two paths.
pub fn with_paths(number: u32, first: &str, second: &str) -> Result<usize, Error> {
    sys::call(number, &[sys::string(first), sys::string(second)])
}

/// Bytes of the kernel's `struct sigaction`, and of a set of signals.
const ACTION_SIZE: usize = 32;
const SET_SIZE: usize = 8;

fn set_action(signal: u32, handler: u64, flags: u32) {
    // The handler, the flags, what it returns to, and the signals that are blocked meanwhile.
    let action = sys::words(&[handler, u64::from(flags | abi::SA_RESTORER), program::RETURN, 0]);
    debug_assert_eq!(ACTION_SIZE, 4 * size_of::<u64>());
    sys::call(abi::__NR_rt_sigaction, &[signal as usize, action, 0, SET_SIZE]).expect("an action is set");
}

/// Ignores a signal.
pub fn ignore(signal: u32) {
    set_action(signal, 1, 0);
}

/// Has a signal call `handler` with its number.
pub fn handle(signal: u32, flags: u32, handler: impl Fn(i32) + Send + Sync + 'static) {
    set_action(signal, program::handler(handler), flags);
}

/// Blocks these signals, and no others (rt_sigprocmask(2)).
pub fn block(signals: &[u32]) {
    let set = sys::words(&[set_of(signals)]);
    let arguments = [abi::SIG_SETMASK as usize, set, 0, SET_SIZE];
    sys::call(abi::__NR_rt_sigprocmask, &arguments).expect("a mask is set");
}

/// A set of signals.
pub fn set_of(signals: &[u32]) -> u64 {
    signals.iter().map(|signal| 1 << (signal - 1)).sum()
}
