//! Which CPUs and I/O APIC the machine has: Intel's MultiProcessor table (MP Specification 1.4, chapter 4), or ACPI's
//! MADT (ACPI 6.4, 5.2.12).
use alloc::vec::Vec;

/// What the firmware's tables say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// APIC ids of the CPUs that can be used, in the tables' order.
    pub cpus: Vec<u32>,
    /// Physical address of the I/O APIC that has line 0.
    pub io_apic: u64,
}

/// Where I/O APICs are unless something says otherwise.
const DEFAULT_IO_APIC: u64 = 0xfec0_0000;
/// Longest table believed.
const MAX_TABLE: usize = 64 * 1024;

/// Physical memory, as far as it may be read.
pub trait Firmware {
    /// `len` bytes at `phys`.
    fn read(&self, phys: u64, len: usize) -> Option<&[u8]>;
}

struct Machine;

impl Firmware for Machine {
    fn read(&self, phys: u64, len: usize) -> Option<&[u8]> {
        crate::boot::firmware(phys, len)
    }
}

static TOPOLOGY: spin::Once<Topology> = spin::Once::new();

/// The machine's topology, read on first use.
pub fn get() -> &'static Topology {
    TOPOLOGY.call_once(|| read(&Machine, crate::boot::rsdp()))
}

/// Physical address of the I/O APIC.
pub fn io_apic() -> u64 {
    get().io_apic
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn sums_to_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)) == 0
}

/// Reads the tables: ACPI where the loader named it, the MultiProcessor table, ACPI found by search.
fn read(firmware: &impl Firmware, rsdp: Option<u64>) -> Topology {
    rsdp.and_then(|rsdp| madt(firmware, rsdp))
        .or_else(|| mp_table(firmware))
        .or_else(|| madt(firmware, search(firmware, 0xe_0000, 0x2_0000, b"RSD PTR ", 20)?))
        .unwrap_or(Topology { cpus: Vec::new(), io_apic: DEFAULT_IO_APIC })
}

/// The 16-byte aligned place of a structure of `len` bytes that starts with `signature`, ending in a checksum of zero.
fn search(firmware: &impl Firmware, start: u64, len: usize, signature: &[u8], size: usize) -> Option<u64> {
    let area = firmware.read(start, len)?;
    let found = (0..len.saturating_sub(size))
        .step_by(16)
        .find(|&at| area[at..].starts_with(signature) && sums_to_zero(&area[at..at + size]))?;
    Some(start + found as u64)
}

fn mp_table(firmware: &impl Firmware) -> Option<Topology> {
    const FLOATING_POINTER: &[u8] = b"_MP_";
    const HEADER: usize = 44;
    // The extended BIOS data area (its segment stands at 0x40e), the last KiB of base memory, the BIOS.
    let ebda = u64::from(u16_at(firmware.read(0x40e, 2)?, 0)?) << 4;
    let places = [(ebda, 1024), (639 * 1024, 1024), (0xf_0000, 0x1_0000)];
    let pointer = places.into_iter().find_map(|(start, len)| {
        // Address 0 is no data area.
        if !(0x400..0x10_0000).contains(&start) {
            None
        } else {
            search(firmware, start, len, FLOATING_POINTER, 16)
        }
    })?;
    let table_at = u64::from(u32_at(firmware.read(pointer, 16)?, 4)?);
    let header = firmware.read(table_at, HEADER)?;
    let len = usize::from(u16_at(header, 4)?);
    if !header.starts_with(b"PCMP") || len < HEADER {
        return None;
    }
    let table = firmware.read(table_at, len)?;
    if !sums_to_zero(table) {
        return None;
    }
    let mut topology = Topology { cpus: Vec::new(), io_apic: DEFAULT_IO_APIC };
    let mut found_io_apic = false;
    let mut at = HEADER;
    // To the table's length: QEMU's qboot leaves the count of entries zero.
    while at < len {
        match table.get(at)? {
            // Processor: APIC id, version, flags (bit 0: usable).
            0 => {
                if table.get(at + 3)? & 1 != 0 {
                    topology.cpus.push(u32::from(*table.get(at + 1)?));
                }
                at += 20;
            }
            // I/O APIC: id, version, flags (bit 0: usable), address. The first has line 0.
            2 => {
                if table.get(at + 3)? & 1 != 0 && !found_io_apic {
                    topology.io_apic = u64::from(u32_at(table, at + 4)?);
                    found_io_apic = true;
                }
                at += 8;
            }
            1 | 3 | 4 => at += 8,
            _ => return None,
        }
    }
    Some(topology)
}

/// A whole ACPI table with its header, if its checksum is right.
fn acpi_table(firmware: &impl Firmware, at: u64) -> Option<&[u8]> {
    const HEADER: usize = 36;
    let len = u32_at(firmware.read(at, HEADER)?, 4)? as usize;
    if !(HEADER..=MAX_TABLE).contains(&len) {
        return None;
    }
    firmware.read(at, len).filter(|table| sums_to_zero(table))
}

