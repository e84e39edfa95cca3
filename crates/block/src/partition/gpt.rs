//! The GUID partition table: UEFI specification 2.10, section 5.3.
use super::table::{MAX_PARTITIONS, Partition};
use crate::{Disk, Error};
use alloc::vec::Vec;
use coracle_fallible::{TryVec as _, filled};

const SIGNATURE: &[u8; 8] = b"EFI PART";
const HEADER_BYTES: usize = 92;
const CHECKSUM_AT: usize = 16;
const LEAST_ENTRY: usize = 128;
const MOST_ENTRY: usize = 4096;

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// CRC-32 as Ethernet has it, bit by bit: it is computed twice a boot.
fn crc32(state: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(state, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// The partitions, from the table at the beginning or the one at the end; none if neither holds.
pub fn read(disk: &dyn Disk) -> Result<Option<Vec<Partition>>, Error> {
    let sectors = disk.size_bytes() / u64::from(disk.sector_bytes());
    let Some(last) = sectors.checked_sub(1) else { return Ok(None) };
    for at in [1, last] {
        if at < sectors
            && let Some(partitions) = read_at(disk, at, sectors)?
        {
            return Ok(Some(partitions));
        }
    }
    Ok(None)
}

fn read_at(disk: &dyn Disk, header_sector: u64, sectors: u64) -> Result<Option<Vec<Partition>>, Error> {
    let sector_bytes = disk.sector_bytes() as usize;
    let mut header = filled(0, sector_bytes)?;
    disk.read(header_sector * sector_bytes as u64, &mut header)?;
    let header_bytes = word(&header, 12) as usize;
    if header.get(..8) != Some(SIGNATURE) || !(HEADER_BYTES..=sector_bytes).contains(&header_bytes) {
        return Ok(None);
    }
    let checksum = word(&header, CHECKSUM_AT);
    header[CHECKSUM_AT..CHECKSUM_AT + 4].fill(0);
    if !crc32(!0, &header[..header_bytes]) != checksum || long(&header, 24) != header_sector {
        return Ok(None);
    }
    let table_sector = long(&header, 72);
    let (count, entry_bytes) = (word(&header, 80) as usize, word(&header, 84) as usize);
    if !(LEAST_ENTRY..=MOST_ENTRY).contains(&entry_bytes) || !entry_bytes.is_power_of_two() {
        return Ok(None);
    }
    let table_bytes = count.saturating_mul(entry_bytes);
    let table_sectors = table_bytes.div_ceil(sector_bytes) as u64;
    if table_sector.checked_add(table_sectors).is_none_or(|end| end > sectors) || count > 4 * MAX_PARTITIONS {
        return Ok(None);
    }
    let mut table = filled(0, table_bytes.next_multiple_of(sector_bytes))?;
    disk.read(table_sector * sector_bytes as u64, &mut table)?;
    if !crc32(!0, &table[..table_bytes]) != word(&header, 88) {
        return Ok(None);
    }
    let mut all = Vec::new();
    for (index, entry) in table[..table_bytes].chunks_exact(entry_bytes).enumerate() {
        let (first, last) = (long(entry, 32), long(entry, 40));
        let kind: [u8; 16] = entry[..16].try_into().unwrap_or_default();
        if kind == [0; 16] || first == 0 || first > last || last >= sectors || all.len() == MAX_PARTITIONS {
            continue;
        }
        all.try_push(Partition {
            number: index as u32 + 1,
            offset_bytes: first * sector_bytes as u64,
            len_bytes: (last - first + 1) * sector_bytes as u64,
            kind,
        })?;
    }
    Ok(Some(all))
}
