//! NVMe disks (NVM Express Base Specification 2.0, NVM Command Set Specification 1.0).
//!
//! Each CPU has a pair of queues where the controller has enough of them; they share one interrupt. A namespace is a disk.
use crate::block::batch::Batch;
use crate::block::device::{BlockDevice, Limits, Operation, Outcome, Request, SECTOR_BYTES};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::ipc::poll::{Events, PollSource};
use coracle_core::lock::Mutex;
use coracle_fallible::prelude::*;
use coracle_fallible::try_box;
use coracle_hal::cpu;
use coracle_hal::frame::FRAME_SIZE;
use coracle_hal::io::pci::Function;
use coracle_hal::nvme::{Admin, Argument, Broken, MOST_FRAMES, Pair, Refused, SetupError};
use coracle_nvme::{Command, Completion, Controller, IDENTIFY_BYTES, Namespace, SERIAL_BYTES, Zeroing};

/// Pairs of queues at most.
const MOST_PAIRS: u16 = 64;
/// Namespaces that are looked for: those with the first numbers.
const MOST_NAMESPACES: u32 = 16;
/// Blocks of a command that writes zeroes at most, whose number has 16 bits.
const MOST_ZEROED: u64 = 1 << 16;

/// A controller.
pub struct Nvme {
    /// Held, as the controller has it.
    admin: Admin,
    lanes: Vec<Mutex<Pair<Arc<Batch>>>>,
    serial: [u8; SERIAL_BYTES],
    room: PollSource,
}

/// A disk of a controller.
pub struct Disk {
    nvme: &'static Nvme,
    number: u32,
    limits: Limits,
}

/// The bytes of a data structure.
fn array(bytes: &[u8]) -> Result<&[u8; IDENTIFY_BYTES], SetupError> {
    bytes.try_into().map_err(|_| SetupError::Configuration)
}

impl Nvme {
    /// Starts a controller, and hands each of its disks to `take`, with its number. `cpu` gets its interrupts.
    pub fn start(
        function: &Function,
        cpu: usize,
        mut take: impl FnMut(&'static Disk, u32) -> Result<(), SetupError>,
    ) -> Result<&'static Nvme, SetupError> {
        let memory = |_| SetupError::Memory;
        let mut admin = Admin::start(function, cpu)?;
        let controller = Controller::parse(array(&admin.identify(Command::identify_controller())?)?);
        let pairs = admin.pairs(MOST_PAIRS)?;
        let mut found = Vec::new();
        for number in 1..=controller.namespaces.min(MOST_NAMESPACES) {
            let Ok(bytes) = admin.identify(Command::identify_namespace(number)) else { continue };
            if let Some(namespace) = Namespace::parse(array(&bytes)?) {
                found.try_push((number, limits(&controller, namespace))).map_err(memory)?;
            }
        }
        let lanes = pairs.into_iter().map(Mutex::new).try_collect_vec().map_err(memory)?;
        let new = Nvme { admin, lanes, serial: controller.serial, room: PollSource::new() };
        // Disks do not go.
        let nvme: &'static Nvme = Box::leak(try_box(new).map_err(memory)?);
        for (number, limits) in found {
            take(Box::leak(try_box(Disk { nvme, number, limits }).map_err(memory)?), number)?;
        }
        Ok(nvme)
    }

    /// Takes what the controller is done with, if it has interrupted.
    pub fn poll(&self) {
        if !self.admin.acknowledge() {
            return;
        }
        let mut any = false;
        for lane in &self.lanes {
            any |= drain(lane);
        }
        if any {
            self.room.notify(Events::OUT);
        }
    }
}

