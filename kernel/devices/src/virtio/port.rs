//! A port of a virtio console: two queues, and what waits for either (virtio 1.2, section 5.3).
use coracle_core::errno::{Errno, SysResult};
use coracle_core::ipc::poll::{Events, PollSource, block_on_events};
use coracle_core::lock::Mutex;
use coracle_core::mm::user_buf::UserBuf;
use coracle_hal::io::dma::PacketBuffer;
use coracle_hal::sync::atomic::{AtomicU8, Ordering};
use coracle_hal::virtio::queue::Queue;
use coracle_hal::virtio::transport::{Doorbell, SetupError, Transport};
use core::ops::Range;

/// Buffers offered for input: what the device may have sent before a reader takes it.
const INPUT_BUFFERS: u16 = 8;
/// Buffers for output: as much as a pipe holds, 64 KiB.
const OUTPUT_BUFFERS: u16 = 32;
/// Buffers of a write that does not mix with others': PIPE_BUF bytes (pipe(7)).
const WHOLE: u16 = coracle_core::ipc::pipe::PIPE_BUF.div_ceil(PacketBuffer::SIZE) as u16;
/// Buffers that one write fills before the device sees them.
const BATCH: u16 = OUTPUT_BUFFERS / 2;

/// A queue and its doorbell. Once the device broke the queue's rules, nothing comes from it and it takes nothing.
pub struct Half {
    queue: Queue<PacketBuffer>,
    doorbell: Doorbell,
    /// Buffers that the device may have, where a legacy device's queue could hold more.
    most: u16,
    broken: bool,
}

impl Half {
    /// Sets up queue `index`, for at most `most` buffers.
    pub fn new(transport: &Transport, index: u16, most: u16, event_index: bool) -> Result<Half, SetupError> {
        let size = transport.queue_size(index, most);
        if size < WHOLE {
            return Err(SetupError::Queue);
        }
        let (queue, doorbell) = transport.queue(index, size, event_index)?;
        Ok(Half { queue, doorbell, most: most.min(size), broken: false })
    }

    /// Buffers that the device may have beside those that it has: each takes a descriptor.
    fn room(&self) -> u16 {
        self.most.saturating_sub(self.queue.outstanding())
    }

    /// Offers the device buffers to write to, as many as it may have, and asks for an interrupt with the first.
    pub fn offer_all(&mut self) -> Result<(), SetupError> {
        while self.room() > 0 {
            self.offer(PacketBuffer::alloc().ok_or(SetupError::Memory)?);
        }
        self.publish();
        self.queue.request_interrupt();
        Ok(())
    }

    /// Offers the device a buffer to write to, once it is published.
    pub fn offer(&mut self, buffer: PacketBuffer) {
        // Only a broken queue refuses.
        let _ = self.queue.offer(buffer, 0..PacketBuffer::SIZE);
    }

    /// Gives the device `len` bytes of a buffer to read, once it is published. Sent or not, they are gone for the caller.
    pub fn send(&mut self, buffer: PacketBuffer, len: usize) {
        // Only a broken queue refuses.
        let _ = self.queue.send(buffer, len);
    }

    /// Lets the device see what was added.
    pub fn publish(&mut self) {
        if self.queue.publish() {
            self.doorbell.ring();
        }
    }

    /// The next buffer that the device has written to, and how many bytes.
    pub fn received(&mut self) -> Option<(PacketBuffer, usize)> {
        match self.queue.pop() {
            Ok(used) => used.map(|used| (used.token, used.len as usize)),
            Err(_) => {
                self.broken = true;
                None
            }
        }
    }

    /// Asks for an interrupt with the next buffer. True: one has come already.
    pub fn request_interrupt(&self) -> bool {
        self.queue.request_interrupt()
    }

    /// Frees the buffers that the device has read.
    pub fn reap(&mut self) {
        while self.received().is_some() {}
    }
}

/// What has come, and is not read yet.
struct Input {
    half: Half,
    /// The buffer that is being read, and its bytes that were not.
    current: Option<(PacketBuffer, Range<usize>)>,
}

