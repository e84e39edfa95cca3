//! What the firmware says of CPUs and interrupt controllers: ACPI's MADT (ACPI 6.5, section 5.2.12) where there is an
//! RSDP, else the table of the MultiProcessor Specification 1.4. Pure parsing of foreign bytes: it never panics.
use alloc::vec::Vec;

/// CPUs and interrupt controllers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// APIC ids of the usable CPUs, the booting one included.
    pub cpus: Vec<u32>,
    /// The I/O APICs.
    pub io_apics: Vec<IoApic>,
    /// Where ISA interrupts go if not to the same global number.
    pub overrides: Vec<Override>,
}

/// An I/O APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Physical address of its registers.
    pub address: u64,
    /// The global interrupt number of its first pin.
    pub first_gsi: u32,
}

/// An ISA interrupt that is wired elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// ISA interrupt number.
    pub isa: u8,
    /// Global interrupt number.
    pub gsi: u32,
}

/// Physical memory as the parser sees it: `len` bytes at an address, or `None` if they can't be read.
pub trait Memory {
    /// The bytes.
    fn bytes(&self, address: u64, len: usize) -> Option<&[u8]>;
}

/// No table is larger: what claims to be is not believed.
const MAX_TABLE_BYTES: usize = 64 * 1024;
/// Bytes of an ACPI table header.
const ACPI_HEADER: usize = 36;
/// Bytes of the MP floating pointer.
const MP_POINTER: usize = 16;
/// Bytes of the MP configuration table's header.
const MP_HEADER: usize = 44;

/// The platform from the ACPI tables that the RSDP at `rsdp` leads to.
pub fn from_acpi(memory: &impl Memory, rsdp: u64) -> Option<Platform> {
    let pointer = memory.bytes(rsdp, 20).filter(|b| b.starts_with(b"RSD PTR ") && sum(b) == 0)?;
    let (root, entry_bytes) = match pointer[15] {
        0 => (u64::from(le32(pointer, 16)?), 4),
        _ => {
            let long = memory.bytes(rsdp, 36)?;
            match le64(long, 24)? {
                0 => (u64::from(le32(pointer, 16)?), 4),
                address => (address, 8),
            }
        }
    };
    let root = acpi_table(memory, root)?;
    for entry in root.get(ACPI_HEADER..)?.chunks_exact(entry_bytes) {
        let address = if entry_bytes == 4 { u64::from(le32(entry, 0)?) } else { le64(entry, 0)? };
        if let Some(table) = acpi_table(memory, address).filter(|table| table.starts_with(b"APIC")) {
            return Some(madt(table));
        }
    }
    None
}

fn acpi_table<M: Memory>(memory: &M, address: u64) -> Option<&[u8]> {
    let len = le32(memory.bytes(address, ACPI_HEADER)?, 4)? as usize;
    if !(ACPI_HEADER..=MAX_TABLE_BYTES).contains(&len) {
        return None;
    }
    memory.bytes(address, len).filter(|table| sum(table) == 0)
}

fn madt(table: &[u8]) -> Platform {
    const ENABLED: u32 = 1;
    let mut platform = Platform::default();
    let mut rest = table.get(ACPI_HEADER + 8..).unwrap_or(&[]);
    while let [kind, len, ..] = *rest {
        let Some(entry) = rest.get(..usize::from(len)).filter(|entry| entry.len() >= 2) else { break };
        let _ = parse_madt_entry(&mut platform, kind, entry, ENABLED);
        rest = &rest[usize::from(len)..];
    }
    platform
}

fn parse_madt_entry(platform: &mut Platform, kind: u8, entry: &[u8], enabled: u32) -> Option<()> {
    match kind {
        // Processor Local APIC
        0 if le32(entry, 4)? & enabled != 0 => platform.cpus.push(u32::from(*entry.get(3)?)),
        // I/O APIC
        1 => platform
            .io_apics
            .push(IoApic { address: u64::from(le32(entry, 4)?), first_gsi: le32(entry, 8)? }),
        // Interrupt Source Override
        2 => platform.overrides.push(Override { isa: *entry.get(3)?, gsi: le32(entry, 4)? }),
        // Processor Local x2APIC
        9 if le32(entry, 8)? & enabled != 0 => platform.cpus.push(le32(entry, 4)?),
        _ => {}
    }
    Some(())
}

/// The platform from the MP configuration table, if the first MiB has one (MP 1.4, section 4).
pub fn from_mp_table(memory: &impl Memory) -> Option<Platform> {
    /// Where the BIOS data area names the segment of the extended BIOS data area.
    const EBDA_SEGMENT: u64 = 0x40e;
    let ebda = memory.bytes(EBDA_SEGMENT, 2).map_or(0, |b| u64::from(u16::from_le_bytes([b[0], b[1]])) << 4);
    let places = [(ebda, 1024), (0x9_fc00, 1024), (0xf_0000, 0x1_0000), (0xe_0000, 0x1_0000)];
    places.iter().filter(|place| place.0 != 0).find_map(|&(start, len)| {
        (start..start + len).step_by(MP_POINTER).find_map(|address| {
            let pointer = memory.bytes(address, MP_POINTER).filter(|b| b.starts_with(b"_MP_") && sum(b) == 0)?;
            mp_table(memory, u64::from(le32(pointer, 4)?))
        })
    })
}

