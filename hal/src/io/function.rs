//! PCI: which functions there are, their register blocks and interrupts (PCI Local Bus 3.0).
//!
//! What makes a device answer, gives addresses to its registers or sends its interrupts is for this crate alone; others may
//! look at which functions there are.
use super::bars::{self, BAR_0, BAR_PORT, BAR_PORTS, Bars};
use super::pci::{Address, has_windows, present, read32, take_window, write32};
use crate::arch::devices;
use crate::arch::port::Ports;
use crate::irq::Irq;
use alloc::vec::Vec;
use coracle_virtio::transport::pci::{Block, Msix};

/// Offsets in configuration space (section 6.1).
const ID: u8 = 0x00;
const COMMAND: u8 = 0x04;
const CLASS: u8 = 0x08;
const HEADER_TYPE: u8 = 0x0c;
const BUSES: u8 = 0x18;
const INTERRUPT: u8 = 0x3c;
/// Command bits: answer at ports; answer in memory space, and reach memory by oneself.
const PORTS: u32 = 1;
const MEMORY_AND_MASTER: u32 = 0b110;
/// Command bits that are not to be set by rewriting the register: the upper half is status, cleared by ones.
const COMMAND_MASK: u32 = 0xffff;
/// In the header type (bits 16 to 22 of its register): a bridge to another bus; more functions than one (bit 23).
const BRIDGE: u32 = 1;
const MULTIFUNCTION: u32 = 0x80;
/// What an empty slot reads.
const NOBODY: u32 = 0xffff_ffff;
/// Bytes of an MSI-X table entry (section 6.8.2.6), and the bit of the capability that switches MSI-X on.
const MSIX_ENTRY: usize = 16;
const MSIX_ENABLE: u32 = 1 << 31;

/// A function of a PCI device.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    address: Address,
    vendor: u16,
    device: u16,
    /// What kind of registers it has, and whether it is one of several functions.
    header_type: u32,
}

/// All functions, bridges followed.
pub fn functions() -> Vec<Function> {
    let mut found = Vec::new();
    if present() {
        scan(0, &mut Buses::default(), &mut found);
    }
    found
}

/// Functions on buses that no bridge leads to from bus 0: those of further root buses. `known`: what [`functions`] gave.
/// Reads a register of 32 places on each of 256 buses.
pub fn functions_behind_no_bridge(known: &[Function]) -> Vec<Function> {
    let mut found = Vec::new();
    if !present() {
        return found;
    }
    let mut seen = Buses::default();
    seen.add(0);
    for function in known {
        seen.add(function.address.bus);
        function.secondary_bus().into_iter().for_each(|bus| seen.add(bus));
    }
    for bus in 0..=u8::MAX {
        if !seen.has(bus) {
            scan(bus, &mut seen, &mut found);
        }
    }
    found
}

/// A set of bus numbers.
#[derive(Default)]
struct Buses([u64; 4]);

impl Buses {
    fn has(&self, bus: u8) -> bool {
        self.0[usize::from(bus / 64)] & 1 << (bus % 64) != 0
    }
    fn add(&mut self, bus: u8) {
        self.0[usize::from(bus / 64)] |= 1 << (bus % 64);
    }
}

/// Adds the functions on `first` and on the buses below it that were not seen yet.
fn scan(first: u8, seen: &mut Buses, found: &mut Vec<Function>) {
    seen.add(first);
    let mut buses = alloc::vec![first];
    let mut next = 0;
    while let Some(&bus) = buses.get(next) {
        next += 1;
        for device in 0..32 {
            for function in 0..8 {
                let address = Address { bus, device, function };
                let id = read32(address, ID);
                if id == NOBODY {
                    if function == 0 {
                        break;
                    }
                    continue;
                }
                let header_type = read32(address, HEADER_TYPE) >> 16 & 0xff;
                let new = Function { address, vendor: id as u16, device: (id >> 16) as u16, header_type };
                found.push(new);
                if let Some(bus) = new.secondary_bus().filter(|&bus| !seen.has(bus)) {
                    seen.add(bus);
                    buses.push(bus);
                }
                if function == 0 && new.header_type & MULTIFUNCTION == 0 {
                    break;
                }
            }
        }
    }
}

