//! Copies between the kernel and the running program's memory. Page faults are resolved: hold no lock that the
//! resolution may need (file, socket or memory locks).
use super::fault;
use crate::errno::Errno;
use alloc::vec::Vec;
use coracle_fallible::filled;
use coracle_hal::paging::{Prot, USER_END};
use coracle_hal::user as hal;

/// What the access needs of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// To be read.
    Read,
    /// To be written.
    Write,
    /// To be executed.
    Execute,
}

impl Access {
    /// True if a page with these rights in the page table allows it.
    pub fn is_allowed_by(self, rights: Prot) -> bool {
        rights.contains(match self {
            Access::Read => Prot::READ,
            Access::Write => Prot::WRITE,
            Access::Execute => Prot::EXEC,
        })
    }
}

/// EFAULT if `len` bytes at `addr` are not all where a program's memory may be (Linux's `access_ok`).
#[cold]
pub fn check_range(addr: usize, len: usize) -> Result<(), Errno> {
    if addr.checked_add(len).is_some_and(|end| end <= USER_END) { Ok(()) } else { Err(Errno::FAULT) }
}

/// Resolves the page fault that stopped a copy: it may be tried again, from where it stopped or anew. EFAULT.
#[cold]
#[inline(never)]
pub fn resolve(fault: hal::Fault) -> Result<(), Errno> {
    let access = if fault.write { Access::Write } else { Access::Read };
    fault::resolve_current(fault.addr, access).map_err(|_| Errno::FAULT)
}

/// Fills `dst` from the program's memory at `addr`; EFAULT.
pub fn read(dst: &mut [u8], addr: usize) -> Result<(), Errno> {
    read_inline(dst, addr)
}

/// [`read`] for what every request does.
#[inline(always)]
pub fn read_inline(dst: &mut [u8], addr: usize) -> Result<(), Errno> {
    match hal::copy_from(dst, addr) {
        Ok(()) => Ok(()),
        Err(fault) => read_on(dst, addr, fault),
    }
}

/// [`read`] after its first page fault.
#[cold]
fn read_on(dst: &mut [u8], addr: usize, mut fault: hal::Fault) -> Result<(), Errno> {
    let mut done = 0;
    loop {
        done += fault.done;
        resolve(fault)?;
        match hal::copy_from(&mut dst[done..], addr.wrapping_add(done)) {
            Ok(()) => return Ok(()),
            Err(next) => fault = next,
        }
    }
}

/// Copies `src` to the program's memory at `addr`; EFAULT.
#[inline]
pub fn write(addr: usize, src: &[u8]) -> Result<(), Errno> {
    match hal::copy_to(addr, src) {
        Ok(()) => Ok(()),
        Err(fault) => write_on(addr, src, fault),
    }
}

/// [`write()`] after its first page fault.
#[cold]
fn write_on(addr: usize, src: &[u8], mut fault: hal::Fault) -> Result<(), Errno> {
    let mut done = 0;
    loop {
        done += fault.done;
        resolve(fault)?;
        match hal::copy_to(addr.wrapping_add(done), &src[done..]) {
            Ok(()) => return Ok(()),
            Err(next) => fault = next,
        }
    }
}

/// Reads `N` 64-bit words (most of Linux's structures are such); EFAULT.
#[inline]
pub fn read_words<const N: usize>(addr: usize) -> Result<[u64; N], Errno> {
    loop {
        match hal::copy_words(addr) {
            Ok(words) => return Ok(words),
            Err(fault) => resolve(fault)?,
        }
    }
}

/// Looks at what a longer structure than is known has behind the known part: E2BIG unless all of it is 0, as Linux's
/// `copy_struct_from_user`; EFAULT.
pub fn check_zero(from: usize, len: usize) -> Result<(), Errno> {
    for at in (0..len).step_by(8) {
        let mut rest = [0; 8];
        read(&mut rest[..(len - at).min(8)], from.wrapping_add(at))?;
        if rest != [0; 8] {
            return Err(Errno::TOOBIG);
        }
    }
    Ok(())
}

