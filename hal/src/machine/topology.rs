//! The CPUs and the I/O APIC of the machine: from Intel's MultiProcessor table (MP Specification 1.4, chapter 4), or ACPI's
//! MADT (ACPI 6.4, 5.2.12).
use crate::machine::acpi::Tables;
use crate::machine::firmware::{Firmware, Machine, search, sums_to_zero, u16_at, u32_at};
use alloc::vec::Vec;

/// The contents of the firmware's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// APIC ids of the CPUs that can be used, in the tables' order.
    pub cpus: Vec<u32>,
    /// Physical addresses of the I/O APICs, and the number of each one's first line.
    pub io_apics: Vec<(u64, u32)>,
}

/// The default address of I/O APICs.
const DEFAULT_IO_APIC: u64 = 0xfec0_0000;
static TOPOLOGY: crate::once::Once<Topology> = crate::once::Once::new();

/// The machine's topology, read on first use.
pub fn get() -> &'static Topology {
    TOPOLOGY.call_once(|| read(&Machine, Tables::at_hand(), Tables::of_machine))
}

/// The I/O APIC that `line` is at: its physical address, and the number of its first line.
pub fn io_apic(line: u32) -> (u64, u32) {
    let candidates = get().io_apics.iter().copied().filter(|(_, first)| *first <= line);
    candidates.max_by_key(|(_, first)| *first).unwrap_or((DEFAULT_IO_APIC, 0))
}

/// Reads the tables: ACPI's if the loader named them, the MultiProcessor table, ACPI's found by search.
fn read<'a, F: Firmware>(
    firmware: &'a F,
    at_hand: Option<Tables<'a, F>>,
    search: impl FnOnce() -> Option<Tables<'a, F>>,
) -> Topology {
    at_hand
        .and_then(|tables| madt(&tables))
        .or_else(|| mp_table(firmware))
        .or_else(|| madt(&search()?))
        .unwrap_or(Topology { cpus: Vec::new(), io_apics: Vec::new() })
}

fn mp_table(firmware: &impl Firmware) -> Option<Topology> {
    const FLOATING_POINTER: &[u8] = b"_MP_";
    const HEADER: usize = 44;
    // The extended BIOS data area (its segment is at 0x40e), the last KiB of base memory, the BIOS.
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
    let mut topology = Topology { cpus: Vec::new(), io_apics: Vec::new() };
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
                if table.get(at + 3)? & 1 != 0 && topology.io_apics.is_empty() {
                    topology.io_apics.push((u64::from(u32_at(table, at + 4)?), 0));
                }
                at += 8;
            }
            1 | 3 | 4 => at += 8,
            _ => return None,
        }
    }
    Some(topology)
}

fn madt(tables: &Tables<impl Firmware>) -> Option<Topology> {
    let madt = tables.one(b"APIC")?;
    let mut topology = Topology { cpus: Vec::new(), io_apics: Vec::new() };
    let mut at = 44;
    while at + 2 <= madt.len() {
        let len = usize::from(madt[at + 1]);
        let entry = madt.get(at..at + len)?;
        match (madt[at], len) {
            (_, 0..2) => return None,
            // Local APIC: processor id, APIC id, flags (bit 0: enabled).
            (0, 8..) if entry[4] & 1 != 0 => topology.cpus.push(u32::from(entry[3])),
            // I/O APIC: id, reserved, address, first line.
            (1, 12..) => topology.io_apics.push((u64::from(u32_at(entry, 4)?), u32_at(entry, 8)?)),
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
    use crate::machine::acpi::root_pointer;
    use crate::machine::firmware::fake::Fake;
    use std::vec;

    /// The topology of a machine whose loader names no tables.
    fn searched(memory: &Fake) -> Topology {
        read(memory, None, || Tables::at(memory, root_pointer(memory)?))
    }

    fn mp(cpus: &[(u8, u8)]) -> Fake {
        let mut memory = Fake::new();
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
        memory.put(0xf_1000, &table, 7);
        let mut pointer = [0; 16];
        pointer[..4].copy_from_slice(b"_MP_");
        pointer[4..8].copy_from_slice(&0xf_1000u32.to_le_bytes());
        pointer[8] = 1;
        memory.put(0xf_5a00, &pointer, 10);
        memory
    }

    #[test]
    fn reads_the_multiprocessor_table() {
        let topology = searched(&mp(&[(0, 3), (1, 1), (2, 0)]));
        assert_eq!(topology, Topology { cpus: vec![0, 1], io_apics: vec![(0xfec0_1000, 0)] });
    }

    #[test]
    fn refuses_a_wrong_checksum() {
        let mut memory = mp(&[(0, 1)]);
        memory.0[0xf_1030] ^= 1;
        assert_eq!(searched(&memory).cpus, vec![]);
    }

    #[test]
    fn reads_the_madt() {
        let mut memory = Fake::new();
        // Address of the local APICs, flags.
        let mut madt = vec![0; 8];
        madt.extend_from_slice(&[0, 8, 0, 0, 1, 0, 0, 0]);
        madt.extend_from_slice(&[0, 8, 1, 5, 1, 0, 0, 0]);
        madt.extend_from_slice(&[0, 8, 2, 6, 0, 0, 0, 0]);
        madt.extend_from_slice(&[9, 16, 0, 0, 0x00, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        madt.extend_from_slice(&[1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
        madt.extend_from_slice(&[1, 12, 1, 0, 0, 0, 0xc1, 0xfe, 24, 0, 0, 0]);
        memory.put_table(0x9_0000, b"APIC", &madt);
        memory.put_root(0xe_0010, &[0x9_0000]);
        let expected =
            Topology { cpus: vec![0, 5, 256], io_apics: vec![(0xfec0_0000, 0), (0xfec1_0000, 24)] };
        assert_eq!(searched(&memory), expected);
        assert_eq!(read(&memory, Tables::at(&memory, 0xe_0010), || None), expected);
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
            let table = memory.0[0xf_1000..0xf_1000 + len.clamp(8, 4000)].to_vec();
            memory.put(0xf_1000, &table, 7);
            let _ = searched(&memory);
        }
    }
}
