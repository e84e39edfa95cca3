//! The master boot record, and the chain of extended boot records.
use super::table::{MAX_PARTITIONS, Partition};
use crate::{Disk, Error};
use alloc::vec::Vec;
use coracle_fallible::{TryVec as _, filled};

const TABLE: usize = 446;
const ENTRY_BYTES: usize = 16;
const ENTRIES: usize = 4;
const SIGNATURE: [u8; 2] = [0x55, 0xaa];
const SIGNATURE_AT: usize = 510;
const PROTECTIVE: u8 = 0xee;
/// The types of a partition that holds a chain of others.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
const FIRST_LOGICAL: u32 = 5;

struct Entry {
    kind: u8,
    first_sector: u64,
    sectors: u64,
}

fn entry(sector: &[u8], index: usize) -> Entry {
    let at = TABLE + index * ENTRY_BYTES;
    let word = |at: usize| {
        sector.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
    };
    Entry {
        kind: sector.get(at + 4).copied().unwrap_or(0),
        first_sector: word(at + 8).into(),
        sectors: word(at + 12).into(),
    }
}

/// Whether the first sector of a disk is a boot record.
pub fn is_signed(sector: &[u8]) -> bool {
    sector.get(SIGNATURE_AT..SIGNATURE_AT + 2) == Some(&SIGNATURE)
}

/// Whether a boot record only says that there is a GPT.
pub fn is_protective(sector: &[u8]) -> bool {
    (0..ENTRIES).any(|index| entry(sector, index).kind == PROTECTIVE)
}

/// The partition of an entry, if it is one that lies on the disk. `base` is the sector that the entry counts from.
fn partition(disk: &dyn Disk, entry: &Entry, base: u64, number: u32) -> Option<Partition> {
    let sector = u64::from(disk.sector_bytes());
    let offset_bytes = base.checked_add(entry.first_sector)?.checked_mul(sector)?;
    let len_bytes = entry.sectors.checked_mul(sector)?;
    let fits = offset_bytes.checked_add(len_bytes)? <= disk.size_bytes();
    if entry.kind == 0 || entry.sectors == 0 || offset_bytes == 0 || !fits {
        return None;
    }
    let mut kind = [0; 16];
    kind[0] = entry.kind;
    Some(Partition { number, offset_bytes, len_bytes, kind })
}

/// The partitions of a boot record, the logical ones after the primary.
pub fn read(disk: &dyn Disk, first: &[u8]) -> Result<Vec<Partition>, Error> {
    let mut all = Vec::new();
    let mut chain = None;
    for index in 0..ENTRIES {
        let entry = entry(first, index);
        if EXTENDED.contains(&entry.kind) {
            chain = chain.or(Some(entry.first_sector));
        } else if let Some(found) = partition(disk, &entry, 0, index as u32 + 1) {
            all.try_push(found)?;
        }
    }
    let Some(chain) = chain else { return Ok(all) };
    let mut sector = filled(0, disk.sector_bytes() as usize)?;
    let mut at = chain;
    let mut number = FIRST_LOGICAL;
    // A chain that leads back to itself ends here.
    for _ in 0..MAX_PARTITIONS {
        let Some(offset) = at.checked_mul(u64::from(disk.sector_bytes())) else { break };
        if at == 0 || crate::check_range(disk, offset, u64::from(disk.sector_bytes())).is_err() {
            break;
        }
        disk.read(offset, &mut sector)?;
        if !is_signed(&sector) {
            break;
        }
        if let Some(found) = partition(disk, &entry(&sector, 0), at, number) {
            all.try_push(found)?;
            number += 1;
        }
        let next = entry(&sector, 1);
        if !EXTENDED.contains(&next.kind) {
            break;
        }
        at = chain.saturating_add(next.first_sector);
    }
    Ok(all)
}
