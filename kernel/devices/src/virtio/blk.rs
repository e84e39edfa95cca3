//! Block device (virtio 1.2, section 5.2).
//!
//! Interrupts are always asked for: a completion marks one, and whichever CPU looks at the devices next takes all that has come
//! and wakes the threads. Where the device has several queues, each CPU uses one of its own; they share one interrupt.
use crate::block::batch::Batch;
use crate::block::device::{BlockDevice, Limits, Outcome, Request, SECTOR_BYTES};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::ipc::poll::{Events, PollSource};
use coracle_core::lock::Mutex;
use coracle_fallible::prelude::*;
use coracle_hal::cpu;
use coracle_hal::frame::FRAME_SIZE;
use coracle_hal::virtio::requests::{Finished, Refused, Requests};
use coracle_hal::virtio::transport::{Doorbell, SetupError, Transport};
use coracle_virtio::device::block::{config, features};
use coracle_virtio::device::{features as common, id};
use coracle_virtio::queue::QueueError;

/// Descriptors of a queue at most.
const QUEUE_SIZE: u16 = 256;
/// Queues at most.
const MAX_QUEUES: u16 = 64;

/// A disk.
pub struct Blk {
    transport: Transport,
    limits: Limits,
    queues: Vec<Lane>,
    room: PollSource,
    /// Callers that want writes to be durable when they are done; `None`: the device has no such mode.
    through: Option<Mutex<usize>>,
}

/// A queue.
struct Lane {
    requests: Mutex<Requests<Arc<Batch>>>,
    doorbell: Doorbell,
}

impl Blk {
    /// Sets the device up and starts it.
    pub fn new(transport: Transport) -> Result<Blk, SetupError> {
        debug_assert_eq!(transport.device_type(), id::BLOCK);
        let wanted = common::EVENT_IDX
            | features::SIZE_MAX
            | features::SEG_MAX
            | features::RO
            | features::BLK_SIZE
            | features::FLUSH
            | features::TOPOLOGY
            | features::CONFIG_WCE
            | features::MQ
            | features::DISCARD
            | features::WRITE_ZEROES;
        let agreed = transport.negotiate(wanted)?;
        let has = |feature| agreed & feature != 0;
        let read_u32 =
            |feature, offset, without| if has(feature) { transport.config_u32(offset) } else { without };
        let logical_block = read_u32(features::BLK_SIZE, config::BLK_SIZE, SECTOR_BYTES as u32);
        if !logical_block.is_power_of_two()
            || !(SECTOR_BYTES as usize..=FRAME_SIZE).contains(&(logical_block as usize))
        {
            return Err(SetupError::Configuration);
        }
        let size_max = read_u32(features::SIZE_MAX, config::SIZE_MAX, u32::MAX);
        if u64::from(size_max) < SECTOR_BYTES {
            return Err(SetupError::Configuration);
        }
        // Without the feature a request has one piece of data, as Linux's driver takes it.
        let pieces = read_u32(features::SEG_MAX, config::SEG_MAX, 1).max(1) as usize;
        let exponent =
            if has(features::TOPOLOGY) { transport.config_u8(config::PHYSICAL_BLOCK_EXP) } else { 0 };
        let offered = if has(features::MQ) { transport.config_u16(config::NUM_QUEUES) } else { 1 };
        let count = offered.clamp(1, MAX_QUEUES).min(cpu::possible() as u16);
        let mut queues = Vec::new();
        for index in 0..count {
            let size = transport.queue_size(index, QUEUE_SIZE);
            let (requests, doorbell) =
                transport.requests(index, size, size_max as usize, has(common::EVENT_IDX))?;
            let lane = Lane { requests: Mutex::new(requests), doorbell };
            queues.try_push(lane).map_err(|_| SetupError::Memory)?;
        }
        let (most, align) = match queues.first() {
            Some(lane) => lane.requests.lock().most_bytes(pieces),
            None => return Err(SetupError::Queue),
        };
        let unit = logical_block as usize;
        // A request is whole logical blocks, which a piece may be a part of.
        let align = align.max(unit);
        if most < align {
            return Err(SetupError::Configuration);
        }
        let has_mode = has(features::FLUSH) && has(features::CONFIG_WCE);
        let is_through = has_mode && transport.config_u8(config::WRITEBACK) == 0;
        let sectors = u64::from(transport.config_u32(config::CAPACITY))
            | u64::from(transport.config_u32(config::CAPACITY + 4)) << u32::BITS;
        let limits = Limits {
            // A piece of a block at the end could not be read.
            sectors: sectors & !(u64::from(logical_block) / SECTOR_BYTES - 1),
            logical_block,
            physical_block: logical_block
                .checked_shl(exponent.into())
                .unwrap_or(logical_block)
                .max(logical_block),
            is_read_only: has(features::RO),
            has_cache: has(features::FLUSH) && !is_through,
            request_bytes: (most / align * align, align),
            discard_sectors: read_u32(features::DISCARD, config::MAX_DISCARD_SECTORS, 0),
            zero_sectors: read_u32(features::WRITE_ZEROES, config::MAX_WRITE_ZEROES_SECTORS, 0),
            zero_unmaps: has(features::WRITE_ZEROES)
                && transport.config_u8(config::WRITE_ZEROES_MAY_UNMAP) != 0,
        };
        transport.start();
        for lane in &queues {
            lane.requests.lock().request_interrupt();
        }
        let through = has_mode.then(|| Mutex::new(0));
        Ok(Blk { transport, limits, queues, room: PollSource::new(), through })
    }

