//! ACPI's static tables, as far as they locate registers (ACPI 6.4, chapter 5). Of the byte code, only objects that
//! every known firmware writes as constants are searched for; nothing is interpreted.
use crate::machine::aml::{self, integer};
use crate::machine::firmware::{Firmware, Machine, search, sums_to_zero, u32_at, u64_at};
use crate::machine::host_bridge::{HostBridge, Windows};
use alloc::vec::Vec;

/// Bytes of a table's header (5.2.6).
const HEADER: usize = 36;
/// Longest table believed.
const MAX_TABLE: usize = 1 << 20;

/// The tables that the root table names.
pub struct Tables<'a, F> {
    firmware: &'a F,
    root: &'a [u8],
    /// Bytes of an address in the root table.
    width: usize,
}

/// A register: Generic Address Structure (5.2.3.2), address spaces 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// At this physical address.
    Memory(u64),
    /// At this I/O port.
    Port(u16),
}

/// How ACPI puts the machine into state S5, "soft off".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftOff {
    /// The registers PM1a_CNT and PM1b_CNT (4.8.3.2): two 16-bit ports and the value of SLP_TYP for each; how the
    /// firmware is made to leave these registers to us (SMI_CMD, ACPI_ENABLE), if it has to be.
    Pm1 { a: (u16, u8), b: Option<(u16, u8)>, enable: Option<(u16, u8)> },
    /// The register SLEEP_CONTROL of reduced hardware (4.8.3.7): 8 bits, and the value of SLP_TYP.
    SleepControl(Register, u8),
}

/// A device's memory-mapped registers and its interrupt line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmioDevice {
    /// Physical address of the first register.
    pub base: u64,
    /// Bytes of registers.
    pub size: u64,
    /// Interrupt line (global system interrupt).
    pub irq: u32,
}

/// The power-management timer (4.8.3.3), which counts at 3.579545 MHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PmTimer {
    /// Its port, 32 bits wide.
    pub port: u16,
    /// Bits that count: 24 or 32.
    pub bits: u32,
}

/// Offsets in the Fixed ACPI Description Table (5.2.9).
mod fadt {
    pub const DSDT: usize = 40;
    pub const SMI_CMD: usize = 48;
    pub const ACPI_ENABLE: usize = 52;
    pub const PM1A_CNT: usize = 64;
    pub const PM1B_CNT: usize = 68;
    pub const PM_TMR: usize = 76;
    pub const PM_TMR_LEN: usize = 91;
    pub const FLAGS: usize = 112;
    pub const X_DSDT: usize = 140;
    pub const X_PM1A_CNT: usize = 172;
    pub const X_PM1B_CNT: usize = 184;
    pub const X_PM_TMR: usize = 208;
    pub const SLEEP_CONTROL: usize = 244;
    /// In the flags: the timer has 32 bits; the hardware is reduced.
    pub const TMR_VAL_EXT: u32 = 1 << 8;
    pub const HW_REDUCED: u32 = 1 << 20;
}

/// The register that a Generic Address Structure names; `None` if it names none, or one that can't be reached.
fn register(bytes: &[u8], at: usize) -> Option<Register> {
    let address = u64_at(bytes, at + 4)?;
    match *bytes.get(at)? {
        _ if address == 0 => None,
        0 => Some(Register::Memory(address)),
        1 => u16::try_from(address).ok().map(Register::Port),
        _ => None,
    }
}

/// Where this machine's root pointer is, once it has been looked for; 0: nowhere.
static ROOT_POINTER: crate::once::Once<u64> = crate::once::Once::new();

impl Tables<'static, Machine> {
    /// This machine's tables.
    pub fn of_machine() -> Option<Self> {
        let rsdp = *ROOT_POINTER.call_once(|| {
            let given = crate::boot::rsdp().filter(|&rsdp| Tables::at(&Machine, rsdp).is_some());
            given.or_else(|| root_pointer(&Machine)).unwrap_or(0)
        });
        Self::at(&Machine, rsdp)
    }

    /// [`Tables::of_machine`], unless they would have to be searched for in memory: a machine that needs them for what
    /// it is made of, its CPUs before all, has had that done.
    pub fn at_hand() -> Option<Self> {
        if ROOT_POINTER.is_completed() || crate::boot::rsdp().is_some() { Self::of_machine() } else { None }
    }
}

