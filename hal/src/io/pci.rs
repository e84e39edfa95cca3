//! PCI configuration space: by ports 0xcf8 and 0xcfc, or in memory where there are no such ports. Only this crate reaches it.
use super::mmio::Mmio;
use crate::arch::{devices, port};
use crate::machine::host_bridge::{HostBridge, Unusable};
use crate::mm::layout::LARGE_PAGE;
use crate::once::Once;
use crate::sync::Mutex;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;

pub use super::function::{Function, functions, functions_behind_no_bridge};

/// Bus, device and function of a PCI device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Bus number.
    pub bus: u8,
    /// Device number, below 32.
    pub device: u8,
    /// Function number, below 8.
    pub function: u8,
}
impl core::fmt::Display for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus, self.device, self.function)
    }
}
/// PCI Local Bus Specification 3.0, section 3.2.2.3.2.
const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;

/// How configuration space is reached.
enum Access {
    /// By the two ports, which belong together.
    Ports(Mutex<()>),
    /// In memory; the first piece is where nearly all devices are.
    Memory(Mmio, Mutex<Ecam>),
    /// The machine has none, or none that can be used.
    None(Option<Unusable>),
}
static ACCESS: Once<Access> = Once::new();

/// Configuration space in memory (PCI Express Base Specification 4.0, 7.2.2: the Enhanced Configuration Access Mechanism).
struct Ecam {
    bridge: HostBridge,
    /// What was used of it beside the first piece: pieces of a large page, by their numbers.
    pieces: Vec<(u8, Mmio)>,
}
/// Bytes of configuration space of a function, and buses in a large page.
const FUNCTION_BYTES: usize = 4096;
const BUSES_IN_PIECE: u8 = (LARGE_PAGE / (256 * FUNCTION_BYTES)) as u8;

fn access() -> &'static Access {
    ACCESS.call_once(|| {
        port::write32(CONFIG_ADDRESS, ENABLE);
        if port::read32(CONFIG_ADDRESS) == ENABLE {
            return Access::Ports(Mutex::new(()));
        }
        let bridge = match devices::host_bridge() {
            Some(Ok(bridge)) => bridge,
            Some(Err(why)) => return Access::None(Some(why)),
            None => return Access::None(None),
        };
        match Mmio::map(bridge.ecam, bytes_of_piece(bridge.last_bus, 0)) {
            Some(first) => Access::Memory(first, Mutex::new(Ecam { bridge, pieces: Vec::new() })),
            None => Access::None(Some("its configuration space can't be mapped")),
        }
    })
}

/// Bytes of a piece of configuration space that ends with `last_bus`.
fn bytes_of_piece(last_bus: u8, number: u8) -> usize {
    let buses = usize::from(last_bus) + 1 - usize::from(number * BUSES_IN_PIECE);
    buses.min(BUSES_IN_PIECE.into()) * 256 * FUNCTION_BYTES
}

/// Calls `access` with the piece of configuration space that a register is in, and its offset there. `None` if it can't be
/// mapped.
fn in_memory<R>(
    first: &Mmio,
    others: &Mutex<Ecam>,
    address: Address,
    offset: u8,
    access: impl FnOnce(&Mmio, usize) -> R,
) -> Option<R> {
    let bus = usize::from(address.bus % BUSES_IN_PIECE);
    let function = bus << 8 | usize::from(address.device & 31) << 3 | usize::from(address.function & 7);
    let at = function * FUNCTION_BYTES + usize::from(offset & 0xfc);
    if address.bus == 0 {
        return Some(access(first, at));
    }
    let mut others = others.lock();
    if address.bus > others.bridge.last_bus {
        return None;
    }
    match address.bus / BUSES_IN_PIECE {
        0 => Some(access(first, at)),
        piece => Some(access(others.piece(piece)?, at)),
    }
}

impl Ecam {
    /// A piece by its number. `None` if it can't be mapped.
    fn piece(&mut self, number: u8) -> Option<&Mmio> {
        let known = self.pieces.iter().position(|(known, _)| *known == number);
        let index = known.unwrap_or(self.pieces.len());
        if known.is_none() {
            self.pieces.make_room(1).ok()?;
            let at = self.bridge.ecam.checked_add(u64::from(number) * LARGE_PAGE as u64)?;
            let piece = Mmio::map(at, bytes_of_piece(self.bridge.last_bus, number))?;
            self.pieces.push_reserved((number, piece));
        }
        Some(&self.pieces.get(index)?.1)
    }
}

fn select(address: Address, offset: u8) {
    let place = u32::from(address.bus) << 16
        | u32::from(address.device & 31) << 11
        | u32::from(address.function & 7) << 8
        | u32::from(offset & 0xfc);
    port::write32(CONFIG_ADDRESS, ENABLE | place);
}
/// True if the machine has PCI: it answers at the PCI ports, or ACPI or a device tree says where configuration space is in memory.
pub(crate) fn present() -> bool {
    !matches!(access(), Access::None(_))
}
/// Why the PCI that the machine has can't be used.
pub fn unusable() -> Option<&'static str> {
    if let Access::None(why) = access() { *why } else { None }
}
/// Reads the 32-bit register at `offset` (a multiple of 4, below 256); all ones if there is nothing.
pub(crate) fn read32(address: Address, offset: u8) -> u32 {
    match access() {
        Access::Ports(ports) => {
            let _guard = ports.lock();
            select(address, offset);
            port::read32(CONFIG_DATA)
        }
        Access::Memory(first, others) => {
            in_memory(first, others, address, offset, |registers, at| registers.read32(at))
                .unwrap_or(u32::MAX)
        }
        Access::None(_) => u32::MAX,
    }
}
/// Writes the 32-bit register.
pub(crate) fn write32(address: Address, offset: u8, value: u32) {
    match access() {
        Access::Ports(ports) => {
            let _guard = ports.lock();
            select(address, offset);
            port::write32(CONFIG_DATA, value);
        }
        Access::Memory(first, others) => {
            in_memory(first, others, address, offset, |registers, at| registers.write32(at, value));
        }
        Access::None(_) => {}
    }
}
/// True if devices' registers may be given addresses ([`take_window`]): the machine says from which, and its firmware is one
/// that leaves that to the operating system.
pub(crate) fn has_windows() -> bool {
    matches!(access(), Access::Memory(_, ecam) if !ecam.lock().bridge.windows.0.is_empty())
}
/// Takes addresses for a device's registers on bus 0 (`Windows::take`).
pub(crate) fn take_window(size: u64, wide: bool) -> Option<u64> {
    let Access::Memory(_, ecam) = access() else { return None };
    ecam.lock().bridge.windows.take(size, wide)
}
