//! Reads the file in which the plugin (`plugin/edges.c`) notes the edges that programs take.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};

// The layout of `struct shared` in plugin/edges.c; keep the two equal.
const MAX_VCPUS: usize = 8;
const CPU_BYTES: usize = 64;
const HEADER_BYTES: usize = 64;
const RUNNING_AT: usize = 8;
const EDGES_AT: usize = 16;
const LONGEST_AT: usize = 24;
const LONGEST_PROGRAM_AT: usize = 32;
const FOUND_AT: u64 = (HEADER_BYTES + MAX_VCPUS * CPU_BYTES) as u64;

/// What a guest does at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Index of the program that runs; `None` between programs.
    pub program: Option<usize>,
    /// Blocks of the kernel executed since boot, on all CPUs.
    pub blocks: u64,
    /// Edges seen in all guests that used the file.
    pub edges: u64,
    /// Instructions that the kernel executed without a look at what waits for its CPU, at most, and in which program.
    pub longest: u64,
    /// See above.
    pub longest_program: Option<usize>,
}

/// Forgets what the last guest that used the file did, edges apart: the plugin of the next one does so only when it is loaded.
///
/// # Errors
/// If the file can't be written.
pub fn forget_progress(path: &Path) -> Result<()> {
    let Ok(file) = File::options().write(true).open(path) else { return Ok(()) };
    file.write_all_at(&0u64.to_le_bytes(), RUNNING_AT as u64)?;
    file.write_all_at(&[0; MAX_VCPUS * CPU_BYTES], HEADER_BYTES as u64)?;
    Ok(())
}

/// The open file.
pub struct Edges {
    file: File,
}

impl Edges {
    /// Opens it.
    ///
    /// # Errors
    /// If it isn't there.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { file: File::open(path).with_context(|| format!("cannot open {}", path.display()))? })
    }

    /// What happens now; nothing yet, if the plugin has only begun.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn progress(&self) -> Result<Progress> {
        let mut bytes = [0; HEADER_BYTES + MAX_VCPUS * CPU_BYTES];
        // The plugin makes the file before it sets its size.
        match self.file.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(Progress::default()),
            read => read?,
        }
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let program = |at| usize::try_from(word(at)).ok().and_then(|number| number.checked_sub(1));
        Ok(Progress {
            program: program(RUNNING_AT),
            longest: word(LONGEST_AT),
            longest_program: program(LONGEST_PROGRAM_AT),
            blocks: (0..MAX_VCPUS).map(|cpu| word(HEADER_BYTES + cpu * CPU_BYTES)).sum(),
            edges: word(EDGES_AT),
        })
    }

    /// How many edges each of the first `programs` programs of the last batch was the first to take.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn found(&self, programs: usize) -> Result<Vec<u32>> {
        // Place 0 counts what the kernel does between programs.
        let mut bytes = vec![0; (programs + 1) * 4];
        self.file.read_exact_at(&mut bytes, FOUND_AT)?;
        let counts = bytes.chunks_exact(4).skip(1);
        Ok(counts.map(|chunk| u32::from_le_bytes(chunk.try_into().expect("four bytes"))).collect())
    }
}
