//! A disk in memory whose power fails.
//!
//! Writes go to a cache that a flush makes durable. The disk keeps the log of all of it, so that after a run of a workload
//! every state is there that the disk could have had when the power failed at any point: [`SimulatedDisk::crashed_at`]
//! makes one of them, the same for the same seed. Of the writes since the last flush each sector may have arrived or not,
//! independent of the order in which they were made.
use crate::{Disk, Error, check_range};
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

enum Event {
    Write {
        offset_bytes: u64,
        bytes: Vec<u8>,
    },
    /// The write before is durable, which says nothing of others.
    Forced,
    Flush,
}

struct State {
    /// What the disk held when the log began.
    base: Arc<Vec<u8>>,
    /// What a read returns.
    now: Vec<u8>,
    log: Vec<Event>,
    /// Ranges of bytes whose writing was begun, until the next flush.
    begun: Vec<Range<u64>>,
    /// Whether events are logged.
    logging: bool,
    /// Operations that are left until one fails, and all after it.
    fail_after: Option<u64>,
}

/// The disk.
pub struct SimulatedDisk {
    state: Mutex<State>,
    sector_bytes: u32,
    read_only: bool,
}

/// What happens to the writes that no flush made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All are lost.
    All,
    /// All arrive.
    None,
    /// Whole writes arrive or are lost, by chance.
    Writes,
    /// Sectors of them arrive or are lost, by chance: writes are torn.
    Sectors,
}

/// xorshift64*, whose sequence a seed determines.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Chance {
        // Neighbouring seeds must differ in many bits (splitmix64).
        let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Chance((mixed ^ (mixed >> 27)) | 1)
    }
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }
}

impl SimulatedDisk {
    /// A disk that holds `bytes`.
    ///
    /// # Panics
    /// If they are not whole sectors.
    pub fn new(bytes: Vec<u8>, sector_bytes: u32) -> SimulatedDisk {
        assert!(bytes.len().is_multiple_of(sector_bytes as usize));
        let state = State {
            base: Arc::new(Vec::new()),
            now: bytes,
            log: Vec::new(),
            begun: Vec::new(),
            logging: false,
            fail_after: None,
        };
        SimulatedDisk { state: Mutex::new(state), sector_bytes, read_only: false }
    }