fn mp_table(memory: &impl Memory, address: u64) -> Option<Platform> {
    /// Flags of an entry: usable.
    const ENABLED: u8 = 1;
    /// Interrupt type INT: a vectored interrupt.
    const VECTORED: u8 = 0;
    let header = memory.bytes(address, MP_HEADER).filter(|b| b.starts_with(b"PCMP"))?;
    let len = usize::from(u16::from_le_bytes([header[4], header[5]]));
    let table = memory.bytes(address, len.max(MP_HEADER)).filter(|b| sum(b) == 0)?;
    let mut platform = Platform::default();
    let mut isa_bus = None;
    let mut rest = &table[MP_HEADER..];
    while let Some(&kind) = rest.first() {
        let entry_len = if kind == 0 { 20 } else { 8 };
        let Some(entry) = rest.get(..entry_len) else { break };
        match kind {
            0 if entry[3] & ENABLED != 0 => platform.cpus.push(u32::from(entry[1])),
            1 if &entry[2..5] == b"ISA" => isa_bus = Some(entry[1]),
            2 if entry[3] & ENABLED != 0 => {
                platform.io_apics.push(IoApic { address: u64::from(le32(entry, 4)?), first_gsi: 0 });
            }
            3 if entry[1] == VECTORED && isa_bus == Some(entry[4]) && entry[5] != entry[7] => {
                platform.overrides.push(Override { isa: entry[5], gsi: u32::from(entry[7]) });
            }
            _ => {}
        }
        rest = &rest[entry_len..];
    }
    Some(platform)
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn le32(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

fn le64(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(offset..offset + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    struct Ram(Vec<u8>);

    impl Memory for Ram {
        fn bytes(&self, address: u64, len: usize) -> Option<&[u8]> {
            let start = usize::try_from(address).ok()?;
            self.0.get(start..start.checked_add(len)?)
        }
    }

    impl Ram {
        fn new() -> Ram {
            Ram(vec![0; 1 << 20])
        }
        /// Stores `bytes` with the byte at `checksum` chosen so that all sum to zero.
        fn put(&mut self, address: usize, bytes: &[u8], checksum: usize) {
            self.0[address..address + bytes.len()].copy_from_slice(bytes);
            self.0[address + checksum] = 0;
            self.0[address + checksum] = sum(bytes).wrapping_sub(bytes[checksum]).wrapping_neg();
        }
    }

    fn acpi_ram() -> Ram {
        let mut ram = Ram::new();
        let mut rsdp = b"RSD PTR \0QEMU  \0".to_vec();
        rsdp.extend(0x1000u32.to_le_bytes());
        ram.put(0xf_0000, &rsdp, 8);
        let mut rsdt = b"RSDT".to_vec();
        rsdt.extend(40u32.to_le_bytes());
        rsdt.resize(ACPI_HEADER, 0);
        rsdt.extend(0x2000u32.to_le_bytes());
        ram.put(0x1000, &rsdt, 9);
        let mut entries = vec![0, 8, 0, 0, 1, 0, 0, 0, 0, 8, 1, 1, 1, 0, 0, 0, 0, 8, 2, 2, 0, 0, 0, 0];
        entries.extend([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
        entries.extend([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
        let mut apic = b"APIC".to_vec();
        apic.extend((ACPI_HEADER as u32 + 8 + entries.len() as u32).to_le_bytes());
        apic.resize(ACPI_HEADER + 8, 0);
        apic.extend(entries);
        ram.put(0x2000, &apic, 9);
        ram
    }

    #[test]
    fn finds_cpus_and_io_apics_in_the_madt() {
        let platform = from_acpi(&acpi_ram(), 0xf_0000).unwrap();
        assert_eq!(platform.cpus, [0, 1]);
        assert_eq!(platform.io_apics, [IoApic { address: 0xfec0_0000, first_gsi: 0 }]);
        assert_eq!(platform.overrides, [Override { isa: 0, gsi: 2 }]);
    }

    #[test]
    fn refuses_a_table_with_a_wrong_sum() {
        let mut ram = acpi_ram();
        ram.0[0x2000 + 50] ^= 1;
        assert_eq!(from_acpi(&ram, 0xf_0000), None);
    }

    #[test]
    fn finds_cpus_in_the_mp_table() {
        let mut ram = Ram::new();
        ram.put(0xf_1230, b"_MP_\x00\x20\x00\x00\x01\x04\x00\0\0\0\0\0", 10);
        let mut entries = Vec::new();
        for id in 0..3u8 {
            let mut cpu = vec![0, id, 0x14, u8::from(id < 2)];
            cpu.resize(20, 0);
            entries.extend(cpu);
        }
        entries.extend(b"\x01\x00ISA   ");
        entries.extend([2, 0, 0x11, 1, 0, 0, 0xc0, 0xfe]);
        entries.extend([3, 0, 0, 0, 0, 0, 0, 2, 3, 0, 0, 0, 0, 4, 0, 4]);
        let mut table = b"PCMP".to_vec();
        table.extend((MP_HEADER as u16 + entries.len() as u16).to_le_bytes());
        table.resize(MP_HEADER, 0);
        table.extend(entries);
        ram.put(0x2000, &table, 7);
        let platform = from_mp_table(&ram).unwrap();
        assert_eq!(platform.cpus, [0, 1]);
        assert_eq!(platform.io_apics.len(), 1);
        assert_eq!(platform.overrides, [Override { isa: 0, gsi: 2 }]);
    }

    #[test]
    fn survives_any_bytes() {
        let mut state = 1u32;
        for _ in 0..200 {
            let mut ram = acpi_ram();
            for _ in 0..40 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ram.0[0x2000 + (state >> 16) as usize % 120] = state as u8;
            }
            let _ = from_acpi(&ram, 0xf_0000);
            let _ = madt(&ram.0[0x2000..0x2080]);
            let _ = mp_table(&ram, 0x2000);
        }
    }
}
