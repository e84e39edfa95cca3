//! Options of TCP Fast Open (tcp(7), RFC 7413).
use super::options::SOL_TCP;
use super::tcp::TcpFile;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_fallible::prelude::*;
use coracle_tcpip::{State, fast_open_setting};
use linux_raw_sys::net as n;

/// Greatest TCP_FASTOPEN (net.core.somaxconn).
const LIMIT_MAX: i32 = 4096;
/// Bytes of a key (TCP_FASTOPEN_KEY_LENGTH).
const KEY: usize = 16;
/// Keys at most: that of new cookies, and that of older ones.
const KEYS_MAX: usize = 2;
/// Under this name, and those that follow, the words of keys are remembered.
const WORDS: i32 = i32::MIN;
/// Words of a key.
const KEY_WORDS: usize = KEY / size_of::<i32>();
/// Under this name, how many there are.
const WORD_COUNT: i32 = -1;

impl TcpFile {
    /// TCP_FASTOPEN: how many connections may be open before their handshake is complete.
    pub(super) fn fast_open_limit(&self) -> i32 {
        self.common.recall(SOL_TCP, n::TCP_FASTOPEN as i32, 0)
    }

    /// Sets that, as far as net.core.somaxconn allows. ENOMEM.
    pub(super) fn set_fast_open_limit(&self, limit: i32) -> Result<(), Errno> {
        self.common.remember(SOL_TCP, n::TCP_FASTOPEN as i32, limit.min(LIMIT_MAX))
    }

    /// Has the socket, if it listens, accept data as its options say. ENOBUFS.
    pub(super) fn accept_syn_data(&self) -> Result<(), Errno> {
        let limit = self.fast_open_limit();
        if limit == 0 && self.own_keys() == [None; KEYS_MAX] {
            return Ok(());
        }
        match self.socket.info().state {
            State::Listen => self
                .common
                .home
                .tcp_accept_syn_data(&self.socket, limit as u32, self.own_keys())
                .map_err(super::common::errno),
            _ => Ok(()),
        }
    }

    /// TCP_FASTOPEN, TCP_FASTOPEN_CONNECT and TCP_FASTOPEN_NO_COOKIE. EINVAL, EOPNOTSUPP.
    pub(super) fn set_fast_open(&self, name: u32, value: i32) -> Result<(), Errno> {
        let is_closed = self.socket.info().state == State::Closed;
        match name {
            n::TCP_FASTOPEN if value >= 0 && self.is_unconnected() => {
                self.set_fast_open_limit(value)?;
                self.accept_syn_data()
            }
            n::TCP_FASTOPEN_NO_COOKIE if matches!(value, 0 | 1) && self.is_unconnected() => {
                self.change(&|options| options.fast_open_no_cookie = value != 0)
            }
            n::TCP_FASTOPEN_CONNECT if matches!(value, 0 | 1) => {
                if self.common.home.fast_open() & fast_open_setting::CLIENT == 0 {
                    return Err(Errno::OPNOTSUPP);
                }
                if !is_closed {
                    return Err(Errno::INVAL);
                }
                self.change(&|options| options.fast_open_connect = value != 0)
            }
            _ => Err(Errno::INVAL),
        }
    }

    /// TCP_FASTOPEN_KEY: one key or two. EINVAL.
    pub(super) fn set_fast_open_keys(&self, value: &[u8]) -> Result<(), Errno> {
        let (words, rest) = value.as_chunks::<{ size_of::<i32>() }>();
        if !rest.is_empty() || !(1..=KEYS_MAX).any(|keys| words.len() == keys * KEY_WORDS) {
            return Err(Errno::INVAL);
        }
        for (name, word) in (WORDS..).zip(words) {
            self.common.remember(SOL_TCP, name, i32::from_le_bytes(*word))?;
        }
        self.common.remember(SOL_TCP, WORD_COUNT, words.len() as i32)?;
        self.accept_syn_data()
    }

    /// The socket's own keys.
    fn own_keys(&self) -> [Option<(u64, u64)>; KEYS_MAX] {
        let count = self.common.recall(SOL_TCP, WORD_COUNT, 0) as usize / KEY_WORDS;
        core::array::from_fn(|key| {
            let word = |at: usize| {
                let name = WORDS + (key * KEY_WORDS + at) as i32;
                u64::from(self.common.recall(SOL_TCP, name, 0) as u32)
            };
            (key < count).then(|| (word(0) | word(1) << 32, word(2) | word(3) << 32))
        })
    }

    /// The keys in use. ENOMEM.
    pub(super) fn fast_open_keys_told(&self) -> Result<Vec<u8>, Errno> {
        let mut keys = self.own_keys();
        if keys[0].is_none() {
            keys[0] = Some(self.common.home.fast_open_key());
        }
        let mut bytes = Vec::new();
        for (a, b) in keys.into_iter().flatten() {
            bytes.try_extend_from_slice([a, b].map(u64::to_le_bytes).as_flattened())?;
        }
        Ok(bytes)
    }
}

/// net.ipv4.tcp_fastopen of the running program's network namespace.
pub fn setting() -> u32 {
    super::engine().fast_open()
}

/// Changes that. EINVAL.
pub fn set_setting(bytes: &[u8]) -> Result<(), Errno> {
    let text = core::str::from_utf8(bytes.trim_ascii()).map_err(|_| Errno::INVAL)?;
    super::engine().set_fast_open(text.parse().map_err(|_| Errno::INVAL)?);
    Ok(())
}