/// What goes out.
struct Output {
    half: Half,
    /// Buffers of the queue that a write in progress will fill.
    reserved: u16,
}

/// The host's side of a port.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Peer {
    /// It was not connected yet: reads and writes wait for it, as at a fifo (fifo(7)).
    Absent,
    /// It is connected.
    Connected,
    /// It is not any more: nothing goes out, and there is an end to what can be read.
    Gone,
}

/// A port.
pub struct Port {
    number: u32,
    input: Mutex<Input>,
    output: Mutex<Output>,
    /// A [`Peer`].
    peer: AtomicU8,
    readable: PollSource,
    writable: PollSource,
}

impl Port {
    /// Sets up the queues with these numbers for port `number`.
    pub fn new(
        transport: &Transport,
        number: u32,
        queues: (u16, u16),
        events: bool,
    ) -> Result<Port, SetupError> {
        let input = Half::new(transport, queues.0, INPUT_BUFFERS, events)?;
        let output = Half::new(transport, queues.1, OUTPUT_BUFFERS, events)?;
        Ok(Port {
            number,
            input: Mutex::new(Input { half: input, current: None }),
            output: Mutex::new(Output { half: output, reserved: 0 }),
            peer: AtomicU8::new(Peer::Absent as u8),
            readable: PollSource::new(),
            writable: PollSource::new(),
        })
    }

    /// Its number on the device.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Lets the device send input.
    pub fn start(&self) -> Result<(), SetupError> {
        self.input.lock().half.offer_all()
    }

    /// The host's side was connected, or is not any more.
    pub fn set_connected(&self, connected: bool) {
        let peer = if connected { Peer::Connected } else { Peer::Gone };
        // Read and write look at it after they subscribed: an exchange is seen by one side or the other.
        self.peer.swap(peer as u8, Ordering::AcqRel);
        self.readable.notify(Events::IN | Events::HUP);
        self.writable.notify(Events::OUT | Events::ERR);
    }

    fn is(&self, peer: Peer) -> bool {
        self.peer.load(Ordering::Acquire) == peer as u8
    }

    /// Whether the host's side is connected.
    pub fn is_connected(&self) -> bool {
        self.is(Peer::Connected)
    }

    /// Whether the host's side was connected, and is not any more.
    pub fn is_hung_up(&self) -> bool {
        self.is(Peer::Gone)
    }

    /// Wakes those that wait for what the device may have done.
    pub fn announce(&self) {
        if self.input.lock().half.queue.has_used() {
            self.readable.notify(Events::IN);
        }
        let mut output = self.output.lock();
        output.half.reap();
        if output.room() > 0 || output.half.broken {
            self.writable.notify(Events::OUT);
        }
    }

    /// Where input is announced.
    pub fn readable(&self) -> &PollSource {
        &self.readable
    }

    /// Where room for output is announced.
    pub fn writable(&self) -> &PollSource {
        &self.writable
    }

    /// Whether a read would give something, be it the end; asks for an interrupt if not.
    pub fn has_input(&self) -> bool {
        let ended = self.is_hung_up();
        let input = self.input.lock();
        input.current.is_some() || input.half.request_interrupt() || ended
    }

    /// Bytes that can be read at once, as far as they were looked at.
    pub fn available(&self) -> usize {
        let mut input = self.input.lock();
        input.fetch();
        input.current.as_ref().map_or(0, |(_, bytes)| bytes.len())
    }

    /// Reads what has come, and waits for some unless `nonblock`. 0: the host's side has ended it.
    pub fn read(&self, dst: &mut UserBuf, nonblock: bool) -> SysResult {
        block_on_events(&self.readable, Events::IN, nonblock, None, || self.try_read(dst))
    }

