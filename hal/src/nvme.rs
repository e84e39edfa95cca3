//! NVMe controllers (NVM Express Base Specification 2.0): registers, and queues that own what the controller has.
//!
//! As with [`virtio`](crate::virtio), this is the part of the driver that passes addresses to a device. The rules are the same: the controller is
//! given addresses of a queue's own memory and of frames of which the queue holds references until the command is complete; frames that are
//! read-only for ever are not written; and before a queue's memory is freed, the controller is reset. If it does not confirm that, the memory is never
//! used again.
use crate::io::dma::DmaRegion;
use crate::io::function::Function;
use crate::io::mmio::Mmio;
use crate::irq::Irq;
use crate::mm::frame::{FRAME_SIZE, Frame};
use crate::virtio::requests::Data;
pub use crate::virtio::transport::SetupError;
use crate::{cpu, time};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::{TryVec as _, try_arc};
use coracle_nvme::{
    COMMAND_BYTES, COMPLETION_BYTES, Capabilities, Command, Completion, ENABLE, FATAL, IDENTIFY_BYTES, READY,
    register,
};
use coracle_virtio::transport::pci::{Block, capabilities};
use core::mem::ManuallyDrop;
use core::sync::atomic::{Ordering, fence};

/// Entries of a queue at most: what is out at a time has a bit of a word.
const MOST_ENTRIES: u16 = 64;
/// Frames of data of a command at most.
pub const MOST_FRAMES: usize = 32;
/// Bytes of the list of frames that belongs to a command. It does not leave its page.
const LIST_BYTES: usize = MOST_FRAMES * size_of::<u64>();
/// The BAR with the registers.
const BAR: u8 = 0;
/// The admin queue.
const ADMIN: u16 = 0;

/// The registers of a controller.
struct Controller {
    registers: Mmio,
    can: Capabilities,
}

/// Whether a function is an NVMe controller.
pub fn is_controller(function: &Function) -> bool {
    /// Class, subclass and interface: mass storage, non-volatile memory, NVMe.
    const CLASS: u32 = 0x01_08_02;
    const CLASS_REGISTER: u8 = 0x08;
    function.config(CLASS_REGISTER) >> 8 == CLASS
}

impl Controller {
    /// Finds the registers of a controller and resets it. `cpu` gets its interrupts.
    fn new(function: &Function, cpu: usize) -> Result<(Arc<Controller>, Irq), SetupError> {
        function.enable();
        let bars = function.bars();
        let map = |len: usize| bars.map(Block { bar: BAR, offset: 0, len: len as u32 });
        let can = {
            let registers = map(register::DOORBELLS).ok_or(SetupError::Registers)?;
            let [low, high] = [0, 4].map(|half| registers.read32(register::CAPABILITIES + half));
            Capabilities(u64::from(high) << u32::BITS | u64::from(low))
        };
        if !can.is_usable() {
            return Err(SetupError::Features);
        }
        let pairs = 1 + cpu::possible();
        let len = register::DOORBELLS + 2 * pairs * can.doorbell_bytes();
        let registers = map(len).ok_or(SetupError::Registers)?;
        let msix = capabilities(|offset| function.config(offset)).msix;
        // A line stays raised while there are completions that were not taken: edges would be lost.
        let interrupt = function.interrupt(&bars, msix.as_ref(), cpu);
        let is_safe = |(irq, is_message): &(Irq, bool)| *is_message || irq.is_level();
        let (irq, _) = interrupt.filter(is_safe).ok_or(SetupError::Interrupt)?;
        let controller = try_arc(Controller { registers, can }).map_err(|_| SetupError::Memory)?;
        if controller.stop() { Ok((controller, irq)) } else { Err(SetupError::Reset) }
    }

    /// Waits for the bit that says whether it is ready.
    fn wait_ready(&self, is_ready: bool) -> bool {
        const NS_PER_MS: u64 = 1_000_000;
        let end = time::now_ns() + self.can.patience_ms() * NS_PER_MS;
        loop {
            let status = self.registers.read32(register::STATUS);
            if (status & READY != 0) == is_ready {
                return true;
            }
            if is_ready && status & FATAL != 0 || time::now_ns() > end {
                return false;
            }
            cpu::relax();
        }
    }

