//! Commands (base specification, section 3.3.3; NVM command set, section 3.2) and completions (section 3.3.3.2).

/// Bytes of the sectors that callers count in, whatever a namespace's blocks are.
pub const SECTOR_BYTES: u64 = 512;

/// Opcodes of the admin queue.
const CREATE_SUBMISSIONS: u64 = 0x01;
const CREATE_COMPLETIONS: u64 = 0x05;
const IDENTIFY: u64 = 0x06;
const SET_FEATURES: u64 = 0x09;
/// Opcodes of the NVM command set.
const FLUSH: u64 = 0x00;
const WRITE: u64 = 0x01;
const READ: u64 = 0x02;
const WRITE_ZEROES: u64 = 0x08;
const DATASET_MANAGEMENT: u64 = 0x09;

/// Feature: the number of queues.
const NUMBER_OF_QUEUES: u64 = 0x07;
/// What Identify asks for (CNS): a namespace, the controller.
const OF_NAMESPACE: u64 = 0;
const OF_CONTROLLER: u64 = 1;
/// A queue's memory is in one piece.
const CONTIGUOUS: u64 = 1;
/// A completion queue interrupts.
const INTERRUPTS: u64 = 1 << 1;
/// Attribute of Dataset Management: the blocks are deallocated.
const DEALLOCATE: u64 = 1 << 2;
/// Flag of Write Zeroes: the blocks may be deallocated.
const MAY_DEALLOCATE: u64 = 1 << 25;

/// A command, as 8 little-endian words of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command(pub [u64; 8]);

/// What becomes of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeroing {
    /// They become zeroes.
    Keep,
    /// The same, and their storage may be given back.
    MayDeallocate,
}

impl Command {
    /// `dwords_10`: command dwords 10 and 11; `dwords_12`: 12 and 13.
    const fn new(opcode: u64, namespace: u32, dwords_10: u64, dwords_12: u64) -> Command {
        Command([opcode | (namespace as u64) << 32, 0, 0, 0, 0, dwords_10, dwords_12, 0])
    }

    /// Asks for the controller's data structure.
    pub const fn identify_controller() -> Command {
        Command::new(IDENTIFY, 0, OF_CONTROLLER, 0)
    }
    /// Asks for that of a namespace.
    pub const fn identify_namespace(namespace: u32) -> Command {
        Command::new(IDENTIFY, namespace, OF_NAMESPACE, 0)
    }
    /// Asks for so many pairs of queues, at least one. The result is how many there are ([`Completion::queues`]).
    pub const fn request_queues(count: u16) -> Command {
        let count = count.saturating_sub(1) as u64;
        Command::new(SET_FEATURES, 0, NUMBER_OF_QUEUES | (count | count << 16) << 32, 0)
    }
    /// Makes completion queue `id` of so many entries, at least 2, which interrupts by vector 0.
    pub const fn create_completions(id: u16, entries: u16) -> Command {
        let queue = id as u64 | (entries as u64 - 1) << 16;
        Command::new(CREATE_COMPLETIONS, 0, queue | (CONTIGUOUS | INTERRUPTS) << 32, 0)
    }
    /// Makes submission queue `id`, whose completions go to the queue of the same number.
    pub const fn create_submissions(id: u16, entries: u16) -> Command {
        let queue = id as u64 | (entries as u64 - 1) << 16;
        Command::new(CREATE_SUBMISSIONS, 0, queue | (CONTIGUOUS | (id as u64) << 16) << 32, 0)
    }
    /// Reads `blocks` blocks, 1 to 65536, from block `first` on.
    pub const fn read(namespace: u32, first: u64, blocks: u32) -> Command {
        Command::new(READ, namespace, first, blocks.saturating_sub(1) as u64 & 0xffff)
    }
    /// Writes them.
    pub const fn write(namespace: u32, first: u64, blocks: u32) -> Command {
        Command::new(WRITE, namespace, first, blocks.saturating_sub(1) as u64 & 0xffff)
    }
    /// Puts on stable storage what was written.
    pub const fn flush(namespace: u32) -> Command {
        Command::new(FLUSH, namespace, 0, 0)
    }
    /// Makes `blocks` blocks zeroes, 1 to 65536.
    pub const fn write_zeroes(namespace: u32, first: u64, blocks: u32, how: Zeroing) -> Command {
        let flags = match how {
            Zeroing::Keep => 0,
            Zeroing::MayDeallocate => MAY_DEALLOCATE,
        };
        Command::new(WRITE_ZEROES, namespace, first, blocks.saturating_sub(1) as u64 & 0xffff | flags)
    }
    /// Deallocates the blocks of one range, which is the command's data.
    pub const fn deallocate(namespace: u32) -> Command {
        Command::new(DATASET_MANAGEMENT, namespace, DEALLOCATE << 32, 0)
    }
    /// The range that [`Command::deallocate`] has as its data: two words.
    pub const fn range(first: u64, blocks: u32) -> [u64; 2] {
        [(blocks as u64) << 32, first]
    }

    /// The command with its number, and where its data lie (PRP entries 1 and 2).
    pub const fn with(mut self, id: u16, data: [u64; 2]) -> Command {
        self.0[0] |= (id as u64) << 16;
        self.0[3] = data[0];
        self.0[4] = data[1];
        self
    }
}

/// A completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// What the command gives.
    pub result: u32,
    /// The command.
    pub id: u16,
    /// The phase of the round in which it was written.
    pub phase: bool,
    /// Type and code of the status; 0: it succeeded.
    pub status: u16,
}

/// Bits of type and code in a status; those above say whether to try again.
const STATUS_BITS: u16 = 0x7ff;
/// Generic statuses: the opcode, or a field of it, is unknown.
const INVALID_OPCODE: u16 = 1;
const INVALID_FIELD: u16 = 2;

impl Completion {
    /// From its 4 words.
    pub const fn of(words: [u32; 4]) -> Completion {
        Completion {
            result: words[0],
            id: words[3] as u16,
            phase: words[3] >> 16 & 1 != 0,
            status: (words[3] >> 17) as u16 & STATUS_BITS,
        }
    }
    /// Pairs of queues that there are, after [`Command::request_queues`].
    pub fn queues(&self) -> u16 {
        let (submissions, completions) = (self.result as u16, (self.result >> 16) as u16);
        submissions.min(completions).saturating_add(1)
    }
    /// Whether the controller knows no such command.
    pub const fn is_unsupported(status: u16) -> bool {
        matches!(status, INVALID_OPCODE | INVALID_FIELD)
    }
}
