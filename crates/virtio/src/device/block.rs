//! Block device (virtio 1.2, section 5.2): features, configuration, and the parts of a request.

/// Bytes of a sector, in which requests and the configuration count whatever the device's block size is (section 5.2.4).
pub const SECTOR_BYTES: u64 = 512;

/// Feature bits (section 5.2.3).
#[allow(missing_docs)]
pub mod features {
    pub const SIZE_MAX: u64 = 1 << 1;
    pub const SEG_MAX: u64 = 1 << 2;
    pub const RO: u64 = 1 << 5;
    pub const BLK_SIZE: u64 = 1 << 6;
    pub const FLUSH: u64 = 1 << 9;
    pub const TOPOLOGY: u64 = 1 << 10;
    pub const CONFIG_WCE: u64 = 1 << 11;
    pub const MQ: u64 = 1 << 12;
    pub const DISCARD: u64 = 1 << 13;
    pub const WRITE_ZEROES: u64 = 1 << 14;
}

/// Offsets in the configuration space (section 5.2.4).
#[allow(missing_docs)]
pub mod config {
    pub const CAPACITY: usize = 0;
    pub const SIZE_MAX: usize = 8;
    pub const SEG_MAX: usize = 12;
    pub const BLK_SIZE: usize = 20;
    /// The physical block is this power of two of logical ones.
    pub const PHYSICAL_BLOCK_EXP: usize = 24;
    /// 0: a write is durable when it is done. 1: it may be in a cache then.
    pub const WRITEBACK: usize = 32;
    pub const NUM_QUEUES: usize = 34;
    pub const MAX_DISCARD_SECTORS: usize = 36;
    pub const DISCARD_SECTOR_ALIGNMENT: usize = 44;
    pub const MAX_WRITE_ZEROES_SECTORS: usize = 48;
    pub const WRITE_ZEROES_MAY_UNMAP: usize = 56;
}

/// Bytes of the header that the device reads first (section 5.2.6), and of the segment that a discard or write-zeroes
/// request has in place of data. Both are two words of 64 bits.
pub const HEADER_BYTES: u32 = 16;
/// See [`HEADER_BYTES`].
pub const SEGMENT_BYTES: u32 = 16;
/// Bytes of the serial number, padded with zeroes (VIRTIO_BLK_T_GET_ID).
pub const SERIAL_BYTES: u32 = 20;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Data of the disk goes to memory.
    Read,
    /// Data goes to the disk.
    Write,
    /// What was written before goes to stable storage.
    Flush,
    /// The serial number goes to memory.
    Identify,
    /// The sectors are of no use any more; `sectors` of them.
    Discard {
        /// How many.
        sectors: u32,
    },
    /// The sectors become zeroes.
    WriteZeroes {
        /// How many.
        sectors: u32,
        /// The device may give their storage back.
        may_unmap: bool,
    },
}

impl Operation {
    /// The header of the request: its type, and the first sector where that is of use (0 otherwise).
    pub const fn header(self, sector: u64) -> [u64; 2] {
        match self {
            Operation::Read => [0, sector],
            Operation::Write => [1, sector],
            Operation::Flush => [4, 0],
            Operation::Identify => [8, 0],
            Operation::Discard { .. } => [11, 0],
            Operation::WriteZeroes { .. } => [13, 0],
        }
    }

    /// The segment that the request has in place of data: first sector, number of sectors and flags.
    pub const fn segment(self, sector: u64) -> Option<[u64; 2]> {
        /// Flag `unmap` of `struct virtio_blk_discard_write_zeroes`.
        const UNMAP: u64 = 1 << u32::BITS;
        match self {
            Operation::Discard { sectors } => Some([sector, sectors as u64]),
            Operation::WriteZeroes { sectors, may_unmap } => {
                Some([sector, sectors as u64 | if may_unmap { UNMAP } else { 0 }])
            }
            _ => None,
        }
    }

    /// Whether the device writes the data.
    pub const fn is_input(self) -> bool {
        matches!(self, Operation::Read | Operation::Identify)
    }
}

/// How a request ended (the last byte of the chain, which the device writes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was carried out.
    Done,
    /// An error of the device or of the driver.
    Failed,
    /// The device does not know such requests.
    Unsupported,
}

impl Outcome {
    /// What the byte stands for before the device has written it: no outcome of the specification's.
    pub const NOT_WRITTEN: u8 = 0xff;

    /// The meaning of the byte. One that the specification does not have is an error.
    pub const fn of(status: u8) -> Outcome {
        match status {
            0 => Outcome::Done,
            2 => Outcome::Unsupported,
            _ => Outcome::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Operation, Outcome};

    #[test]
    fn requests_lie_as_the_specification_says() {
        // le32 type, le32 reserved, le64 sector.
        assert_eq!(Operation::Write.header(0x0102_0304_0506), [1, 0x0102_0304_0506]);
        assert_eq!(Operation::Flush.header(9), [4, 0], "the sector of a flush must be 0");
        // le64 sector, le32 num_sectors, le32 flags.
        let zeroes = Operation::WriteZeroes { sectors: 8, may_unmap: true };
        assert_eq!(zeroes.segment(7), Some([7, 1 << 32 | 8]));
        assert_eq!(
            Operation::Discard { sectors: u32::MAX }.segment(7),
            Some([7, 0xffff_ffff]),
            "flags must be 0"
        );
        assert_eq!(Operation::Read.segment(7), None);
    }

    #[test]
    fn what_was_not_written_is_an_error() {
        assert_eq!([0, 1, 2, Outcome::NOT_WRITTEN].map(Outcome::of), {
            use Outcome::*;
            [Done, Failed, Unsupported, Failed]
        });
    }
}
