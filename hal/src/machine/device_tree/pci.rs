//! PCI host bridges in a device tree: the binding of `pci-host-ecam-generic` (Linux's
//! Documentation/devicetree/bindings/pci/host-generic-pci.yaml; IEEE 1275's PCI Bus Binding, revision 2.1).
use super::{DeviceTree, Node, words};
use crate::io::pci::Address;
use crate::machine::host_bridge::{HostBridge, Unusable, Windows};
use alloc::vec::Vec;
use coracle_fallible::prelude::*;

/// Bytes of configuration space of a bus.
const BUS_BYTES: u64 = 1 << 20;
/// Words of a device's address, which begins with its place, and of the number of its interrupt pin.
const ADDRESS_CELLS: usize = 3;
const PIN_CELLS: usize = 1;

fn node<'a>(tree: &DeviceTree<'a>) -> Option<Node<'a>> {
    tree.find(|node| (node.is_compatible("pci-host-ecam-generic") && node.is_enabled()).then_some(node))
}

/// The first bridge of a device tree; `None` if it has none.
pub fn find(tree: &DeviceTree) -> Option<Result<HostBridge, Unusable>> {
    node(tree).map(|node| read(&node))
}

fn read(node: &Node) -> Result<HostBridge, Unusable> {
    let (ecam, size) = node.registers().next().ok_or("its host bridge has no registers")?;
    let first_bus = node.word("bus-range", 0).unwrap_or(0);
    let last_bus = node.word("bus-range", 1).unwrap_or(u32::from(u8::MAX));
    if first_bus != 0 || size < BUS_BYTES || ecam.checked_add(size).is_none() {
        return Err("its host bridge has no bus 0");
    }
    let last_bus = u64::from(last_bus).min(size / BUS_BYTES - 1).min(u8::MAX.into()) as u8;
    Ok(HostBridge {
        ecam,
        last_bus,
        windows: windows(node).ok_or("the ranges of its host bridge make no sense")?,
    })
}

/// The ranges of memory among `ranges`: the address that a device sees must be the one that CPUs use.
fn windows(node: &Node) -> Option<Windows> {
    /// In the first word of an address: which space it is in, that of 32-bit or of 64-bit memory.
    const SPACE: u32 = 3 << 24;
    const MEMORY: u32 = 2 << 24;
    const WIDE_MEMORY: u32 = 3 << 24;
    const SIZE_CELLS: usize = 2;
    let ranges = node.property("ranges")?;
    let cells = ADDRESS_CELLS + node.address_cells() + SIZE_CELLS;
    if !ranges.len().is_multiple_of(size_of::<u32>() * cells) {
        return None;
    }
    let mut found = Vec::new();
    for range in ranges.chunks_exact(size_of::<u32>() * cells) {
        let (device, rest) = range.split_at(size_of::<u32>() * ADDRESS_CELLS);
        let (cpu, size) = rest.split_at(rest.len() - size_of::<u32>() * SIZE_CELLS);
        let (space, device) = device.split_at(size_of::<u32>());
        let [start, cpu, size] = [device, cpu, size].map(words);
        let end = start.checked_add(size)?;
        if matches!(words(space) as u32 & SPACE, MEMORY | WIDE_MEMORY) && start == cpu && start < end {
            found.try_push(start..end).ok()?;
        }
    }
    Some(Windows(found))
}

/// What `interrupt-map` says of an interrupt pin (1 to 4: A to D) of a device on bus 0: the words that name the interrupt to
/// the controller, three as for Arm's GIC. `None` if it leads nowhere, or to a controller of another kind.
pub fn pin(tree: &DeviceTree, address: Address, pin: u8) -> Option<[u32; 3]> {
    let node = node(tree)?;
    let mask = |n| node.word("interrupt-map-mask", n);
    let place =
        u32::from(address.bus) << 16 | u32::from(address.device) << 11 | u32::from(address.function) << 8;
    let wanted = (place & mask(0)?, u32::from(pin) & mask(ADDRESS_CELLS)?);
    let word = |at| node.word("interrupt-map", at);
    let mut at = 0;
    loop {
        let entry = (word(at)?, word(at + ADDRESS_CELLS)?);
        at += ADDRESS_CELLS + PIN_CELLS;
        let phandle = u64::from(word(at)?);
        let controller = tree.find(|node| (node.number("phandle") == Some(phandle)).then_some(node))?;
        let address_cells = controller.word("#address-cells", 0).unwrap_or(0) as usize;
        let cells = controller.word("#interrupt-cells", 0)? as usize;
        at = at.checked_add(address_cells)?.checked_add(1)?;
        if entry == wanted {
            return if cells == 3 { Some([word(at)?, word(at + 1)?, word(at + 2)?]) } else { None };
        }
        at = at.checked_add(cells)?;
    }
}

#[cfg(test)]
mod tests {
    use super::super::build::Builder;
    use super::*;

    /// As QEMU's `virt` has it, with a controller of Arm's.
    const REG: &[u32] = &[0x40, 0x1000_0000, 0, 0x1000_0000];
    const RANGES: &[u32] = &[
        0x100_0000,
        0,
        0,
        0,
        0x3eff_0000,
        0,
        0x1_0000, // ports
        0x200_0000,
        0,
        0x1000_0000,
        0,
        0x1000_0000,
        0,
        0x2eff_0000, // 32-bit memory
        0x300_0000,
        0x80,
        0,
        0x80,
        0,
        0x80,
        0, // 64-bit memory
    ];
    const GIC: u32 = 0x8002;