    /// The same disk, which can only be read.
    pub fn into_read_only(self) -> SimulatedDisk {
        SimulatedDisk { read_only: true, ..self }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the log: what the disk holds now counts as durable.
    pub fn begin_log(&self) {
        let mut state = self.state();
        state.base = Arc::new(state.now.clone());
        state.log.clear();
        state.logging = true;
    }

    /// How many writes and flushes the log has. The power may fail after any number of them.
    pub fn events(&self) -> usize {
        self.state().log.len()
    }

    /// What reads return now.
    pub fn bytes(&self) -> Vec<u8> {
        self.state().now.clone()
    }

    /// Lets so many more operations succeed; then all fail with [`Error::Io`]. `None`: none fails.
    pub fn fail_after(&self, operations: Option<u64>) {
        self.state().fail_after = operations;
    }

    /// What the disk held if the power failed after so many events of the log, with the losses that chance gives for the
    /// seed.
    pub fn crashed_at(&self, events: usize, loss: Loss, seed: u64) -> Vec<u8> {
        let state = self.state();
        let events = &state.log[..events.min(state.log.len())];
        let durable = events.iter().rposition(|event| matches!(event, Event::Flush)).map_or(0, |at| at + 1);
        let mut bytes = Vec::clone(&state.base);
        let mut put = |offset: u64, from: &[u8]| {
            bytes[offset as usize..offset as usize + from.len()].copy_from_slice(from);
        };
        for event in &events[..durable] {
            if let Event::Write { offset_bytes, bytes } = event {
                put(*offset_bytes, bytes);
            }
        }
        let mut chance = Chance::new(seed);
        // Of two writes of one sector either may be the one that stays, as the device chooses their order.
        let mut versions: BTreeMap<u64, Vec<&[u8]>> = BTreeMap::new();
        for (number, event) in events.iter().enumerate().skip(durable) {
            let Event::Write { offset_bytes, bytes } = event else { continue };
            let is_forced = matches!(events.get(number + 1), Some(Event::Forced));
            let whole = match loss {
                _ if is_forced => true,
                Loss::All => continue,
                Loss::None | Loss::Sectors => true,
                Loss::Writes => chance.next() & 1 == 0,
            };
            for (index, sector) in bytes.chunks(self.sector_bytes as usize).enumerate() {
                let at = offset_bytes + index as u64 * u64::from(self.sector_bytes);
                if is_forced {
                    versions.insert(at, vec![sector]);
                } else if whole && (loss != Loss::Sectors || chance.next() & 1 == 0) {
                    versions.entry(at).or_default().push(sector);
                }
            }
        }
        for (at, versions) in &versions {
            let last = versions.len() - 1;
            let chosen = if loss == Loss::Sectors { chance.next() as usize % versions.len() } else { last };
            put(*at, versions[chosen]);
        }
        bytes
    }

    /// Nothing else happens to sectors whose writing was begun: their end has no order with that.
    fn check_begun(state: &State, offset_bytes: u64, len: usize) {
        let range = offset_bytes..offset_bytes + len as u64;
        let meets = |begun: &Range<u64>| begun.start < range.end && range.start < begun.end;
        assert!(!state.begun.iter().any(meets), "bytes at {range:?} are being written");
    }

    fn count(state: &mut State) -> Result<(), Error> {
        match &mut state.fail_after {
            Some(0) => Err(Error::Io),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Disk for SimulatedDisk {
    fn sector_bytes(&self) -> u32 {
        self.sector_bytes
    }
    fn size_bytes(&self) -> u64 {
        self.state().now.len() as u64
    }
    fn read_only(&self) -> bool {
        self.read_only
    }
    fn read(&self, offset_bytes: u64, into: &mut [u8]) -> Result<(), Error> {
        check_range(self, offset_bytes, into.len() as u64)?;
        let mut state = self.state();
        Self::check_begun(&state, offset_bytes, into.len());
        Self::count(&mut state)?;
        into.copy_from_slice(&state.now[offset_bytes as usize..offset_bytes as usize + into.len()]);
        Ok(())
    }
    fn write(&self, offset_bytes: u64, from: &[u8]) -> Result<(), Error> {
        check_range(self, offset_bytes, from.len() as u64)?;
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        let mut state = self.state();
        Self::check_begun(&state, offset_bytes, from.len());
        Self::count(&mut state)?;
        state.now[offset_bytes as usize..offset_bytes as usize + from.len()].copy_from_slice(from);
        if state.logging {
            state.log.push(Event::Write { offset_bytes, bytes: from.to_vec() });
        }
        Ok(())
    }
    fn begin_write(&self, offset_bytes: u64, from: &[u8]) -> Result<(), Error> {
        self.write(offset_bytes, from)?;
        self.state().begun.push(offset_bytes..offset_bytes + from.len() as u64);
        Ok(())
    }
    fn write_durable(&self, offset_bytes: u64, from: &[u8]) -> Result<(), Error> {
        self.write(offset_bytes, from)?;
        let mut state = self.state();
        if state.logging {
            state.log.push(Event::Forced);
        }
        Ok(())
    }
    fn flush(&self) -> Result<(), Error> {
        let mut state = self.state();
        state.begun.clear();
        Self::count(&mut state)?;
        if state.logging {
            state.log.push(Event::Flush);
        }
        Ok(())
    }
    fn discard(&self, offset_bytes: u64, len_bytes: u64) -> Result<(), Error> {
        // A device may return anything from there on: ones are what is least like the right answer.
        let ones = vec![0xff; len_bytes as usize];
        self.write(offset_bytes, &ones)
    }
}