/// The root pointer where the firmware of a PC puts it (5.2.5.1).
pub fn root_pointer(firmware: &impl Firmware) -> Option<u64> {
    search(firmware, 0xe_0000, 0x2_0000, b"RSD PTR ", 20)
}

impl<'a, F: Firmware> Tables<'a, F> {
    /// The tables below the root pointer at `rsdp` (5.2.5.3).
    pub fn at(firmware: &'a F, rsdp: u64) -> Option<Self> {
        let pointer = firmware.read(rsdp, 20)?;
        if !pointer.starts_with(b"RSD PTR ") || !sums_to_zero(pointer) {
            return None;
        }
        let extended = pointer[15] >= 2;
        let xsdt = if extended { u64_at(firmware.read(rsdp, 36)?, 24)? } else { 0 };
        let (root, width) = if xsdt != 0 { (xsdt, 8) } else { (u64::from(u32_at(pointer, 16)?), 4) };
        Some(Tables { firmware, root: table(firmware, root)?, width })
    }

    /// The first PCI Express host bridge: that of the table MCFG (PCI Firmware Specification 3.3, 4.1.2), or one of the byte
    /// code: only that describes where devices' registers can be put.
    pub fn host_bridge(&self) -> Option<HostBridge> {
        /// Of the first entry: the base address, its PCI segment group and the first bus; the last one follows.
        const BASE: usize = 44;
        const SEGMENT: usize = 52;
        const FIRST_BUS: usize = 54;
        let named = || {
            let mcfg = self.one(b"MCFG")?;
            let is_first = *mcfg.get(FIRST_BUS)? == 0 && mcfg.get(SEGMENT..FIRST_BUS)? == [0, 0];
            let ecam = u64_at(mcfg, BASE).filter(|_| is_first)?;
            Some(HostBridge { ecam, last_bus: *mcfg.get(FIRST_BUS + 1)?, windows: Windows::default() })
        };
        self.code().find_map(|code| aml::host_bridge(&code[HEADER..])).or_else(named)
    }

