//! Arguments and environment: zero-terminated strings, one behind another, as execve(2) passes them on.
use alloc::vec::Vec;
use coracle_fallible::{NoMemory, TryVec as _};

/// The strings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    bytes: Vec<u8>,
    count: usize,
}

impl Strings {
    /// No strings.
    pub const fn new() -> Strings {
        Strings { bytes: Vec::new(), count: 0 }
    }
    /// Number of strings.
    pub fn len(&self) -> usize {
        self.count
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
    /// All of them, each with its zero.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// The strings without their zeroes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split_inclusive(|&byte| byte == 0).map(|string| &string[..string.len() - 1])
    }
    /// Adds a string, up to its first zero if it has one.
    ///
    /// # Errors
    /// [`NoMemory`]; the strings are as they were.
    pub fn push(&mut self, string: &[u8]) -> Result<(), NoMemory> {
        let string = string.split(|&byte| byte == 0).next().unwrap_or_default();
        self.bytes.make_room(string.len() + 1)?;
        self.bytes.try_extend_from_slice(string)?;
        self.bytes.try_push(0)?;
        self.count += 1;
        Ok(())
    }
    /// Adds a string of `len` bytes, none of them zero, which `fill` writes.
    ///
    /// # Errors
    /// That of `fill`, or [`NoMemory`]; the strings are as they were.
    pub fn push_with<E: From<NoMemory>>(
        &mut self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        self.bytes.try_resize(start + len + 1, 0)?;
        if let Err(error) = fill(&mut self.bytes[start..start + len]) {
            self.bytes.truncate(start);
            return Err(error);
        }
        // Another thread may have changed the string while it was copied.
        for byte in self.bytes[start..start + len].iter_mut().filter(|byte| **byte == 0) {
            *byte = b' ';
        }
        self.count += 1;
        Ok(())
    }
    /// All but the first.
    pub fn rest(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().skip(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_kept_in_order() {
        let mut strings = Strings::new();
        strings.push(b"boat").unwrap();
        strings.push(b"").unwrap();
        let fill = |place: &mut [u8]| {
            place.copy_from_slice(b"a\0");
            Ok::<(), NoMemory>(())
        };
        strings.push_with(2, fill).unwrap();
        assert_eq!(strings.push_with(2, |_| Err(NoMemory)), Err(NoMemory));
        assert_eq!(strings.as_bytes(), b"boat\0\0a \0");
        assert!(strings.iter().eq([&b"boat"[..], b"", b"a "]));
        assert!(strings.rest().eq([&b""[..], b"a "]));
        assert_eq!(strings.len(), 3);
        assert!(Strings::new().iter().next().is_none());
    }
}