/// What a namespace takes.
fn limits(controller: &Controller, namespace: Namespace) -> Limits {
    let Namespace { blocks, block_bytes, is_read_only } = namespace;
    let sectors_of = |blocks: u64| blocks * (u64::from(block_bytes) / SECTOR_BYTES);
    let most_frames = controller.most_bytes.map_or(MOST_FRAMES, |most| MOST_FRAMES.min(most / FRAME_SIZE));
    let most = |is_there: bool, blocks: u64| {
        if is_there { u32::try_from(sectors_of(blocks)).unwrap_or(u32::MAX) } else { 0 }
    };
    Limits {
        sectors: sectors_of(blocks),
        logical_block: block_bytes,
        physical_block: block_bytes,
        is_read_only,
        has_cache: controller.has_cache,
        request_bytes: (most_frames * FRAME_SIZE, FRAME_SIZE),
        discard_sectors: most(controller.deallocates, u64::from(u32::MAX) / SECTOR_BYTES),
        zero_sectors: most(controller.writes_zeroes, MOST_ZEROED),
        zero_unmaps: controller.writes_zeroes && controller.deallocates,
    }
}

/// How a command ended.
fn outcome(status: u16) -> Outcome {
    match status {
        0 => Outcome::Done,
        status if Completion::is_unsupported(status) => Outcome::Unsupported,
        _ => Outcome::Failed,
    }
}

/// Takes all that the controller is done with. True if there was something.
fn drain(lane: &Mutex<Pair<Arc<Batch>>>) -> bool {
    let mut any = false;
    loop {
        let mut pair = lane.lock();
        match pair.pop() {
            Ok(Some(finished)) => {
                any = true;
                // With the pair free again: what is told takes locks.
                drop(pair);
                finished.token.finish(outcome(finished.completion.status));
            }
            Ok(None) => {
                if any {
                    pair.taken();
                }
                return any;
            }
            Err(Broken) => {
                // None of them comes back, nor do the frames that the controller may still write to.
                pair.fail_outstanding(|batch| batch.finish(Outcome::Failed));
                return true;
            }
        }
    }
}

impl Disk {
    fn command(&self, operation: Operation, sector: u64, bytes: usize) -> (Command, Argument) {
        let block = u64::from(self.limits.logical_block);
        let blocks_of = |sectors: u64| (sectors * SECTOR_BYTES / block) as u32;
        let (first, count) = (sector * SECTOR_BYTES / block, (bytes as u64 / block) as u32);
        let number = self.number;
        let command = match operation {
            Operation::Read | Operation::Identify => Command::read(number, first, count),
            Operation::Write => Command::write(number, first, count),
            Operation::Flush => Command::flush(number),
            Operation::Discard { sectors } => {
                let range = Command::range(first, blocks_of(sectors.into()));
                return (Command::deallocate(number), Argument::Words(range));
            }
            Operation::WriteZeroes { sectors, may_unmap } => {
                let how = if may_unmap { Zeroing::MayDeallocate } else { Zeroing::Keep };
                Command::write_zeroes(number, first, blocks_of(sectors.into()), how)
            }
        };
        (command, Argument::None)
    }
}

impl BlockDevice for Disk {
    fn limits(&self) -> &Limits {
        &self.limits
    }
    fn submit(&self, request: Request) -> Result<(), Request> {
        let Request { operation, sector, data, batch } = request;
        if operation == Operation::Identify {
            // Known since the controller was started.
            if let Some(frame) = data.frames.first() {
                frame.write(0, &self.nvme.serial);
            }
            batch.finish(Outcome::Done);
            return Ok(());
        }
        let (command, argument) = self.command(operation, sector, data.range.len());
        // `start` has made one at least.
        let lane = &self.nvme.lanes[cpu::id() % self.nvme.lanes.len()];
        let mut pair = lane.lock();
        let added = pair.add(command, (data, operation.is_input()), argument, batch);
        let Err(Refused { data, token, is_full }) = added else { return Ok(()) };
        drop(pair);
        if is_full {
            return Err(Request { operation, sector, data, batch: token });
        }
        token.finish(Outcome::Failed);
        Ok(())
    }
    fn kick(&self) {
        self.nvme.lanes.iter().for_each(|lane| lane.lock().publish());
    }
    fn room(&self) -> &PollSource {
        &self.nvme.room
    }
}
