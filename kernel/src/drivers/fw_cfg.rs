//! QEMU's fw_cfg: named items that the hypervisor hands to the guest ("QEMU Firmware Configuration (fw_cfg) Device" of QEMU's
//! documentation, traditional interface over ports).
use alloc::vec::Vec;
use coracle_fallible::filled;
use coracle_hal::port;

/// The port that selects an item, and the one that reads its next byte.
const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
/// The items that every such device has: four letters, and the directory of the others.
const SIGNATURE_ITEM: u16 = 0;
const DIRECTORY_ITEM: u16 = 0x19;
const SIGNATURE: [u8; 4] = *b"QEMU";
/// Bytes of a name in the directory, filled up by zeroes.
const NAME_LEN: usize = 56;
/// Larger items are no settings.
const MOST_BYTES: u32 = 1 << 20;

/// The item of that name, if there is a device and it has one.
pub fn item(name: &[u8]) -> Option<Vec<u8>> {
    port::write16(SELECTOR, SIGNATURE_ITEM);
    if bytes::<4>() != SIGNATURE {
        return None;
    }
    port::write16(SELECTOR, DIRECTORY_ITEM);
    let count = u32::from_be_bytes(bytes());
    for _ in 0..count {
        let size = u32::from_be_bytes(bytes());
        let selector = u16::from_be_bytes(bytes());
        let _reserved: [u8; 2] = bytes();
        let entry: [u8; NAME_LEN] = bytes();
        if entry.split(|&byte| byte == 0).next() == Some(name) && size <= MOST_BYTES {
            port::write16(SELECTOR, selector);
            let Ok(mut item) = filled(0, size as usize) else {
                log!("there is no memory for {size} bytes that the hypervisor has for the guest");
                return None;
            };
            item.fill_with(|| port::read8(DATA));
            return Some(item);
        }
    }
    None
}

/// The next bytes of the selected item.
fn bytes<const N: usize>() -> [u8; N] {
    core::array::from_fn(|_| port::read8(DATA))
}
