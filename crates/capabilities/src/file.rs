//! The capabilities of a program's file (capabilities(7), "File capabilities"), as its attribute `security.capability` has them.

/// What an executed file gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileCapabilities {
    /// Gained, as far as the bounding set has them.
    pub permitted: u64,
    /// Kept of those that are inheritable.
    pub inheritable: u64,
    /// What is permitted then is in effect, too.
    pub effective: bool,
    /// The user that is root in the user namespace for whose programs they count; 0: for those of all.
    pub root: u32,
}

impl FileCapabilities {
    /// The attribute's value (linux/capability.h, `struct vfs_ns_cap_data`) of revision 2 or 3. `None` if it has no such form.
    pub fn parse(value: &[u8]) -> Option<FileCapabilities> {
        const EFFECTIVE: u32 = 1;
        const REVISION: u32 = 0xff00_0000;
        /// A revision, and the words of its value.
        const FORMS: [(u32, usize); 2] = [(0x0200_0000, 5), (0x0300_0000, 6)];
        let (words, rest) = value.as_chunks::<4>();
        let word = |at: usize| words.get(at).map_or(0, |bytes| u32::from_le_bytes(*bytes));
        if !rest.is_empty() || !FORMS.contains(&(word(0) & REVISION, words.len())) {
            return None;
        }
        let set = |at: usize| u64::from(word(at)) | u64::from(word(at + 2)) << 32;
        Some(FileCapabilities {
            permitted: set(1),
            inheritable: set(2),
            effective: word(0) & EFFECTIVE != 0,
            root: word(5),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_revisions_are_read() {
        let two = [1, 0, 0, 2, 0, 4, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        let read = FileCapabilities::parse(&two).unwrap();
        assert_eq!(
            read,
            FileCapabilities { permitted: 1 << 32 | 0x400, inheritable: 8, effective: true, root: 0 }
        );
        let mut three = [0; 24];
        three[..20].copy_from_slice(&two);
        (three[0], three[3], three[20]) = (0, 3, 7);
        let read = FileCapabilities::parse(&three).unwrap();
        assert_eq!((read.root, read.effective), (7, false));
        assert_eq!(FileCapabilities::parse(&two[..12]), None);
        assert_eq!(FileCapabilities::parse(&three[..20]), None);
        assert_eq!(FileCapabilities::parse(&[]), None);
    }
}