impl Function {
    /// Where it is.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Its vendor.
    pub fn vendor(&self) -> u16 {
        self.vendor
    }

    /// The vendor's number of the device.
    pub fn device(&self) -> u16 {
        self.device
    }

    /// The bus behind a bridge.
    fn secondary_bus(&self) -> Option<u8> {
        if self.header_type & !MULTIFUNCTION != BRIDGE {
            return None;
        }
        Some((read32(self.address, BUSES) >> 8) as u8).filter(|&bus| bus != 0)
    }

    /// True for a network card of any kind.
    pub fn is_network(&self) -> bool {
        const NETWORK: u32 = 0x02;
        read32(self.address, CLASS) >> 24 == NETWORK
    }

    /// Lets the device answer and reach memory.
    pub(crate) fn enable(&self) {
        if has_windows() && self.header_type & !MULTIFUNCTION == 0 && self.address.bus == 0 {
            bars::place(
                &|at| read32(self.address, at),
                &|at, value| write32(self.address, at, value),
                &mut take_window,
            );
        }
        let command = read32(self.address, COMMAND) & COMMAND_MASK;
        write32(self.address, COMMAND, command | MEMORY_AND_MASTER);
    }

    /// The ports of BAR `index`, at which the device answers from now on. `None` if it is no I/O BAR, or the firmware gave it
    /// no address.
    pub(crate) fn ports(&self, index: u8) -> Option<Ports> {
        let at = BAR_0 + 4 * index;
        let old = read32(self.address, at);
        let base = (old & BAR_PORT) as u16;
        if old & BAR_PORTS == 0 || base == 0 {
            return None;
        }
        let command = read32(self.address, COMMAND) & COMMAND_MASK;
        // It must not answer elsewhere while the bits of the address are found that it takes: those below its size stay 0.
        write32(self.address, COMMAND, command & !PORTS);
        write32(self.address, at, u32::MAX);
        let taken = (read32(self.address, at) & BAR_PORT) as u16;
        write32(self.address, at, old);
        write32(self.address, COMMAND, command | PORTS);
        Ports::new(base, taken.wrapping_neg())
    }

    /// Reads configuration space.
    pub(crate) fn config(&self, offset: u8) -> u32 {
        read32(self.address, offset)
    }

    /// Reads where its registers are. Each access to configuration space leaves the virtual machine: once is enough.
    pub(crate) fn bars(&self) -> Bars {
        Bars::read(&|at| read32(self.address, at))
    }

    /// Its interrupt to `cpu`, and whether that is a message: the first vector of MSI-X where that is possible, else its pin.
    pub(crate) fn interrupt(&self, bars: &Bars, msix: Option<&Msix>, cpu: usize) -> Option<(Irq, bool)> {
        if let Some(irq) = msix.and_then(|msix| self.enable_msix(bars, msix, cpu)) {
            return Some((irq, true));
        }
        let register = read32(self.address, INTERRUPT);
        let (line, trigger) = devices::pci_line(self.address, (register >> 8) as u8, register as u8)?;
        Some((Irq::line(line, trigger, cpu)?, false))
    }

    /// Makes MSI-X vector 0 an interrupt to `cpu`.
    fn enable_msix(&self, bars: &Bars, msix: &Msix, cpu: usize) -> Option<Irq> {
        let table = bars.map(Block {
            bar: msix.bar,
            offset: msix.offset,
            len: u32::from(msix.vectors) * MSIX_ENTRY as u32,
        })?;
        let (irq, message) = Irq::msi(cpu)?;
        table.write32(0, message.address as u32);
        table.write32(4, (message.address >> 32) as u32);
        table.write32(8, message.data);
        table.write32(12, 0);
        let control = read32(self.address, msix.capability);
        write32(self.address, msix.capability, control | MSIX_ENABLE);
        Some(irq)
    }
}