    /// Stops it: it forgets its queues. False if it does not confirm that.
    fn stop(&self) -> bool {
        self.registers.write32(register::CONFIGURATION, 0);
        self.wait_ready(false)
    }

    fn write64(&self, offset: usize, value: u64) {
        self.registers.write32(offset, value as u32);
        self.registers.write32(offset + 4, (value >> u32::BITS) as u32);
    }
}

/// A command that the controller has.
struct Held<T> {
    /// Referred to by the controller.
    _data: Data,
    token: T,
}

/// A command that was not taken.
pub struct Refused<T> {
    /// It comes back.
    pub data: Data,
    /// So does what was given with it.
    pub token: T,
    /// There is no room for it now; else there never is.
    pub is_full: bool,
}

/// A command that is complete.
pub struct Finished<T> {
    /// What was given with it.
    pub token: T,
    /// How it ended.
    pub completion: Completion,
}

/// The controller broke the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// What a command has beside its frames.
#[derive(Clone, Copy)]
pub enum Argument {
    /// Nothing.
    None,
    /// Two words that lie in its list's place.
    Words([u64; 2]),
}

/// What the controller may reach: submissions, completions and lists, one behind the other, and the frames of the commands that are out.
struct Reached<T> {
    memory: DmaRegion,
    held: Vec<Option<Held<T>>>,
}

/// A pair of queues. `T` is kept for each command while the controller has it.
pub struct Pair<T> {
    controller: Arc<Controller>,
    id: u16,
    entries: u16,
    reached: ManuallyDrop<Reached<T>>,
    /// A bit for each command number that is free.
    free: u64,
    tail: u16,
    /// The tail that the controller was told.
    told: u16,
    head: u16,
    /// The phase of completions of this round.
    phase: bool,
    is_broken: bool,
    /// The failure of the commands that are out is still to be reported.
    has_unfailed: bool,
}

impl<T> Pair<T> {
    fn new(controller: &Arc<Controller>, id: u16, entries: u16) -> Result<Pair<T>, SetupError> {
        let len = Self::lists(entries) + usize::from(entries) * LIST_BYTES;
        let memory = DmaRegion::alloc(len).ok_or(SetupError::Memory)?;
        let mut held = Vec::new();
        for _ in 0..entries {
            held.try_push(None).map_err(|_| SetupError::Memory)?;
        }
        Ok(Pair {
            controller: controller.clone(),
            id,
            entries,
            reached: ManuallyDrop::new(Reached { memory, held }),
            // One fewer than there are entries: a queue that is full looks empty.
            free: u64::MAX >> (u64::BITS - u32::from(entries) + 1),
            tail: 0,
            told: 0,
            head: 0,
            phase: true,
            is_broken: false,
            has_unfailed: true,
        })
    }

    /// Where the completions begin: each part begins a page.
    fn completions(entries: u16) -> usize {
        (usize::from(entries) * COMMAND_BYTES).next_multiple_of(FRAME_SIZE)
    }
    fn lists(entries: u16) -> usize {
        Self::completions(entries) + (usize::from(entries) * COMPLETION_BYTES).next_multiple_of(FRAME_SIZE)
    }

    fn doorbell(&self, is_head: bool) -> usize {
        let number = 2 * usize::from(self.id) + usize::from(is_head);
        register::DOORBELLS + number * self.controller.can.doorbell_bytes()
    }

