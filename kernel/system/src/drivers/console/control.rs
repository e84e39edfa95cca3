//! The control channel: what `coracle run` asks of a running guest, by the protocol of the crate `coracle-control`.
//!
//! Signals and the size of the terminal are obeyed at once. Requests wait here for the thread that answers them (`coracle_kernel::control`).
use super::terminal::Terminal;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_control::{HEADER_BYTES, LONGEST_TO_GUEST, Message, ToGuest, VERSION};
use coracle_core::errno::Errno;
use coracle_core::ipc::poll::{Events, PollSource};
use coracle_core::lock::Mutex;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::task::process;
use coracle_core::task::signal::{MAX_SIGNAL, SigInfo, send_to_process};
use coracle_devices::virtio::port::Port;
use coracle_fallible::filled;
use coracle_fs::remote::session;
use coracle_hal::io::dma::PacketBuffer;
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The process that signals are for: the image's program.
const FIRST_PROCESS: i32 = 1;
/// Requests that wait at most. The other side has no more than these without an answer; what comes beyond is refused.
const MOST_WAITING: usize = 16;
/// Bytes of a short message.
const SHORT: usize = 16;

/// Has requests answered.
pub trait Server: Send + Sync {
    /// Requests have come to `channel`. Called with no lock held, wherever devices are looked at.
    fn requested(&self, channel: &Channel);
}

/// The guest's end.
pub struct Channel {
    port: Arc<Port>,
    reader: Mutex<ToGuest>,
    /// Requests as they came.
    waiting: Mutex<heapless::Deque<Vec<u8>, MOST_WAITING>>,
    /// One has come that was not announced yet.
    is_new: AtomicBool,
    asked: PollSource,
    server: Once<&'static dyn Server>,
}

impl Channel {
    /// The channel over `port`. Nothing is taken from it until [`Channel::take`] is called.
    pub fn new(port: Arc<Port>) -> Channel {
        Channel {
            port,
            reader: Mutex::new(ToGuest::new()),
            waiting: Mutex::new(heapless::Deque::new()),
            is_new: AtomicBool::new(false),
            asked: PollSource::new(),
            server: Once::new(),
        }
    }

    /// The port.
    pub fn port(&self) -> &Port {
        &self.port
    }

    /// Says that the program has started.
    pub fn greet(&self) {
        self.say(Message::Hello(VERSION));
    }

    /// Obeys what has come.
    pub fn take(&self, terminal: Option<&Terminal>) {
        {
            let mut reader = self.reader.lock();
            self.port.take_input(true, |bytes| {
                reader.take(bytes, |message| self.obey(message, terminal));
                true
            });
        }
        if self.is_new.swap(false, Relaxed) {
            self.asked.notify(Events::IN);
            if let Some(server) = self.server.get() {
                server.requested(self);
            }
        }
    }

    /// Has requests answered by `server` from now on, and those that have come before.
    pub fn serve_by(&self, server: &'static dyn Server) {
        self.server.call_once(|| server);
        if self.has_request() {
            server.requested(self);
        }
    }

    /// Where requests are announced.
    pub fn asked(&self) -> &PollSource {
        &self.asked
    }

    /// Whether a request waits.
    pub fn has_request(&self) -> bool {
        !self.waiting.lock().is_empty()
    }

    /// The next request, a whole message.
    pub fn next_request(&self) -> Option<Vec<u8>> {
        self.waiting.lock().pop_front()
    }

    /// Sends a message, and waits until there is room for it.
    ///
    /// # Errors
    /// EPIPE if there is no other side any more, EIO, ENOMEM.
    pub fn send(&self, message: &[u8]) -> Result<(), Errno> {
        self.port.write(&mut UserBuf::kernel_in(message), false).map(|_| ())
    }

    /// Sends messages that lie in buffers, and waits until there is room for them: the next is what `next` returns, with its length.
    ///
    /// # Errors
    /// EPIPE if there is no other side any more, EIO.
    pub fn send_buffers(&self, next: &mut dyn FnMut() -> Option<(PacketBuffer, usize)>) -> Result<(), Errno> {
        self.port.write_buffers(next)
    }

    /// Ends the answer to a request without waiting.
    pub fn refuse(&self, id: u32, error: Errno) {
        self.say(Message::End { id, error: error.number() });
    }

    fn say(&self, message: Message) {
        let mut buffer = [0; SHORT];
        if let Some(bytes) = message.encode(&mut buffer) {
            self.port.write_if_room(bytes);
        }
    }

    fn obey(&self, message: Message, terminal: Option<&Terminal>) {
        match message {
            // Messages that this version doesn't know are skipped: the other side may speak any later one.
            Message::Hello(_) | Message::Piece { .. } | Message::End { .. } | Message::Log { .. } => {}
            Message::Signal(number) => {
                let number = u32::from(number);
                if (1..=MAX_SIGNAL).contains(&number)
                    && let Some(process) = process::by_pid(FIRST_PROCESS)
                {
                    send_to_process(&process, SigInfo::kernel(number));
                }
            }
            Message::Window(window) => {
                if let Some(terminal) = terminal {
                    terminal.set_window(window);
                }
            }
            Message::ShareGone(tag) => session::abandon(tag),
            Message::Request { id, .. } => match self.keep(message) {
                Ok(()) => self.is_new.store(true, Relaxed),
                Err(error) => self.refuse(id, error),
            },
        }
    }

    /// Keeps a request until it is asked for. ENOMEM; EAGAIN if too many wait.
    #[inline(never)]
    fn keep(&self, request: Message) -> Result<(), Errno> {
        let mut bytes = filled(0, HEADER_BYTES + LONGEST_TO_GUEST)?;
        let len = request.encode(&mut bytes).map_or(0, <[u8]>::len);
        bytes.truncate(len);
        self.waiting.lock().push_back(bytes).map_err(|_| Errno::AGAIN)
    }
}