    /// The queue that this CPU uses.
    fn lane(&self) -> &Lane {
        // `new` refuses a device without a queue.
        &self.queues[cpu::id() % self.queues.len()]
    }

    /// Takes what the device is done with, if it has interrupted.
    pub fn poll(&self) {
        if !self.transport.acknowledge() {
            return;
        }
        // The interrupt was for any of them.
        let mut any = false;
        for lane in &self.queues {
            any |= lane.drain();
        }
        self.kick();
        if any {
            self.room.notify(Events::OUT);
        }
    }
}

impl Lane {
    /// Takes all that the device is done with, and asks for an interrupt with the next. True if there was something.
    fn drain(&self) -> bool {
        let mut any = false;
        while let Some(finished) = self.pop() {
            any = true;
            // With the queue free again: the endings take locks, and may submit.
            finished.token.finish(finished.outcome);
        }
        any
    }

    /// The next request that the device is done with. If there is none, it interrupts with the next.
    fn pop(&self) -> Option<Finished<Arc<Batch>>> {
        let mut requests = self.requests.lock();
        loop {
            match requests.pop() {
                Ok(Some(finished)) => return Some(finished),
                Ok(None) if requests.request_interrupt() => {}
                Ok(None) | Err(QueueError::Broken) => return None,
                Err(error) => {
                    log!("a disk has stopped: {error}");
                    // None of them comes back, nor do the frames that the device may still write to.
                    requests.each_outstanding(|batch| batch.finish(Outcome::Failed));
                    return None;
                }
            }
        }
    }
}

impl BlockDevice for Blk {
    fn limits(&self) -> &Limits {
        &self.limits
    }
    fn submit(&self, request: Request) -> Result<(), Request> {
        let Request { operation, sector, data, batch } = request;
        let mut requests = self.lane().requests.lock();
        let Err(Refused { data, token, is_full }) = requests.add(operation, sector, data, batch) else {
            return Ok(());
        };
        drop(requests);
        if is_full {
            return Err(Request { operation, sector, data, batch: token });
        }
        token.finish(Outcome::Failed);
        Ok(())
    }
    fn kick(&self) {
        for lane in &self.queues {
            let ring = lane.requests.lock().publish();
            // With the queue free again: the device may do its work before this returns.
            if ring {
                lane.doorbell.ring();
            }
        }
    }
    fn kick_soon(&self) {
        if self.lane().requests.lock().is_at_work() {
            self.transport.look_soon();
        } else {
            self.kick();
        }
    }
    /// By the mode of the device's cache (section 5.2.5), which all requests have part in that are carried out meanwhile.
    fn write_through(&self, on: bool) -> bool {
        let Some(callers) = &self.through else { return false };
        let mut callers = callers.lock();
        let is_change = *callers == usize::from(!on);
        *callers = if on { *callers + 1 } else { callers.saturating_sub(1) };
        if is_change {
            self.transport.set_config_u8(config::WRITEBACK, (!on).into());
        }
        true
    }
    fn room(&self) -> &PollSource {
        &self.room
    }
}