    fn try_read(&self, dst: &mut UserBuf) -> SysResult {
        let before = dst.done();
        loop {
            // Looked at first: what came before the end is in the queue by then.
            let ended = self.is_hung_up();
            let mut input = self.input.lock();
            while dst.remaining() > 0 && !dst.is_stuck() && input.fetch() {
                input.consume(|bytes| dst.put_nofault(bytes));
            }
            input.half.publish();
            let done = dst.done() - before;
            if !dst.is_stuck() {
                return match done {
                    0 if input.half.broken => Err(Errno::IO),
                    0 if input.half.request_interrupt() => continue,
                    0 if !ended => Err(Errno::AGAIN),
                    _ => Ok(done),
                };
            }
            drop(input);
            // A page of the program isn't there.
            match dst.resolve() {
                Ok(()) => {}
                Err(_) if done > 0 => return Ok(done),
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells the device once more that there are buffers for what is to come.
    pub fn tell_of_buffers(&self) {
        self.input.lock().half.doorbell.ring();
    }

    /// Hands what has come to `sink` as long as that says that it has room, and asks for an interrupt with what comes
    /// next. `sink` takes all bytes that it is given.
    pub fn take_input(&self, mut room: bool, mut sink: impl FnMut(&[u8]) -> bool) {
        let mut input = self.input.lock();
        loop {
            while room && input.fetch() {
                input.consume(|bytes| {
                    room = sink(bytes);
                    bytes.len()
                });
            }
            input.half.publish();
            // What there is no room for stays with the device.
            if !room || !input.half.request_interrupt() {
                return;
            }
        }
    }

    /// Writes all bytes, and waits for room unless `nonblock`. EPIPE once the host's side is gone. Writes of up to
    /// PIPE_BUF bytes don't mix with others'.
    pub fn write(&self, src: &mut UserBuf, nonblock: bool) -> SysResult {
        let before = src.done();
        while src.remaining() > 0 {
            let written = self.write_some(src, nonblock);
            if let Err(error) = written.and(src.pause_before_rest()) {
                let done = src.done() - before;
                return if done > 0 { Ok(done) } else { Err(error) };
            }
        }
        Ok(src.done() - before)
    }

    /// Writes as much as fits into what can be reserved at once.
    fn write_some(&self, src: &mut UserBuf, nonblock: bool) -> Result<(), Errno> {
        let needed = src.remaining().div_ceil(PacketBuffer::SIZE).min(BATCH as usize) as u16;
        let reserved = block_on_events(&self.writable, Events::OUT, nonblock, None, || self.reserve(needed))?;
        // No lock is held here: taking the program's bytes may resolve page faults.
        let mut buffers: [Option<(PacketBuffer, usize)>; BATCH as usize] = [const { None }; BATCH as usize];
        let mut result = Ok(());
        for place in &mut buffers[..reserved as usize] {
            let Some(mut buffer) = PacketBuffer::alloc() else {
                result = Err(Errno::NOMEM);
                break;
            };
            match src.take(buffer.as_mut_slice()) {
                Ok(0) => break,
                Ok(len) => *place = Some((buffer, len)),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        let filled = buffers[0].is_some();
        self.send_reserved(buffers, reserved);
        if result.is_err() {
            // What was reserved and not used is another writer's.
            self.writable.notify(Events::OUT);
        }
        // What was taken is sent; the next step meets the error again.
        if filled { Ok(()) } else { result }
    }

    /// Sends the buffers that `next` returns, of as many bytes as it says, and waits for room.
    ///
    /// # Errors
    /// EPIPE if there is no other side any more, EIO.
    pub fn write_buffers(
        &self,
        next: &mut dyn FnMut() -> Option<(PacketBuffer, usize)>,
    ) -> Result<(), Errno> {
        let mut first = next();
        while first.is_some() {
            let reserved = block_on_events(&self.writable, Events::OUT, false, None, || self.reserve(BATCH))?;
            let mut buffers: [Option<(PacketBuffer, usize)>; BATCH as usize] =
                [const { None }; BATCH as usize];
            for place in &mut buffers[..reserved as usize] {
                *place = first.take();
                first = next();
                if first.is_none() {
                    break;
                }
            }
            self.send_reserved(buffers, reserved);
        }
        // What was reserved and not used is another writer's.
        self.writable.notify(Events::OUT);
        Ok(())
    }

    /// Sends buffers, for which `reserved` are reserved.
    fn send_reserved(&self, buffers: [Option<(PacketBuffer, usize)>; BATCH as usize], reserved: u16) {
        let mut output = self.output.lock();
        output.reserved -= reserved;
        for (buffer, len) in buffers.into_iter().flatten() {
            output.half.send(buffer, len);
        }
        output.half.publish();
    }

    /// Reserves up to `needed` buffers, at least as many as a write that must not be cut takes.
    fn reserve(&self, needed: u16) -> Result<u16, Errno> {
        if self.is_hung_up() {
            return Err(Errno::PIPE);
        }
        if !self.is_connected() {
            return Err(Errno::AGAIN);
        }
        let mut output = self.output.lock();
        loop {
            output.half.reap();
            if output.half.broken {
                return Err(Errno::IO);
            }
            let room = output.room();
            if room >= needed.min(WHOLE) {
                let count = room.min(needed);
                output.reserved += count;
                return Ok(count);
            }
            if !output.request_interrupt() {
                return Err(Errno::AGAIN);
            }
        }
    }

    /// Whether a write of PIPE_BUF bytes would not wait; asks for an interrupt if it would.
    pub fn has_room(&self) -> bool {
        if self.is(Peer::Absent) {
            return false;
        }
        let mut output = self.output.lock();
        loop {
            output.half.reap();
            if output.room() >= WHOLE || output.half.broken {
                return true;
            }
            if !output.request_interrupt() {
                return false;
            }
        }
    }

    /// Writes bytes that may get lost if there is no room for them, without waiting: a terminal's echo.
    pub fn write_if_room(&self, bytes: &[u8]) {
        let mut output = self.output.lock();
        for chunk in bytes.chunks(PacketBuffer::SIZE) {
            output.half.reap();
            if !self.is_connected() || output.room() == 0 {
                return;
            }
            let Some(mut buffer) = PacketBuffer::alloc() else { return };
            buffer.as_mut_slice()[..chunk.len()].copy_from_slice(chunk);
            output.half.send(buffer, chunk.len());
        }
        output.half.publish();
    }

    /// Whether the host has taken all that was written. A host's side that is gone takes nothing more, and QEMU keeps the
    /// buffer of which that side had taken a part.
    pub fn is_drained(&self) -> bool {
        if self.is_hung_up() {
            return true;
        }
        let mut output = self.output.lock();
        output.half.reap();
        output.half.queue.outstanding() == 0 || output.half.broken
    }
}

impl Input {
    /// Makes sure that there is a current buffer with bytes in it. False: nothing has come.
    fn fetch(&mut self) -> bool {
        while self.current.is_none() {
            let Some((buffer, len)) = self.half.received() else { return false };
            if len > 0 {
                self.current = Some((buffer, 0..len));
            } else {
                self.half.offer(buffer);
            }
        }
        true
    }

    /// Has `take` take bytes from the front of the current buffer, which goes back once it is empty.
    fn consume(&mut self, take: impl FnOnce(&[u8]) -> usize) {
        let Some((buffer, mut bytes)) = self.current.take() else { return };
        bytes.start += take(&buffer.as_slice()[bytes.clone()]);
        if bytes.is_empty() {
            self.half.offer(buffer);
        } else {
            self.current = Some((buffer, bytes));
        }
    }
}

impl Output {
    /// Buffers that can still be reserved.
    fn room(&self) -> u16 {
        self.half.room().saturating_sub(self.reserved)
    }

    /// Asks for an interrupt once half of what the device has is read: not one for each buffer. True if it is already.
    fn request_interrupt(&self) -> bool {
        let outstanding = self.half.queue.outstanding();
        // All room may be reserved by writes in progress, which say when they have filled it.
        self.half.queue.request_interrupt_after(outstanding.saturating_sub(1) / 2)
    }
}