    /// Queues a command; the controller sees it after [`Pair::publish`]. `writes`: it writes the data's frames.
    ///
    /// # Errors
    /// There is no room now. Or there never is: the data are not within their frames, are more of these than a command has, or are to be
    /// written to a frame that is read-only for ever; or the controller broke the rules.
    pub fn add(
        &mut self,
        command: Command,
        (data, writes): (Data, bool),
        argument: Argument,
        token: T,
    ) -> Result<(), Refused<T>> {
        let range = &data.range;
        let fits = range.start <= range.end && range.end <= data.frames.len() * FRAME_SIZE;
        let touched =
            if range.is_empty() { 0..0 } else { range.start / FRAME_SIZE..range.end.div_ceil(FRAME_SIZE) };
        let is_wrong = self.is_broken
            || !fits
            || touched.len() > MOST_FRAMES
            || !range.start.is_multiple_of(size_of::<u32>())
            || writes && data.frames[touched.clone()].iter().any(Frame::is_permanent);
        if is_wrong {
            return Err(Refused { data, token, is_full: false });
        }
        if self.free == 0 {
            return Err(Refused { data, token, is_full: true });
        }
        let id = self.free.trailing_zeros() as u16;
        self.free &= self.free - 1;
        let list = Self::lists(self.entries) + usize::from(id) * LIST_BYTES;
        let Reached { memory, held } = &mut *self.reached;
        let list_address = memory.phys() + list as u64;
        let frames = &data.frames[touched];
        let pointers = match (argument, frames) {
            (Argument::Words([first, second]), _) => {
                memory.write_pair(list, first, second);
                [list_address, 0]
            }
            (Argument::None, []) => [0, 0],
            (Argument::None, [first, rest @ ..]) => {
                let first = first.phys() + (range.start % FRAME_SIZE) as u64;
                let second = match rest {
                    [] => 0,
                    [only] => only.phys(),
                    _ => {
                        for (number, pair) in rest.chunks(2).enumerate() {
                            let last = pair.get(1).map_or(0, Frame::phys);
                            memory.write_pair(list + number * 2 * size_of::<u64>(), pair[0].phys(), last);
                        }
                        list_address
                    }
                };
                [first, second]
            }
        };
        let at = usize::from(self.tail) * COMMAND_BYTES;
        let Command(words) = command.with(id, pointers);
        for (number, pair) in words.chunks_exact(2).enumerate() {
            memory.write_pair(at + number * 2 * size_of::<u64>(), pair[0], pair[1]);
        }
        held[usize::from(id)] = Some(Held { _data: data, token });
        self.tail = (self.tail + 1) % self.entries;
        Ok(())
    }

    /// Shows the controller what was queued since the last time.
    pub fn publish(&mut self) {
        if self.tail == self.told {
            return;
        }
        self.told = self.tail;
        // Commands and lists are in memory before the controller looks.
        fence(Ordering::SeqCst);
        self.controller.registers.write32(self.doorbell(false), self.tail.into());
    }

    /// The next command that is complete. A controller that breaks the rules is an error, now and at all later calls: no command comes back
    /// any more.
    pub fn pop(&mut self) -> Result<Option<Finished<T>>, Broken> {
        if self.is_broken {
            return Err(Broken);
        }
        let at = Self::completions(self.entries) + usize::from(self.head) * COMPLETION_BYTES;
        let memory = &self.reached.memory;
        let last = memory.read_u32_pair(at + 8);
        if Completion::of([0, 0, last[0], last[1]]).phase != self.phase {
            return Ok(None);
        }
        // What the controller wrote before the phase is read after it.
        fence(Ordering::Acquire);
        let [result, _] = memory.read_u32_pair(at);
        let completion = Completion::of([result, 0, last[0], last[1]]);
        let found = self.reached.held.get_mut(usize::from(completion.id)).and_then(Option::take);
        let Some(found) = found else {
            self.is_broken = true;
            return Err(Broken);
        };
        self.free |= 1 << completion.id;
        self.head = (self.head + 1) % self.entries;
        self.phase ^= self.head == 0;
        Ok(Some(Finished { token: found.token, completion }))
    }

    /// Tells the controller how far its completions were taken.
    pub fn taken(&self) {
        self.controller.registers.write32(self.doorbell(true), self.head.into());
    }

    /// After an error: calls `f`, once, with what was given with each command that the controller has.
    pub fn fail_outstanding(&mut self, mut f: impl FnMut(&T)) {
        if core::mem::take(&mut self.has_unfailed) {
            self.reached.held.iter().flatten().for_each(|held| f(&held.token));
        }
    }
}

impl<T> Drop for Pair<T> {
    fn drop(&mut self) {
        if self.controller.stop() {
            // SAFETY: dropped once, here, and not used after. The controller has forgotten the queue, so that it writes no more.
            unsafe { ManuallyDrop::drop(&mut self.reached) };
        }
    }
}

/// The admin queue of a controller that works, and its interrupt.
pub struct Admin {
    pair: Pair<()>,
    irq: Irq,
}