    fn map() -> Vec<u32> {
        let pins = (0..4).flat_map(|device| (0..4).map(move |pin| (device, pin)));
        pins.flat_map(|(device, pin)| [device << 11, 0, 0, pin + 1, GIC, 0, 0, 0, 3 + (device + pin) % 4, 4])
            .collect()
    }

    fn tree(reg: &[u32], ranges: &[u32], buses: &[u32], map: &[u32], cells: u32) -> Vec<u8> {
        let mut tree = Builder::default();
        tree.begin("").words("#address-cells", &[2]).words("#size-cells", &[2]);
        tree.begin("pcie@10000000").property("compatible", b"pci-host-ecam-generic\0");
        tree.words("#address-cells", &[3]).words("#size-cells", &[2]).words("#interrupt-cells", &[1]);
        tree.words("reg", reg).words("ranges", ranges).words("bus-range", buses);
        tree.words("interrupt-map-mask", &[0x1800, 0, 0, 7]).words("interrupt-map", map).end();
        tree.begin("intc@8000000").words("phandle", &[GIC]).words("#address-cells", &[2]);
        tree.words("#interrupt-cells", &[cells]).end();
        tree.end();
        tree.build()
    }

    fn found(bytes: &[u8]) -> Result<HostBridge, Unusable> {
        find(&DeviceTree::new(bytes).unwrap()).unwrap()
    }

    #[test]
    fn a_bridge_has_its_place_and_its_windows() {
        let bridge = found(&tree(REG, RANGES, &[0, 0xff], &map(), 3)).unwrap();
        let windows = [0x1000_0000..0x3eff_0000, 0x80_0000_0000..0x100_0000_0000];
        assert_eq!((bridge.ecam, bridge.last_bus), (0x40_1000_0000, 0xff));
        assert_eq!(bridge.windows.0, windows);
        // Configuration space ends before the last bus.
        let bridge = found(&tree(&[0, 0x3f00_0000, 0, 0x100_0000], RANGES, &[0, 0xff], &[], 3)).unwrap();
        assert_eq!(bridge.last_bus, 15);
        assert_eq!(found(&tree(REG, RANGES, &[0, 2], &[], 3)).unwrap().last_bus, 2);
        // Devices see the first window of memory elsewhere than CPUs do.
        let mut ranges = RANGES.to_vec();
        ranges[9] += 1;
        assert_eq!(found(&tree(REG, &ranges, &[0, 0xff], &[], 3)).unwrap().windows.0, windows[1..]);
    }

    #[test]
    fn bridges_that_make_no_sense_are_refused() {
        let whole = RANGES.len();
        for (reg, ranges, buses) in [
            (&[][..], RANGES, &[0, 0xff][..]),
            (&[u32::MAX, u32::MAX, 1, 0], RANGES, &[0, 0xff]),
            (&[0, 0x3f00_0000, 0, 0x1000], RANGES, &[0, 0xff]),
            (REG, RANGES, &[1, 0xff]),
            (REG, &RANGES[..whole - 1], &[0, 0xff]),
            (REG, &[0x300_0000, 0xffff_ffff, 0, 0xffff_ffff, 0, 0x80, 0], &[0, 0xff]),
        ] {
            assert!(found(&tree(reg, ranges, buses, &[], 3)).is_err(), "{reg:x?} {ranges:x?} {buses:x?}");
        }
    }

    #[test]
    fn pins_lead_to_the_controller() {
        let bytes = tree(REG, RANGES, &[0, 0xff], &map(), 3);
        let parsed = DeviceTree::new(&bytes).unwrap();
        for device in 0..32 {
            for number in 1..=4 {
                let address = Address { bus: 0, device, function: device % 8 };
                let line = 3 + (u32::from(device) + u32::from(number) - 1) % 4;
                assert_eq!(pin(&parsed, address, number), Some([0, line, 4]));
            }
            assert_eq!(pin(&parsed, Address { bus: 0, device, function: 0 }, 0), None);
        }
        let address = Address { bus: 0, device: 0, function: 0 };
        let of = |map: &[u32], cells| {
            pin(&DeviceTree::new(&tree(REG, RANGES, &[0], map, cells)).unwrap(), address, 1)
        };
        // Cut short, another controller, one that is not there, words that lead past every end.
        assert_eq!(of(&map()[..9], 3), None);
        assert_eq!(of(&map(), 2), None);
        assert_eq!(of(&[0, 0, 0, 1, 77, 0, 0, 0, 3, 4], 3), None);
        assert_eq!(of(&map(), u32::MAX), None);
        assert_eq!(of(&map()[10..], u32::MAX), None);
    }

    #[test]
    fn damage_is_no_harm() {
        let bytes = tree(REG, RANGES, &[0, 0xff], &map(), 3);
        let step = if cfg!(miri) { 97 } else { 3 };
        for at in (0..bytes.len()).step_by(step) {
            for value in [0, 1, 3, 0x7f, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                if let Some(tree) = DeviceTree::new(&damaged) {
                    if let Some(Ok(bridge)) = find(&tree) {
                        assert!(bridge.windows.0.iter().all(|window| window.start < window.end));
                    }
                    for number in 0..=4 {
                        pin(&tree, Address { bus: 0, device: 3, function: 0 }, number);
                    }
                }
            }
        }
    }
}