/// Writes 64-bit words; EFAULT.
#[inline]
pub fn write_words(addr: usize, words: &[u64]) -> Result<(), Errno> {
    write(addr, hal::bytes_of(words))
}

/// Reads a 32-bit word, of any alignment; EFAULT.
pub fn read_u32(addr: usize) -> Result<u32, Errno> {
    let mut bytes = [0; 4];
    read(&mut bytes, addr)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Writes a 32-bit word, of any alignment; EFAULT.
pub fn write_u32(addr: usize, value: u32) -> Result<(), Errno> {
    write(addr, &value.to_le_bytes())
}

/// Reads a 64-bit word, of any alignment; EFAULT.
#[inline(always)]
pub fn read_u64(addr: usize) -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    read(&mut bytes, addr)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Writes a 64-bit word, of any alignment; EFAULT.
#[inline(always)]
pub fn write_u64(addr: usize, value: u64) -> Result<(), Errno> {
    write(addr, &value.to_le_bytes())
}

/// Atomic load of an aligned 32-bit word; EFAULT.
pub fn load_u32(addr: usize) -> Result<u32, Errno> {
    loop {
        match hal::load_u32(addr) {
            Ok(value) => return Ok(value),
            Err(fault) => resolve(fault)?,
        }
    }
}

/// Atomic compare-and-exchange of an aligned 32-bit word; gives what was found; EFAULT.
pub fn compare_exchange_u32(addr: usize, expected: u32, new: u32) -> Result<u32, Errno> {
    loop {
        match hal::compare_exchange_u32(addr, expected, new) {
            Ok(found) => return Ok(found),
            Err(fault) => resolve(fault)?,
        }
    }
}

/// Bytes before the zero that ends the string at `addr`. `too_long` if there is none within `max` bytes; EFAULT.
pub fn string_length(addr: usize, max: usize, too_long: Errno) -> Result<usize, Errno> {
    loop {
        match hal::string_length(addr, max) {
            Ok(Some(len)) => return Ok(len),
            // Without a zero up to the end of the program's half it isn't too long, but reaches into nothing.
            Ok(None) if addr.saturating_add(max) > USER_END => return Err(Errno::FAULT),
            Ok(None) => return Err(too_long),
            Err(fault) => resolve(fault)?,
        }
    }
}

/// The zero-terminated string at `addr`, without its zero. `too_long` if there is none within `max` bytes; EFAULT, ENOMEM.
pub fn read_string(addr: usize, max: usize, too_long: Errno) -> Result<Vec<u8>, Errno> {
    let len = string_length(addr, max, too_long)?;
    let mut bytes = filled(0, len)?;
    read(&mut bytes, addr)?;
    Ok(bytes)
}

/// The path at `addr` (PATH_MAX with its zero, else ENAMETOOLONG); EFAULT.
pub fn read_path(addr: usize) -> Result<Vec<u8>, Errno> {
    read_string(addr, linux_raw_sys::general::PATH_MAX as usize, Errno::NAMETOOLONG)
}

/// Bytes of a path for which a call has room on its stack.
pub const SHORT_PATH: usize = 64;

/// [`read_path`] for the calls that programs make most: a short path is read into `short`, and takes no memory of the heap.
pub fn read_path_into<'a>(
    addr: usize,
    short: &'a mut [u8; SHORT_PATH],
    long: &'a mut Vec<u8>,
) -> Result<&'a [u8], Errno> {
    let len = string_length(addr, linux_raw_sys::general::PATH_MAX as usize, Errno::NAMETOOLONG)?;
    let path = match short.get_mut(..len) {
        Some(path) => path,
        None => {
            *long = filled(0, len)?;
            &mut long[..]
        }
    };
    read(path, addr)?;
    Ok(path)
}
