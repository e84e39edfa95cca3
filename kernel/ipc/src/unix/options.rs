//! Socket options of AF_UNIX sockets (socket(7), unix(7)).
use super::inbox::DEFAULT_CAPACITY;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::net::socket::{timeout_ns, timeout_value};
use coracle_fallible::prelude::*;
use coracle_hal::time;
use linux_raw_sys::net as n;

/// Bounds of SO_SNDBUF (socket(7)).
const MIN_BUFFER: usize = 4608;
const MAX_BUFFER: usize = 2 * 212_992;

/// Options that were set.
pub struct Options {
    /// SO_PASSCRED.
    pub pass_credentials: bool,
    /// SO_SNDBUF: bytes that may wait at the receiver.
    pub capacity: usize,
    /// SO_RCVTIMEO and SO_SNDTIMEO in nanoseconds; 0: none.
    receive_timeout: u64,
    send_timeout: u64,
    /// Those that change nothing here.
    remembered: Vec<(i32, i32)>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            pass_credentials: false,
            capacity: DEFAULT_CAPACITY,
            receive_timeout: 0,
            send_timeout: 0,
            remembered: Vec::new(),
        }
    }
}

fn int(value: &[u8]) -> Result<i32, Errno> {
    value.first_chunk().map(|bytes| i32::from_le_bytes(*bytes)).ok_or(Errno::INVAL)
}
fn deadline(timeout: u64) -> Option<u64> {
    (timeout > 0).then(|| time::now_ns() + timeout)
}

impl Options {
    /// When a receive that starts now gives up.
    pub fn receive_deadline(&self) -> Option<u64> {
        deadline(self.receive_timeout)
    }
    /// When a send that starts now gives up.
    pub fn send_deadline(&self) -> Option<u64> {
        deadline(self.send_timeout)
    }
    /// setsockopt(2) at SOL_SOCKET.
    pub fn set(&mut self, name: i32, value: &[u8]) -> Result<(), Errno> {
        match name as u32 {
            n::SO_PASSCRED => self.pass_credentials = int(value)? != 0,
            n::SO_SNDBUF | n::SO_SNDBUFFORCE => {
                self.capacity = (int(value)?.max(0) as usize * 2).clamp(MIN_BUFFER, MAX_BUFFER);
            }
            name @ (n::SO_RCVTIMEO_OLD | n::SO_RCVTIMEO_NEW | n::SO_SNDTIMEO_OLD | n::SO_SNDTIMEO_NEW) => {
                let ns = timeout_ns(value)?;
                if matches!(name, n::SO_RCVTIMEO_OLD | n::SO_RCVTIMEO_NEW) {
                    self.receive_timeout = ns;
                } else {
                    self.send_timeout = ns;
                }
            }
            n::SO_REUSEADDR
            | n::SO_REUSEPORT
            | n::SO_KEEPALIVE
            | n::SO_RCVBUF
            | n::SO_RCVBUFFORCE
            | n::SO_LINGER
            | n::SO_PRIORITY
            | n::SO_DONTROUTE
            | n::SO_BROADCAST
            | n::SO_OOBINLINE
            | n::SO_RCVLOWAT
            | n::SO_TIMESTAMP_OLD
            | n::SO_PASSSEC => {
                let value = int(value)?;
                match self.remembered.iter_mut().find(|(known, _)| *known == name) {
                    Some(entry) => entry.1 = value,
                    None => self.remembered.try_push((name, value))?,
                }
            }
            n::SO_TYPE | n::SO_DOMAIN | n::SO_PROTOCOL | n::SO_ERROR | n::SO_ACCEPTCONN | n::SO_PEERCRED => {
                return Err(Errno::NOPROTOOPT);
            }
            _ => return Err(Errno::NOPROTOOPT),
        }
        Ok(())
    }
    /// getsockopt(2) at SOL_SOCKET, of what is kept here.
    pub fn get(&self, name: i32) -> Result<Vec<u8>, Errno> {
        let recall = |default: i32| {
            self.remembered.iter().find(|(known, _)| *known == name).map_or(default, |entry| entry.1)
        };
        let value = match name as u32 {
            n::SO_PASSCRED => i32::from(self.pass_credentials),
            n::SO_SNDBUF => self.capacity as i32,
            n::SO_RCVBUF => recall(DEFAULT_CAPACITY as i32),
            n::SO_RCVTIMEO_OLD | n::SO_RCVTIMEO_NEW => return timeout_value(self.receive_timeout),
            n::SO_SNDTIMEO_OLD | n::SO_SNDTIMEO_NEW => return timeout_value(self.send_timeout),
            n::SO_LINGER => return Ok([0; 8].try_to_vec()?),
            n::SO_RCVLOWAT => recall(1),
            n::SO_REUSEADDR
            | n::SO_REUSEPORT
            | n::SO_KEEPALIVE
            | n::SO_PRIORITY
            | n::SO_DONTROUTE
            | n::SO_BROADCAST
            | n::SO_OOBINLINE
            | n::SO_TIMESTAMP_OLD
            | n::SO_PASSSEC => recall(0),
            _ => return Err(Errno::NOPROTOOPT),
        };
        Ok(value.to_le_bytes().try_to_vec()?)
    }
}