impl Admin {
    /// Starts a controller. `cpu` gets its interrupts.
    pub fn start(function: &Function, cpu: usize) -> Result<Admin, SetupError> {
        let (controller, irq) = Controller::new(function, cpu)?;
        let entries = (controller.can.most_entries().min(MOST_ENTRIES.into())) as u16;
        if entries < 2 {
            return Err(SetupError::Queue);
        }
        let pair = Pair::new(&controller, ADMIN, entries)?;
        let (submissions, last) = (pair.reached.memory.phys(), u32::from(entries) - 1);
        let completions = submissions + Pair::<()>::completions(entries) as u64;
        controller.registers.write32(register::ADMIN_QUEUE_SIZES, last | last << 16);
        controller.write64(register::ADMIN_SUBMISSIONS, submissions);
        controller.write64(register::ADMIN_COMPLETIONS, completions);
        controller.registers.write32(register::CONFIGURATION, ENABLE);
        if controller.wait_ready(true) { Ok(Admin { pair, irq }) } else { Err(SetupError::Reset) }
    }

    /// Takes the interrupt; true if there was one. Call it before looking at the queues.
    pub fn acknowledge(&self) -> bool {
        self.irq.take_pending()
    }

    /// Carries out a command of the admin queue, at boot: it waits without sleeping.
    fn command(&mut self, command: Command, data: Data) -> Result<Completion, SetupError> {
        self.pair.add(command, (data, true), Argument::None, ()).map_err(|_| SetupError::Queue)?;
        self.wait()
    }

    fn wait(&mut self) -> Result<Completion, SetupError> {
        const PATIENCE_NS: u64 = 5_000_000_000;
        self.pair.publish();
        let end = time::now_ns() + PATIENCE_NS;
        loop {
            match self.pair.pop() {
                Ok(Some(finished)) => {
                    self.pair.taken();
                    let is_good = finished.completion.status == 0;
                    return if is_good { Ok(finished.completion) } else { Err(SetupError::Queue) };
                }
                Ok(None) if time::now_ns() < end => cpu::relax(),
                _ => return Err(SetupError::Queue),
            }
        }
    }

    /// What the controller, or a namespace, says of itself.
    pub fn identify(&mut self, command: Command) -> Result<Vec<u8>, SetupError> {
        let frame = Frame::alloc_zeroed().ok_or(SetupError::Memory)?;
        let mut frames = Vec::new();
        frames.try_push(frame.clone()).map_err(|_| SetupError::Memory)?;
        self.command(command, Data { frames, range: 0..IDENTIFY_BYTES })?;
        let mut bytes = coracle_fallible::filled(0, IDENTIFY_BYTES).map_err(|_| SetupError::Memory)?;
        frame.read(0, &mut bytes);
        Ok(bytes)
    }

    /// Makes up to so many pairs of queues, at least one.
    pub fn pairs<T>(&mut self, most: u16) -> Result<Vec<Pair<T>>, SetupError> {
        let most = most.min(cpu::possible() as u16).max(1);
        let count = self.command(Command::request_queues(most), Data::NONE)?.queues().min(most);
        let mut pairs = Vec::new();
        for id in 1..=count {
            let pair = Pair::new(&self.pair.controller, id, self.pair.entries)?;
            let start = pair.reached.memory.phys();
            // In the list before the controller knows of it: it goes only after the controller was reset.
            pairs.try_push(pair).map_err(|_| SetupError::Memory)?;
            let completions = start + Pair::<T>::completions(self.pair.entries) as u64;
            self.make(Command::create_completions(id, self.pair.entries), completions)?;
            self.make(Command::create_submissions(id, self.pair.entries), start)?;
        }
        Ok(pairs)
    }

    /// Carries out a command that makes a queue at an address.
    fn make(&mut self, command: Command, address: u64) -> Result<(), SetupError> {
        /// Where the first pointer of a command is the second of two words.
        const POINTER: usize = 2 * size_of::<u64>();
        let pair = &mut self.pair;
        let at = usize::from(pair.tail) * COMMAND_BYTES;
        pair.add(command, (Data::NONE, false), Argument::None, ()).map_err(|_| SetupError::Queue)?;
        pair.reached.memory.write_pair(at + POINTER, 0, address);
        self.wait().map(drop)
    }
}

#[cfg(test)]
mod tests;
