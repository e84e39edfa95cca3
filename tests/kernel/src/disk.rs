//! Disks: bytes of the host that take requests as a device does. What is submitted is done when the driver rings the doorbell, the last
//! request first, since a device may end them in any order.
use coracle_core::ipc::poll::PollSource;
use coracle_devices::block::device::{BlockDevice, Limits, Operation, Outcome, Request, SECTOR_BYTES};
use coracle_hal::frame::FRAME_SIZE;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of each disk.
pub const SIZE: usize = 16 << 20;

/// How many disks the machine has: a test takes one that no other has, `/dev/vda` being the first.
pub const COUNT: usize = 4;

/// Bytes of the largest request.
const MOST_BYTES: usize = 64 << 10;

#[derive(Default)]
struct State {
    /// What is on it; empty until it is filled.
    bytes: Vec<u8>,
    /// Submitted, and not seen by the device.
    waiting: Vec<Request>,
    /// Writes to these sectors fail.
    broken: Range<u64>,
}

struct Disk {
    limits: Limits,
    state: Mutex<State>,
    room: PollSource,
}

const fn new() -> Disk {
    let limits = Limits {
        sectors: SIZE as u64 / SECTOR_BYTES,
        logical_block: SECTOR_BYTES as u32,
        physical_block: SECTOR_BYTES as u32,
        is_read_only: false,
        has_cache: true,
        request_bytes: (MOST_BYTES, MOST_BYTES),
        discard_sectors: 0,
        zero_sectors: 0,
        zero_unmaps: false,
    };
    let state = State { bytes: Vec::new(), waiting: Vec::new(), broken: 0..0 };
    Disk { limits, state: Mutex::new(state), room: PollSource::new() }
}

static DISKS: [Disk; COUNT] = [const { new() }; COUNT];

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn carry_out(&mut self, request: &Request) -> Outcome {
        let len = request.data.range.len();
        let start = request.sector as usize * SECTOR_BYTES as usize;
        let sectors = request.sector..request.sector + len as u64 / SECTOR_BYTES;
        let is_broken = sectors.start < self.broken.end && self.broken.start < sectors.end;
        let Some(bytes) = self.bytes.get_mut(start..start + len) else { return Outcome::Failed };
        match request.operation {
            Operation::Read => each_piece(request, |frame, offset, done, len| {
                frame.write(offset, &bytes[done..done + len]);
            }),
            Operation::Write if is_broken => return Outcome::Failed,
            Operation::Write => each_piece(request, |frame, offset, done, len| {
                frame.read(offset, &mut bytes[done..done + len]);
            }),
            Operation::Flush => {}
            _ => return Outcome::Unsupported,
        }
        Outcome::Done
    }
}

/// Calls `f` with each frame of the data: where it begins in that, how many bytes come before it, and how many it has.
fn each_piece(request: &Request, mut f: impl FnMut(&coracle_hal::frame::Frame, usize, usize, usize)) {
    let mut at = request.data.range.start;
    while at < request.data.range.end {
        let end = request.data.range.end.min((at / FRAME_SIZE + 1) * FRAME_SIZE);
        f(&request.data.frames[at / FRAME_SIZE], at % FRAME_SIZE, at - request.data.range.start, end - at);
        at = end;
    }
}

impl BlockDevice for Disk {
    fn limits(&self) -> &Limits {
        &self.limits
    }
    fn submit(&self, request: Request) -> Result<(), Request> {
        self.state().waiting.push(request);
        Ok(())
    }
    fn kick(&self) {
        // What is told of the end may submit more: the lock is released before.
        loop {
            let mut state = self.state();
            let Some(request) = state.waiting.pop() else { return };
            let outcome = state.carry_out(&request);
            drop(state);
            let Request { batch, data, .. } = request;
            drop(data);
            batch.finish(outcome);
        }
    }
    fn room(&self) -> &PollSource {
        &self.room
    }
}

/// Makes the disks known, at boot.
pub(crate) fn add_all() {
    for disk in &DISKS {
        coracle_fs::block::registry::add("vd", disk).expect("there is memory");
    }
}

/// Puts bytes on a disk, from its start; the rest is zero.
pub fn fill(number: usize, bytes: &[u8]) {
    let mut all = vec![0; SIZE];
    all[..bytes.len()].copy_from_slice(bytes);
    DISKS[number].state().bytes = all;
}

/// What is on a disk.
pub fn bytes(number: usize) -> Vec<u8> {
    DISKS[number].state().bytes.clone()
}

/// Has writes to these sectors, of 512 bytes, fail from here on.
pub fn break_sectors(number: usize, sectors: Range<u64>) {
    DISKS[number].state().broken = sectors;
}
