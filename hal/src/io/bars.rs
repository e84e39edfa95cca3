//! Base address registers of PCI functions that are no bridges (PCI Local Bus 3.0, 6.2.5.1): reading and assigning them.
use super::mmio::Mmio;
use coracle_virtio::transport::pci::Block;

/// Offset of the first in configuration space, and how many there are.
pub const BAR_0: u8 = 0x10;
const BARS: u8 = 6;
/// In a BAR: ports instead of memory; the two bits that say how wide its address is, and their value for 64 bits; where a
/// memory address begins.
pub const BAR_PORTS: u32 = 1;
const BAR_WIDTH: u32 = 0b110;
const BAR_WIDE: u32 = 0b100;
const BAR_ADDRESS: u32 = !0xf;
/// The same for ports; x86 has 2^16 of them.
pub const BAR_PORT: u32 = 0xfffc;

/// Physical addresses of a function's memory BARs, by their numbers; `None` for I/O BARs and those that have no address.
pub struct Bars([Option<u64>; BARS as usize]);

/// Gives addresses to the memory BARs that have none, as firmware does elsewhere. The device does not answer yet. `read` and
/// `write` reach its configuration space. `take`: addresses for so many bytes, a power of two, which may lie above 4 GiB.
pub fn place(
    read: &dyn Fn(u8) -> u32,
    write: &dyn Fn(u8, u32),
    take: &mut dyn FnMut(u64, bool) -> Option<u64>,
) {
    let mut bars = 0..BARS;
    while let Some(index) = bars.next() {
        let at = BAR_0 + 4 * index;
        let old = read(at);
        if old & BAR_PORTS != 0 {
            continue;
        }
        let wide = old & BAR_WIDTH == BAR_WIDE;
        let high = if wide { bars.next().map(|high| BAR_0 + 4 * high) } else { None };
        if old & BAR_ADDRESS != 0 || high.is_some_and(|high| read(high) != 0) {
            continue;
        }
        // Bits of the address that the device takes: those below its size stay 0.
        let taken = |at: u8| {
            write(at, u32::MAX);
            read(at)
        };
        let mask = u64::from(taken(at) & BAR_ADDRESS) | u64::from(high.map_or(u32::MAX, taken)) << u32::BITS;
        let size = 1u64.checked_shl(mask.trailing_zeros()).filter(|_| mask as u32 != 0 || high.is_some());
        let place = size.and_then(|size| take(size, high.is_some())).unwrap_or(0);
        write(at, place as u32);
        if let Some(high) = high {
            write(high, (place >> u32::BITS) as u32);
        }
    }
}

impl Bars {
    /// Reads them; `read` reaches the function's configuration space.
    pub fn read(read: &dyn Fn(u8) -> u32) -> Bars {
        let mut found = [None; BARS as usize];
        let mut bars = 0..BARS;
        while let Some(index) = bars.next() {
            let low = read(BAR_0 + 4 * index);
            let address = match low & (BAR_WIDTH | BAR_PORTS) {
                0 => u64::from(low & BAR_ADDRESS),
                BAR_WIDE => {
                    let Some(high) = bars.next() else { break };
                    u64::from(low & BAR_ADDRESS) | u64::from(read(BAR_0 + 4 * high)) << u32::BITS
                }
                _ => continue,
            };
            found[usize::from(index)] = Some(address).filter(|&address| address != 0);
        }
        Bars(found)
    }

    /// Maps a block of registers.
    pub fn map(&self, block: Block) -> Option<Mmio> {
        let bar = *self.0.get(usize::from(block.bar))?;
        Mmio::map(bar?.checked_add(u64::from(block.offset))?, block.len as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::host_bridge::Windows;
    use core::cell::Cell;
    use std::vec;
    use std::vec::Vec;

    /// BARs of a function: of each, the bits that say its kind and the bits of its address that can be written.
    struct Function([(u32, u32, Cell<u32>); BARS as usize]);

    impl Function {
        fn read(&self, at: u8) -> u32 {
            let (kind, _, address) = &self.0[usize::from((at - BAR_0) / 4)];
            kind | address.get()
        }
        fn write(&self, at: u8, value: u32) {
            let (_, mask, address) = &self.0[usize::from((at - BAR_0) / 4)];
            address.set(value & mask);
        }
    }

    /// Functions of any kind of BARs, with and without room for them.
    #[test]
    fn every_bar_has_its_own_addresses_or_none() {
        let mut random = 3u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(99);
            (random >> 33) % below
        };
        for _ in 0..if cfg!(miri) { 10 } else { 2000 } {
            let mut registers: Vec<(u32, u32, Cell<u32>)> = Vec::new();
            let mut expected = Vec::new();
            while registers.len() < BARS.into() {
                let index = registers.len();
                match next(4) {
                    0 => registers.push((0, 0, Cell::new(0))),
                    1 => registers.push((BAR_PORTS, 0xffe0, Cell::new(0))),
                    2 => {
                        let size = 1u64 << (4 + next(28));
                        registers.push((0, (size as u32).wrapping_neg(), Cell::new(0)));
                        expected.push((index, size, false));
                    }
                    _ if index + 1 < BARS.into() => {
                        let size = 1u64 << (4 + next(60));
                        let mask = size.wrapping_neg();
                        registers.push((BAR_WIDE, mask as u32, Cell::new(0)));
                        registers.push((0, (mask >> u32::BITS) as u32, Cell::new(0)));
                        expected.push((index, size, true));
                    }
                    _ => {}
                }
            }
            let function = Function(registers.try_into().ok().unwrap());
            let mut windows = Windows(vec![0x1000_0000..0x3eff_0000, 0x80_0000_0000..0x100_0000_0000]);
            let mut given = Vec::new();
            let mut take = |size, wide| {
                let start = windows.take(size, wide);
                given.push((size, wide, start));
                start
            };
            place(&|at| function.read(at), &|at, value| function.write(at, value), &mut take);
            let asked: Vec<_> = given.iter().map(|&(size, wide, _)| (size, wide)).collect();
            assert_eq!(asked, expected.iter().map(|&(_, size, wide)| (size, wide)).collect::<Vec<_>>());
            let bars = Bars::read(&|at| function.read(at));
            for (&(index, ..), &(.., start)) in expected.iter().zip(&given) {
                assert_eq!(bars.0[index], start);
            }
            assert!(
                (0..BARS.into())
                    .all(|index| bars.0[index].is_none() || expected.iter().any(|&(at, ..)| at == index))
            );
            // What has an address keeps it.
            let mut none = |_, _| None;
            place(&|at| function.read(at), &|at, value| function.write(at, value), &mut none);
            assert_eq!(Bars::read(&|at| function.read(at)).0, bars.0);
        }
    }
}
