//! /proc/PID/mem, pagemap and numa_maps.
use super::process::Subject;
use alloc::sync::{Arc, Weak};
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::File;
use coracle_core::fs::mount::Place;
use coracle_core::fs::stat::BLOCK_SIZE;
use coracle_core::mm::memory::{Memory, PAGE_SIZE};
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::task::long_call;
use coracle_fallible::{Text, filled, try_arc};
use coracle_fs::synthetic::Piece;
use coracle_hal::paging::USER_END;
use core::any::Any;
use linux_raw_sys::general::stat as Stat;

/// The memory of a process, as a file whose offsets are addresses.
struct MemoryFile {
    /// It goes with the process, or the program, also while this file is open.
    memory: Weak<Memory>,
    place: Place,
    /// It has a word for each page, in place of the page's bytes (pagemap).
    has_pages: bool,
}

/// Opens it. EACCES unless the program may look into the process.
pub(super) fn open(subject: &Subject, place: Place, has_pages: bool) -> Result<Arc<dyn File>, Errno> {
    subject.check()?;
    Ok(try_arc(MemoryFile { memory: Arc::downgrade(&subject.process.memory()), place, has_pages })?)
}

/// Moves bytes by way of a buffer of the kernel, until `step` moves none, or fails, or the memory is gone. What was moved before
/// counts.
fn moving(
    memory: &Weak<Memory>,
    left: usize,
    mut step: impl FnMut(&Memory, &mut [u8], usize) -> SysResult,
) -> SysResult {
    let mut bytes = filled(0, left.min(BLOCK_SIZE as usize))?;
    let mut done = 0;
    while done < left {
        let len = bytes.len().min(left - done);
        let Some(memory) = memory.upgrade() else { break };
        let moved = step(&memory, &mut bytes[..len], done);
        Memory::end(memory);
        match moved {
            Ok(0) => break,
            Ok(moved) => done += moved,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
        long_call::pause_unless_killed()?;
    }
    Ok(done)
}

/// A word of pagemap (Linux's Documentation/admin-guide/mm/pagemap.rst): whether the page is present. Its frame is shown to none.
fn page_word(memory: &Memory, index: u64) -> u64 {
    const PRESENT: u64 = 1 << 63;
    let address = (index as usize).checked_mul(PAGE_SIZE).filter(|&address| address < USER_END);
    if address.is_some_and(|address| memory.is_present(address)) { PRESENT } else { 0 }
}

impl File for MemoryFile {
    fn read(&self, dst: &mut UserBuf, offset: u64, _nonblock: bool) -> SysResult {
        const WORD: u64 = 8;
        if self.has_pages && !(offset.is_multiple_of(WORD) && dst.remaining().is_multiple_of(WORD as usize)) {
            return Err(Errno::INVAL);
        }
        let end = if self.has_pages { (USER_END / PAGE_SIZE) as u64 * WORD } else { u64::MAX };
        moving(
            &self.memory,
            dst.remaining().min(end.saturating_sub(offset) as usize),
            |memory, bytes, done| {
                let at = offset + done as u64;
                if self.has_pages {
                    let (words, _) = bytes.as_chunks_mut::<8>();
                    for (index, word) in words.iter_mut().enumerate() {
                        *word = page_word(memory, at / WORD + index as u64).to_le_bytes();
                    }
                } else {
                    // What lies before a page that can't be read is read.
                    let part = (PAGE_SIZE - at as usize % PAGE_SIZE).min(bytes.len());
                    memory.peek(at as usize, &mut bytes[..part]).map_err(|_| Errno::IO)?;
                    return dst.put(&bytes[..part]);
                }
                dst.put(bytes)
            },
        )
    }
    fn write(&self, src: &mut UserBuf, offset: u64, _nonblock: bool) -> SysResult {
        if self.has_pages {
            return Err(Errno::INVAL);
        }
        moving(&self.memory, src.remaining(), |memory, bytes, done| {
            let len = src.take(bytes)?;
            memory.poke(offset as usize + done, &bytes[..len]).map_err(|_| Errno::IO)?;
            Ok(len)
        })
    }
    fn seekable(&self) -> bool {
        true
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.place.path.inode.metadata().stat())
    }
    fn place(&self) -> Option<&Place> {
        Some(&self.place)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The line of the region at or after the address `from` in numa_maps (numa(7)): all its pages are on the only node.
pub(super) fn numa_maps(subject: &Subject, from: u64, text: &mut Text) -> Piece {
    let memory = subject.process.memory();
    let Some(region) = memory.region_from(from as usize) else { return Ok(None) };
    let (mut rest, mut pages) = (region.range.clone(), 0);
    while !rest.is_empty() {
        pages += memory.space.resident_in(&mut rest);
        long_call::pause();
    }
    write!(text, "{:08x} default", region.range.start)?;
    if let Some(file) = &region.file {
        text.push(b" file=")?;
        file.path(text)?;
    }
    match region.label {
        "[heap]" => text.push(b" heap")?,
        "[stack]" => text.push(b" stack")?,
        _ => {}
    }
    if pages > 0 {
        let kind = if region.file.is_some() { "mapped" } else { "anon" };
        write!(text, " {kind}={pages} N0={pages} kernelpagesize_kB={}", PAGE_SIZE / 1024)?;
    }
    text.push(b"\n")?;
    Ok(Some(region.range.end as u64))
}