fn madt(firmware: &impl Firmware, rsdp: u64) -> Option<Topology> {
    const ENTRIES: usize = 36;
    let pointer = firmware.read(rsdp, 20)?;
    if !pointer.starts_with(b"RSD PTR ") || !sums_to_zero(pointer) {
        return None;
    }
    let extended = pointer[15] >= 2;
    let xsdt = if extended { u64_at(firmware.read(rsdp, 36)?, 24)? } else { 0 };
    let (root, width) = if xsdt != 0 { (xsdt, 8) } else { (u64::from(u32_at(pointer, 16)?), 4) };
    let root = acpi_table(firmware, root)?;
    let madt = root[ENTRIES..].chunks_exact(width).find_map(|entry| {
        let address = if width == 8 { u64_at(entry, 0)? } else { u64::from(u32_at(entry, 0)?) };
        acpi_table(firmware, address).filter(|table| table.starts_with(b"APIC"))
    })?;
    let mut topology = Topology { cpus: Vec::new(), io_apic: DEFAULT_IO_APIC };
    let mut at = 44;
    while at + 2 <= madt.len() {
        let len = usize::from(madt[at + 1]);
        let entry = madt.get(at..at + len)?;
        match (madt[at], len) {
            (_, 0..2) => return None,
            // Local APIC: processor id, APIC id, flags (bit 0: enabled).
            (0, 8..) if entry[4] & 1 != 0 => topology.cpus.push(u32::from(entry[3])),
            // I/O APIC: id, reserved, address, first line.
            (1, 12..) if u32_at(entry, 8)? == 0 => topology.io_apic = u64::from(u32_at(entry, 4)?),
            // Local x2APIC: reserved, id, flags.
            (9, 16..) if u32_at(entry, 8)? & 1 != 0 => topology.cpus.push(u32_at(entry, 4)?),
            _ => {}
        }
        at += len;
    }
    Some(topology)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    struct Fake(Vec<u8>);
    impl Firmware for Fake {
        fn read(&self, phys: u64, len: usize) -> Option<&[u8]> {
            self.0.get(phys as usize..)?.get(..len)
        }
    }

    fn seal(bytes: &mut [u8], checksum_at: usize) {
        bytes[checksum_at] = 0;
        bytes[checksum_at] = bytes.iter().fold(0u8, |s, b| s.wrapping_sub(*b));
    }

    fn mp(cpus: &[(u8, u8)]) -> Fake {
        let mut memory = vec![0; 0x10_0000];
        let mut table = vec![0; 44];
        table[..4].copy_from_slice(b"PCMP");
        for (id, flags) in cpus {
            let mut entry = [0; 20];
            entry[1] = *id;
            entry[3] = *flags;
            table.extend_from_slice(&entry);
        }
        table.extend_from_slice(&[1, 0, b'I', b'S', b'A', 0, 0, 0]);
        table.extend_from_slice(&[2, 0, 0x11, 1, 0x00, 0x10, 0xc0, 0xfe]);
        let len = table.len() as u16;
        table[4..6].copy_from_slice(&len.to_le_bytes());
        seal(&mut table, 7);
        memory[0xf_1000..0xf_1000 + table.len()].copy_from_slice(&table);
        let mut pointer = [0; 16];
        pointer[..4].copy_from_slice(b"_MP_");
        pointer[4..8].copy_from_slice(&0xf_1000u32.to_le_bytes());
        pointer[8] = 1;
        seal(&mut pointer, 10);
        memory[0xf_5a00..0xf_5a10].copy_from_slice(&pointer);
        Fake(memory)
    }

    #[test]
    fn reads_the_multiprocessor_table() {
        let topology = read(&mp(&[(0, 3), (1, 1), (2, 0)]), None);
        assert_eq!(topology, Topology { cpus: vec![0, 1], io_apic: 0xfec0_1000 });
    }

    #[test]
    fn refuses_a_wrong_checksum() {
        let mut memory = mp(&[(0, 1)]);
        memory.0[0xf_1030] ^= 1;
        assert_eq!(read(&memory, None).cpus, vec![]);
    }

    #[test]
    fn reads_the_madt() {
        let mut memory = vec![0; 0x10_0000];
        let mut madt = vec![0; 44];
        madt[..4].copy_from_slice(b"APIC");
        madt.extend_from_slice(&[0, 8, 0, 0, 1, 0, 0, 0]);
        madt.extend_from_slice(&[0, 8, 1, 5, 1, 0, 0, 0]);
        madt.extend_from_slice(&[0, 8, 2, 6, 0, 0, 0, 0]);
        madt.extend_from_slice(&[9, 16, 0, 0, 0x00, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        madt.extend_from_slice(&[1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
        let len = madt.len() as u32;
        madt[4..8].copy_from_slice(&len.to_le_bytes());
        seal(&mut madt, 9);
        let mut rsdt = vec![0; 40];
        rsdt[..4].copy_from_slice(b"RSDT");
        rsdt[4] = 40;
        rsdt[36..40].copy_from_slice(&0x9_0000u32.to_le_bytes());
        seal(&mut rsdt, 9);
        let mut rsdp = [0; 20];
        rsdp[..8].copy_from_slice(b"RSD PTR ");
        rsdp[16..20].copy_from_slice(&0x8_0000u32.to_le_bytes());
        seal(&mut rsdp, 8);
        memory[0x9_0000..0x9_0000 + madt.len()].copy_from_slice(&madt);
        memory[0x8_0000..0x8_0028].copy_from_slice(&rsdt);
        memory[0xe_0010..0xe_0024].copy_from_slice(&rsdp);
        let expected = Topology { cpus: vec![0, 5, 256], io_apic: 0xfec0_0000 };
        let memory = Fake(memory);
        assert_eq!(read(&memory, None), expected);
        assert_eq!(read(&memory, Some(0xe_0010)), expected);
    }

    #[test]
    fn survives_any_table() {
        let mut random = 1u64;
        // Miri interprets, and each round searches a megabyte.
        for _ in 0..if cfg!(miri) { 2 } else { 200 } {
            let mut memory = mp(&[(0, 1), (1, 1)]);
            for _ in 0..3 {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(99);
                memory.0[0xf_1000 + (random >> 40) as usize % 100] = (random >> 33) as u8;
            }
            let len = usize::from(u16_at(&memory.0, 0xf_1004).unwrap());
            seal(&mut memory.0[0xf_1000..0xf_1000 + len.clamp(8, 4000)], 7);
            let _ = read(&memory, None);
        }
    }
}
