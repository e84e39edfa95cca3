//! Socket options (vsock(7), socket(7)).
use super::socket::{Phase, VsockSocket};
use crate::options::{BUFFER_MAX, SOL_SOCKET, answer, int};
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::net::socket::{timeout_ns, timeout_value};
use coracle_fallible::prelude::*;
use coracle_virtio::device::vsock::{Credit, operation};
use linux_raw_sys::net as n;

/// The level of the options of this family.
const LEVEL: i32 = n::AF_VSOCK as i32;
/// SO_VM_SOCKETS_*: bytes that are kept for the program, and the bounds of that number.
const BUFFER: u32 = 0;
const BUFFER_MIN_SIZE: u32 = 1;
const BUFFER_MAX_SIZE: u32 = 2;
/// How long connect(2) waits, in both forms of `struct timeval`.
const CONNECT_TIMEOUT: u32 = 6;
const CONNECT_TIMEOUT_NEW: u32 = 8;

/// Bytes that are kept for a program unless it says otherwise, as on Linux.
pub const BUFFER_SIZE: u64 = 256 << 10;
/// The least that it may say at first.
const LEAST_SIZE: u64 = 128;
/// How long connect(2) waits at first.
pub const CONNECT_TIMEOUT_NS: u64 = 2_000_000_000;

/// The size of the buffer and its bounds, each at the place of its option.
#[derive(Clone, Copy)]
pub struct Sizes([u64; 3]);

impl Default for Sizes {
    fn default() -> Self {
        Sizes([BUFFER_SIZE, LEAST_SIZE, BUFFER_SIZE])
    }
}

impl Sizes {
    /// Sets one. The size stays within the bounds.
    fn set(&mut self, name: u32, value: u64) {
        self.0[name as usize] = value;
        let [size, least, most] = self.0;
        self.0[BUFFER as usize] = size.min(most).max(least);
    }

    /// Bytes that are kept.
    pub fn capacity(&self) -> u32 {
        self.0[BUFFER as usize].min(u64::from(Credit::CAPACITY_MAX)) as u32
    }
}

impl VsockSocket {
    /// setsockopt(2).
    pub(super) fn change_option(&self, level: i32, name: u32, value: &[u8]) -> Result<(), Errno> {
        match (level, name) {
            (LEVEL, BUFFER | BUFFER_MIN_SIZE | BUFFER_MAX_SIZE) => {
                let value = value.first_chunk().copied().map(u64::from_le_bytes).ok_or(Errno::INVAL)?;
                let link = {
                    let mut state = self.state.lock();
                    let before = state.sizes.capacity();
                    state.sizes.set(name, value);
                    let capacity = state.sizes.capacity();
                    state.credit.set_capacity(capacity);
                    if capacity == before || !matches!(state.phase, Phase::Connected) {
                        return Ok(());
                    }
                    self.say(&mut state, operation::CREDIT_UPDATE, 0)?;
                    state.link
                };
                link.kick();
                Ok(())
            }
            (LEVEL, CONNECT_TIMEOUT | CONNECT_TIMEOUT_NEW) => {
                let ns = timeout_ns(value)
                    .map_err(|error| if error == Errno::DOM { Errno::RANGE } else { error })?;
                self.state.lock().connect_timeout_ns = if ns == 0 { CONNECT_TIMEOUT_NS } else { ns };
                Ok(())
            }
            (
                SOL_SOCKET,
                n::SO_SNDBUF
                | n::SO_RCVBUF
                | n::SO_BROADCAST
                | n::SO_REUSEADDR
                | n::SO_REUSEPORT
                | n::SO_KEEPALIVE
                | n::SO_LINGER,
            ) => self.common.remember(level, name as i32, int(value)?),
            (SOL_SOCKET, _) => self.common.set(level, name as i32, value).unwrap_or(Err(Errno::NOPROTOOPT)),
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    /// getsockopt(2).
    pub(super) fn read_option(&self, level: i32, name: u32) -> Result<Vec<u8>, Errno> {
        let mut state = self.state.lock();
        match (level, name) {
            (LEVEL, BUFFER | BUFFER_MIN_SIZE | BUFFER_MAX_SIZE) => {
                Ok(state.sizes.0[name as usize].to_le_bytes().try_to_vec()?)
            }
            (LEVEL, CONNECT_TIMEOUT | CONNECT_TIMEOUT_NEW) => timeout_value(state.connect_timeout_ns),
            (SOL_SOCKET, n::SO_ERROR) => {
                answer(state.error.take().map_or(0, |error| i32::from(error.number())))
            }
            (SOL_SOCKET, n::SO_ACCEPTCONN) => answer(matches!(state.phase, Phase::Listening { .. }).into()),
            (SOL_SOCKET, n::SO_SNDBUF | n::SO_RCVBUF) => {
                answer(self.common.recall(level, name as i32, BUFFER_MAX as i32))
            }
            (SOL_SOCKET, n::SO_LINGER) => Ok([0; 8].try_to_vec()?),
            (SOL_SOCKET, n::SO_BROADCAST | n::SO_REUSEADDR | n::SO_REUSEPORT | n::SO_KEEPALIVE) => {
                answer(self.common.recall(level, name as i32, 0))
            }
            (SOL_SOCKET, _) => self.common.get(level, name as i32).unwrap_or(Err(Errno::NOPROTOOPT)),
            _ => Err(Errno::NOPROTOOPT),
        }
    }
}