    /// All tables with this signature.
    pub fn all(&self, signature: &'static [u8; 4]) -> impl Iterator<Item = &'a [u8]> {
        let (firmware, width) = (self.firmware, self.width);
        self.root[HEADER..].chunks_exact(width).filter_map(move |entry| {
            let address = if width == 8 { u64_at(entry, 0)? } else { u64::from(u32_at(entry, 0)?) };
            // The header first: what else is there may be large, and is not wanted.
            if !firmware.read(address, HEADER)?.starts_with(signature) {
                return None;
            }
            table(firmware, address)
        })
    }

    /// The first table with this signature.
    pub fn one(&self, signature: &'static [u8; 4]) -> Option<&'a [u8]> {
        self.all(signature).next()
    }

    /// How the machine is powered off, if the tables describe it.
    pub fn soft_off(&self) -> Option<SoftOff> {
        let fadt = self.one(b"FACP")?;
        let (a, b) = self.code().find_map(s5)?;
        if u32_at(fadt, fadt::FLAGS)? & fadt::HW_REDUCED != 0 {
            return Some(SoftOff::SleepControl(register(fadt, fadt::SLEEP_CONTROL)?, a));
        }
        let port = |old, new| {
            let old = u32_at(fadt, old).and_then(|port| u16::try_from(port).ok()).filter(|&port| port != 0);
            old.or_else(|| match register(fadt, new)? {
                Register::Port(port) => Some(port),
                Register::Memory(_) => None,
            })
        };
        let smi = u32_at(fadt, fadt::SMI_CMD).and_then(|port| u16::try_from(port).ok());
        let enable = smi.zip(fadt.get(fadt::ACPI_ENABLE).copied());
        Some(SoftOff::Pm1 {
            a: (port(fadt::PM1A_CNT, fadt::X_PM1A_CNT)?, a),
            b: port(fadt::PM1B_CNT, fadt::X_PM1B_CNT).map(|port| (port, b)),
            enable: enable.filter(|&(port, value)| port != 0 && value != 0),
        })
    }

    /// The power-management timer, if there is one.
    pub fn pm_timer(&self) -> Option<PmTimer> {
        let fadt = self.one(b"FACP")?;
        let flags = u32_at(fadt, fadt::FLAGS)?;
        // What the fields of reduced hardware hold means nothing.
        if flags & fadt::HW_REDUCED != 0 || *fadt.get(fadt::PM_TMR_LEN)? != 4 {
            return None;
        }
        let bits = if flags & fadt::TMR_VAL_EXT != 0 { 32 } else { 24 };
        let port = match register(fadt, fadt::X_PM_TMR) {
            Some(Register::Port(port)) => port,
            Some(Register::Memory(_)) => return None,
            None => u16::try_from(u32_at(fadt, fadt::PM_TMR)?).ok().filter(|&port| port != 0)?,
        };
        Some(PmTimer { port, bits })
    }

    /// The virtio devices behind memory-mapped registers that the byte code declares (virtio 1.2, 4.2.1; Linux's
    /// drivers/virtio/virtio_mmio.c: `LNRO0005`): QEMU's microvm and Firecracker write them with constant resources.
    pub fn virtio_mmio(&self) -> Vec<MmioDevice> {
        self.code().flat_map(mmio_devices).collect()
    }

    /// The tables of byte code (5.2.11).
    fn code(&self) -> impl Iterator<Item = &'a [u8]> {
        let dsdt = || {
            let fadt = self.one(b"FACP")?;
            let address = u64_at(fadt, fadt::X_DSDT).filter(|&address| address != 0);
            table(self.firmware, address.or_else(|| u32_at(fadt, fadt::DSDT).map(u64::from))?)
        };
        dsdt().into_iter().chain(self.all(b"SSDT"))
    }

    /// Physical address of the registers of the High Precision Event Timer (IA-PC HPET Specification 1.0a, 3.2.4).
    pub fn hpet(&self) -> Option<u64> {
        const BASE: usize = 40;
        match register(self.one(b"HPET")?, BASE)? {
            Register::Memory(address) => Some(address),
            Register::Port(_) => None,
        }
    }
}

/// A whole table with its header, if its checksum is right.
fn table(firmware: &impl Firmware, at: u64) -> Option<&[u8]> {
    let len = u32_at(firmware.read(at, HEADER)?, 4)? as usize;
    if !(HEADER..=MAX_TABLE).contains(&len) {
        return None;
    }
    firmware.read(at, len).filter(|table| sums_to_zero(table))
}

/// SLP_TYP for PM1a_CNT and PM1b_CNT from the object `_S5_` (7.4.2.6): `NameOp`, the name, `PackageOp`, a length, the
/// number of elements, and these (20.2).
fn s5(code: &[u8]) -> Option<(u8, u8)> {
    const NAME: u8 = 0x08;
    const ROOT: u8 = b'\\';
    const PACKAGE: u8 = 0x12;
    /// Bits of SLP_TYP.
    const SLP_TYP_MAX: u64 = 7;
    let at = code.windows(5).enumerate().find_map(|(at, bytes)| {
        let before = &code[..at];
        let named = before.ends_with(&[NAME]) || before.ends_with(&[NAME, ROOT]);
        (bytes == [b'_', b'S', b'5', b'_', PACKAGE] && named).then_some(at + 5)
    })?;
    // The two highest bits of a length's first byte say how many more bytes it has.
    let at = at + 1 + usize::from(*code.get(at)? >> 6);
    let count = *code.get(at)?;
    let (a, next) = integer(code, at + 1)?;
    // Cloud Hypervisor's has one element.
    let b = if count > 1 { integer(code, next)?.0 } else { a };
    (a <= SLP_TYP_MAX && b <= SLP_TYP_MAX).then_some((a as u8, b as u8))
}

/// The virtio devices that a table declares: after each hardware id, the next two resource descriptors (6.4.3.4 and
/// 6.4.3.6: 32-bit fixed memory range, extended interrupt with one line), before the next id.
fn mmio_devices(code: &[u8]) -> Vec<MmioDevice> {
    const ID: &[u8] = b"LNRO0005";
    const MEMORY: &[u8] = &[0x86, 9, 0];
    const INTERRUPT: &[u8] = &[0x89, 6, 0];
    let find = |code: &[u8], what: &[u8]| code.windows(what.len()).position(|bytes| bytes == what);
    let mut devices = Vec::new();
    let mut rest = code;
    while let Some(at) = find(rest, ID) {
        rest = &rest[at + ID.len()..];
        let device = &rest[..find(rest, ID).unwrap_or(rest.len())];
        let resources = || {
            let memory = find(device, MEMORY)?;
            let interrupt = &device[memory..];
            let interrupt = &interrupt[find(interrupt, INTERRUPT)?..];
            Some(MmioDevice {
                base: u64::from(u32_at(device, memory + 4)?),
                size: u64::from(u32_at(device, memory + 8)?),
                irq: u32_at(interrupt, 5)?,
            })
        };
        devices.extend(resources());
    }
    devices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::firmware::fake::Fake;
    use std::vec;

    const FADT: usize = 0x9_0000;
    const DSDT: usize = 0x9_8000;

    /// The tables of a machine whose loader names none.
    fn found(memory: &Fake) -> Option<Tables<'_, Fake>> {
        Tables::at(memory, root_pointer(memory)?)
    }

