//! Reads the file that the QEMU plugin (`plugin/insn.c`) counts into.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

// The layout of `struct shared` in plugin/insn.c; keep the two equal.
const MAGIC: u64 = 0x314e_534e_4943_4f43;
const HEADER_BYTES: u64 = 64;
const MAX_VCPUS: u64 = 64;
const CPU_BYTES: u64 = 64;
const LOG_AT: u64 = HEADER_BYTES + MAX_VCPUS * CPU_BYTES;
const LOG_BYTES: u64 = 32;
const MAX_LOG: u64 = 1024;
const BLOCKS_AT: u64 = LOG_AT + MAX_LOG * LOG_BYTES;
const BLOCK_BYTES: usize = 64;
const MAX_BLOCKS: usize = 1 << 20;
const CODE_BYTES: usize = 32;

/// What the guest has executed so far, all CPUs together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Instructions, as QEMU counts them.
    pub insns: u64,
    /// Of these, single repetitions of repeated string instructions (`rep movsb`), which hardware counts as one.
    pub rep: u64,
}

/// One arrival at a marked address.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Instructions of all CPUs up to then.
    pub insns: u64,
    /// Of these, single repetitions of repeated string instructions.
    pub rep: u64,
    /// Nanoseconds since the plugin was installed.
    pub nanos: u64,
}

/// A translation block that the guest executed.
#[derive(Clone, Debug)]
pub struct Block {
    /// Guest virtual address of its first instruction.
    pub address: u64,
    /// Instructions in it.
    pub insns: u64,
    /// How often it was executed.
    pub executions: u64,
    /// Its first bytes.
    pub code: Vec<u8>,
}

/// The open counter file of one virtual machine.
pub struct Counters {
    file: File,
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

impl Counters {
    /// Opens the file once the plugin has made it; an error until then.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let counters = Self { file };
        if counters.header(0)? != MAGIC {
            bail!("{} is not (yet) a counter file", path.display());
        }
        Ok(counters)
    }

    fn header(&self, index: u64) -> Result<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, index * 8)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The counts at this moment.
    pub fn read(&self) -> Result<Count> {
        let cpus = self.header(1)?.min(MAX_VCPUS);
        let mut bytes = vec![0; (cpus * CPU_BYTES) as usize];
        self.file.read_exact_at(&mut bytes, HEADER_BYTES)?;
        Ok(bytes.chunks(CPU_BYTES as usize).fold(Count::default(), |sum, cpu| Count {
            insns: sum.insns + word(cpu, 0),
            rep: sum.rep + word(cpu, 8),
        }))
    }

    /// Every arrival at a marked address so far, in order.
    pub fn marks(&self) -> Result<Vec<Mark>> {
        let start = self.header(2)?;
        let len = self.header(3)?.min(MAX_LOG);
        let mut bytes = vec![0; (len * LOG_BYTES) as usize];
        self.file.read_exact_at(&mut bytes, LOG_AT)?;
        Ok(bytes
            .chunks(LOG_BYTES as usize)
            .map(|entry| Mark {
                insns: word(entry, 8),
                rep: word(entry, 16),
                nanos: word(entry, 24).saturating_sub(start),
            })
            .collect())
    }

    /// Every block executed so far (only where the plugin ran with `profile=on`).
    pub fn blocks(&self) -> Result<Vec<Block>> {
        let mut bytes = vec![0; MAX_BLOCKS * BLOCK_BYTES];
        self.file.read_exact_at(&mut bytes, BLOCKS_AT)?;
        Ok(bytes
            .chunks(BLOCK_BYTES)
            .filter(|block| word(block, 8) != 0)
            .map(|block| {
                let packed = word(block, 16);
                let len = ((packed >> 32) as usize).min(CODE_BYTES);
                Block {
                    address: word(block, 0),
                    executions: word(block, 8),
                    insns: packed & 0xffff_ffff,
                    code: block[24..24 + len].to_vec(),
                }
            })
            .collect())
    }
}
