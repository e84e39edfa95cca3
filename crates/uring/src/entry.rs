//! Entries of the rings.

/// 64-bit words of a submission that the kernel looks at (`struct io_uring_sqe` without the second half of a long one).
pub const ENTRY_WORDS: usize = 8;

/// What a program asks for (`struct io_uring_sqe`). The fields that mean several things have the name of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What to do (IORING_OP_*).
    pub opcode: u8,
    /// IOSQE_* bits.
    pub flags: u8,
    /// Priority; flags of accept, send and receive.
    pub priority: u16,
    /// The file.
    pub fd: i32,
    /// Where in the file; a second address.
    pub offset: u64,
    /// A buffer, a vector, or a path.
    pub address: u64,
    /// Bytes, or elements of the vector.
    pub len: u32,
    /// Flags of what is done.
    pub what_flags: u32,
    /// Comes back with the result.
    pub user_data: u64,
    /// Number of a registered buffer, or of a group of provided ones.
    pub buffer: u16,
    /// Whose rights it is done with; 0: the program's.
    pub personality: u16,
    /// A second file, or one more than the place of a registered file.
    pub file_index: u32,
    /// A third address.
    pub address3: u64,
}

impl Entry {
    /// The entry in these words.
    pub fn from_words(words: [u64; ENTRY_WORDS]) -> Entry {
        let [first, offset, address, sizes, user_data, last, address3, _] = words;
        Entry {
            opcode: first as u8,
            flags: (first >> 8) as u8,
            priority: (first >> 16) as u16,
            fd: (first >> 32) as i32,
            offset,
            address,
            len: sizes as u32,
            what_flags: (sizes >> 32) as u32,
            user_data,
            buffer: last as u16,
            personality: (last >> 16) as u16,
            file_index: (last >> 32) as u32,
            address3,
        }
    }
}

/// What a program is told (`struct io_uring_cqe`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// That of the entry.
    pub user_data: u64,
    /// What came of it, or a negative error number.
    pub result: i32,
    /// IORING_CQE_F_* bits.
    pub flags: u32,
}

impl Completion {
    /// Its two words.
    pub fn words(self) -> [u64; 2] {
        [self.user_data, u64::from(self.result as u32) | u64::from(self.flags) << 32]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_linux_has_them() {
        let mut bytes = [0u8; 64];
        (0..64).for_each(|n| bytes[n] = n as u8);
        let mut words = [0; ENTRY_WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        let entry = Entry::from_words(words);
        assert_eq!((entry.opcode, entry.flags, entry.priority), (0, 1, 0x0302));
        assert_eq!((entry.fd, entry.offset), (0x0706_0504, 0x0f0e_0d0c_0b0a_0908));
        assert_eq!((entry.address, entry.len), (0x1716_1514_1312_1110, 0x1b1a_1918));
        assert_eq!((entry.what_flags, entry.user_data), (0x1f1e_1d1c, 0x2726_2524_2322_2120));
        assert_eq!((entry.buffer, entry.personality), (0x2928, 0x2b2a));
        assert_eq!((entry.file_index, entry.address3), (0x2f2e_2d2c, 0x3736_3534_3332_3130));
    }

    #[test]
    fn a_negative_result_stays_in_its_half() {
        let words = Completion { user_data: 7, result: -1, flags: 2 }.words();
        assert_eq!(words, [7, 0x0000_0002_ffff_ffff]);
    }
}