    /// A machine whose FADT has this length and these fields, and whose DSDT holds `code`.
    fn machine(len: usize, fields: &[(usize, &[u8])], code: &[u8]) -> Fake {
        let mut memory = Fake::new();
        let mut body = vec![0; len - 36];
        let dsdt = (DSDT as u32).to_le_bytes();
        for (at, bytes) in fields.iter().chain(&[(fadt::DSDT, &dsdt[..])]) {
            body[at - 36..at - 36 + bytes.len()].copy_from_slice(bytes);
        }
        memory.put_table(FADT, b"FACP", &body);
        memory.put_table(DSDT, b"DSDT", code);
        memory.put_root(0xe_0010, &[FADT as u32]);
        memory
    }

    /// The object as QEMU's pc writes it: four elements, `Zero` four times; with a prefix of other code.
    const PC: &[u8] = b"\x10\x05_SB_\x08_S5_\x12\x06\x04\x00\x00\x00\x00";

    #[test]
    fn a_pc_is_switched_off_by_its_ports() {
        let fields: &[(usize, &[u8])] = &[
            (fadt::SMI_CMD, &[0xb2, 0, 0, 0]),
            (fadt::ACPI_ENABLE, &[0xf1]),
            (fadt::PM1A_CNT, &[0x04, 0x06, 0, 0]),
            (fadt::PM_TMR, &[0x08, 0x06, 0, 0]),
            (fadt::PM_TMR_LEN, &[4]),
        ];
        let memory = machine(116, fields, PC);
        let tables = found(&memory).unwrap();
        let off = SoftOff::Pm1 { a: (0x604, 0), b: None, enable: Some((0xb2, 0xf1)) };
        assert_eq!(tables.soft_off(), Some(off));
        assert_eq!(tables.pm_timer(), Some(PmTimer { port: 0x608, bits: 24 }));
        assert_eq!(tables.hpet(), None);
    }

    #[test]
    fn reduced_hardware_is_switched_off_by_one_register() {
        let reduced = fadt::HW_REDUCED.to_le_bytes();
        let port = [1, 8, 0, 1, 0x00, 0x06, 0, 0, 0, 0, 0, 0];
        let memory = [0, 8, 0, 1, 0x00, 0x02, 0xea, 0xfe, 0, 0, 0, 0];
        // A package of one element with the name below the root, as Cloud Hypervisor's.
        let code = b"\x08\\_S5_\x12\x04\x01\x0a\x05";
        for (bytes, register) in [(port, Register::Port(0x600)), (memory, Register::Memory(0xfeea_0200))] {
            let fields: &[(usize, &[u8])] = &[(fadt::FLAGS, &reduced), (fadt::SLEEP_CONTROL, &bytes)];
            let memory = machine(276, fields, code);
            let tables = Tables::at(&memory, 0xe_0010).unwrap();
            assert_eq!(tables.soft_off(), Some(SoftOff::SleepControl(register, 5)));
            assert_eq!(tables.pm_timer(), None);
        }
    }

