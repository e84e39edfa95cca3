//! Numbers in bytes. A number that does not lie within its bytes reads as zero and is not written: the lengths of
//! structures are checked where their block is read.

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    at.checked_add(N)
        .and_then(|end| bytes.get(at..end))
        .and_then(|part| part.try_into().ok())
        .unwrap_or([0; N])
}

fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(part) = at.checked_add(value.len()).and_then(|end| bytes.get_mut(at..end)) {
        part.copy_from_slice(value);
    }
}

/// 16 bits, little endian.
pub(crate) fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}
/// 32 bits, little endian.
pub(crate) fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}
/// A number whose lower and upper parts of 32 bits lie apart.
pub(crate) fn le32_pair(bytes: &[u8], low: usize, high: usize) -> u64 {
    u64::from(le32(bytes, low)) | u64::from(le32(bytes, high)) << 32
}
/// A number of 48 bits: the lower 32 and the upper 16 lie apart.
pub(crate) fn le48(bytes: &[u8], low: usize, high: usize) -> u64 {
    u64::from(le32(bytes, low)) | u64::from(le16(bytes, high)) << 32
}
/// 16 bits, big endian, as the journal has them.
pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}
/// 32 bits, big endian.
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}
/// Writes what [`le16`] reads.
pub(crate) fn set_le16(bytes: &mut [u8], at: usize, value: u16) {
    set(bytes, at, &value.to_le_bytes());
}
/// Writes what [`le32`] reads.
pub(crate) fn set_le32(bytes: &mut [u8], at: usize, value: u32) {
    set(bytes, at, &value.to_le_bytes());
}
/// Writes what [`be16`] reads.
pub(crate) fn set_be16(bytes: &mut [u8], at: usize, value: u16) {
    set(bytes, at, &value.to_be_bytes());
}
/// Writes what [`be32`] reads.
pub(crate) fn set_be32(bytes: &mut [u8], at: usize, value: u32) {
    set(bytes, at, &value.to_be_bytes());
}
