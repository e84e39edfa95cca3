//! `struct linux_dirent64` and `struct linux_dirent` (getdents(2)): the records in which a directory is listed.

/// Bytes before the name: d_ino, d_off, d_reclen, d_type.
const HEAD: usize = 8 + 8 + 2 + 1;
/// Records begin at multiples of this.
const ALIGN: usize = 8;

/// Bytes that a record with a name of `name_len` bytes takes.
pub const fn size(name_len: usize) -> usize {
    (HEAD + name_len + 1).next_multiple_of(ALIGN)
}

/// Writes one record to the start of `dst`; its size, or `None` if it doesn't fit. `next` is where the listing continues
/// after it, `kind` a DT_* value.
pub fn write(dst: &mut [u8], inode: u64, next: i64, kind: u8, name: &[u8]) -> Option<usize> {
    let size = size(name.len());
    let record = dst.get_mut(..size)?;
    record.fill(0);
    record[0..8].copy_from_slice(&inode.to_le_bytes());
    record[8..16].copy_from_slice(&next.to_le_bytes());
    record[16..18].copy_from_slice(&(size as u16).to_le_bytes());
    record[18] = kind;
    record[HEAD..HEAD + name.len()].copy_from_slice(name);
    Some(size)
}

/// The same for a `struct linux_dirent`: the name follows the length, and the kind is the last byte.
pub fn write_old(dst: &mut [u8], inode: u64, next: i64, kind: u8, name: &[u8]) -> Option<usize> {
    const HEAD: usize = 8 + 8 + 2;
    let size = (HEAD + name.len() + 2).next_multiple_of(ALIGN);
    let record = dst.get_mut(..size)?;
    record.fill(0);
    record[0..8].copy_from_slice(&inode.to_le_bytes());
    record[8..16].copy_from_slice(&next.to_le_bytes());
    record[16..18].copy_from_slice(&(size as u16).to_le_bytes());
    record[HEAD..HEAD + name.len()].copy_from_slice(name);
    record[size - 1] = kind;
    Some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs() {
        let mut out = [0xffu8; 64];
        let n = write(&mut out, 7, 1, 4, b"abcd").unwrap();
        assert_eq!(n, 24);
        assert_eq!(&out[16..24], b"\x18\0\x04abcd\0");
        assert_eq!(size(5), 32);
        assert_eq!(write(&mut out[..23], 7, 1, 4, b"abcd"), None);
        assert_eq!(write_old(&mut out, 7, 1, 4, b"abcd"), Some(24));
        assert_eq!(&out[16..24], b"\x18\0abcd\0\x04");
        assert_eq!(write_old(&mut out, 7, 1, 8, b"abcde"), Some(32));
        assert_eq!((out[23], out[31]), (0, 8));
        assert_eq!(write_old(&mut out[..31], 7, 1, 8, b"abcde"), None);
    }
}