    #[test]
    fn constants_and_lengths_of_all_forms() {
        assert_eq!(s5(b"\x08_S5_\x12\x0a\x04\x01\x0b\x05\x00\x00\x00"), Some((1, 5)));
        assert_eq!(s5(b"\x08_S5_\x12\x41\x00\x02\x0c\x07\x00\x00\x00\x0a\x06"), Some((7, 6)));
        // Computed, too large, cut short, another name.
        for code in [
            &b"\x08_S5_\x12\x06\x04\x72\x00\x00\x00"[..],
            b"\x08_S5_\x12\x06\x04\x0a\x08\x00\x00",
            b"\x08_S5_\x12\x06\x04",
            b"\x08_S4_\x12\x06\x04\x00\x00\x00\x00",
            b"_S5_\x12",
        ] {
            assert_eq!(s5(code), None, "{code:x?}");
        }
    }

    #[test]
    fn virtio_devices_are_declared_with_their_resources() {
        let mut code = b"\x5b\x82\x40\x04VR00\x08_HID\x0dLNRO0005\0\x08_CRS\x11\x1a\x0a\x17".to_vec();
        code.extend_from_slice(&[0x86, 9, 0, 1, 0x00, 0x00, 0xb0, 0xfe, 0x00, 0x02, 0, 0]);
        code.extend_from_slice(&[0x89, 6, 0, 0x03, 1, 16, 0, 0, 0, 0x79, 0]);
        // One without an interrupt, and one that is cut short.
        code.extend_from_slice(b"VR01\x08_HID\x0dLNRO0005\0");
        code.extend_from_slice(&[0x86, 9, 0, 1, 0x00, 0x02, 0xb0, 0xfe, 0x00, 0x02, 0, 0]);
        code.extend_from_slice(b"VR02\x08_HID\x0dLNRO0005\0\x86\x09\0\x01");
        let memory = machine(116, &[], &code);
        let expected = MmioDevice { base: 0xfeb0_0000, size: 512, irq: 16 };
        assert_eq!(found(&memory).unwrap().virtio_mmio(), [expected]);
    }

    #[test]
    fn without_the_object_there_is_no_way() {
        let fields: &[(usize, &[u8])] = &[(fadt::PM1A_CNT, &[0x04, 0x06, 0, 0])];
        assert_eq!(found(&machine(116, fields, b"")).unwrap().soft_off(), None);
        assert!(found(&Fake::new()).is_none());
    }

    #[test]
    fn survives_any_bytes() {
        let mut random = 1u64;
        let mut next = || {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(99);
            (random >> 33) as usize
        };
        let good = machine(276, &[(fadt::FLAGS, &fadt::HW_REDUCED.to_le_bytes())], PC);
        // Miri interprets, and each round copies a megabyte.
        for _ in 0..if cfg!(miri) { 2 } else { 300 } {
            let mut memory = Fake(good.0.clone());
            for (at, len) in [(FADT, 276), (DSDT, 60)] {
                let mut bytes: Vec<u8> = memory.0[at..at + len].to_vec();
                for _ in 0..4 {
                    bytes[4 + next() % (len - 4)] = next() as u8;
                }
                let claimed = u32_at(&bytes, 4).unwrap() as usize;
                let seal = claimed.clamp(36, len);
                memory.0[at..at + len].copy_from_slice(&bytes);
                let sealed = memory.0[at..at + seal].to_vec();
                memory.put(at, &sealed, 9);
            }
            if let Some(tables) = found(&memory) {
                let _ = (
                    tables.soft_off(),
                    tables.pm_timer(),
                    tables.hpet(),
                    tables.virtio_mmio(),
                    tables.host_bridge(),
                );
            }
        }
    }
}
