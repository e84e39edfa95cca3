//! Message interrupts by a GICv2m frame: a device's write to it raises one of a range of shared interrupts (Arm's Server Base
//! System Architecture 2.3, appendix E; Linux's bindings of arm,gic-v2m-frame).
use super::start;
use crate::io::mmio::Mmio;
use crate::irq::MsiMessage;
use crate::once::Once;
use core::sync::atomic::{AtomicU32, Ordering};

/// The register that says which interrupts the frame has: the first in bits 16 to 25, their number in bits 0 to 9.
const TYPE: usize = 0x008;
const NUMBER_MASK: u32 = 0x3ff;
/// The register that devices write the number of an interrupt to.
const SET: u64 = 0x040;
/// Bytes of its registers that are used.
const LEN: usize = 0x1000;

/// A frame.
struct Frame {
    /// Physical address of the register for devices.
    address: u64,
    /// Its next free interrupt, and the end of those it has.
    next: AtomicU32,
    end: u32,
}
static FRAME: Once<Option<Frame>> = Once::new();

fn find() -> Option<Frame> {
    let tree = start::device_tree()?;
    let node = tree.compatible(&["arm,gic-v2m-frame"])?;
    let (base, _) = node.registers().next()?;
    let kind = Mmio::map(base, LEN)?.read32(TYPE);
    // The tree may know better than the register.
    let first = node.word("arm,msi-base-spi", 0).unwrap_or(kind >> 16 & NUMBER_MASK);
    let count = node.word("arm,msi-num-spis", 0).unwrap_or(kind & NUMBER_MASK);
    let end = first.checked_add(count)?;
    Some(Frame { address: base.checked_add(SET)?, next: AtomicU32::new(first), end })
}

/// A message that raises an interrupt of its own, whose number is its data. `None` if there is no frame, or none left.
pub fn message() -> Option<MsiMessage> {
    let frame = FRAME.call_once(find).as_ref()?;
    let taken = frame
        .next
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| (next < frame.end).then_some(next + 1));
    Some(MsiMessage { address: frame.address, data: taken.ok()? })
}
