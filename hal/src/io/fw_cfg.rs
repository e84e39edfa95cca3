//! QEMU's fw_cfg: named items that the hypervisor hands to the guest ("QEMU Firmware Configuration (fw_cfg) Device" of QEMU's
//! documentation, traditional interface).
use crate::arch::devices::{read_firmware_byte as byte, select_firmware_item as select};
use alloc::vec::Vec;
use coracle_fallible::filled;

/// The items that every such device has: four letters, and the directory of the others.
const SIGNATURE_ITEM: u16 = 0;
const DIRECTORY_ITEM: u16 = 0x19;
const SIGNATURE: [u8; 4] = *b"QEMU";
/// Bytes of a name in the directory, filled up by zeroes.
const NAME_LEN: usize = 56;
/// Larger items are no settings.
const MOST_BYTES: u32 = 1 << 20;

/// True if there is such a device: the machine is QEMU's.
pub fn is_present() -> bool {
    select(SIGNATURE_ITEM);
    bytes::<4>() == SIGNATURE
}

/// The item of that name, if there is a device and it has one. Its size, in bytes, if there is no memory for it.
pub fn item(name: &[u8]) -> Result<Option<Vec<u8>>, u32> {
    if !is_present() {
        return Ok(None);
    }
    select(DIRECTORY_ITEM);
    let count = u32::from_be_bytes(bytes());
    for _ in 0..count {
        let size = u32::from_be_bytes(bytes());
        let selector = u16::from_be_bytes(bytes());
        let _reserved: [u8; 2] = bytes();
        let entry: [u8; NAME_LEN] = bytes();
        if entry.split(|&byte| byte == 0).next() == Some(name) && size <= MOST_BYTES {
            select(selector);
            let mut item = filled(0, size as usize).map_err(|_| size)?;
            item.fill_with(byte);
            return Ok(Some(item));
        }
    }
    Ok(None)
}

/// The next bytes of the selected item.
fn bytes<const N: usize>() -> [u8; N] {
    core::array::from_fn(|_| byte())
}
