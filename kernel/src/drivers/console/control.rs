//! The control channel: what `coracle run` asks of a running guest, by the protocol of the crate `coracle-control`.
use super::terminal::Terminal;
use crate::drivers::virtio::port::Port;
use crate::lock::Mutex;
use crate::task::process;
use crate::task::signal::{MAX_SIGNAL, SigInfo, send_to_process};
use alloc::sync::Arc;
use coracle_control::{Message, Reader, VERSION};

/// The process that signals are for: the image's program.
const FIRST_PROCESS: i32 = 1;

/// The guest's end.
pub struct Channel {
    port: Arc<Port>,
    reader: Mutex<Reader>,
}

impl Channel {
    /// The channel over `port`. Nothing is taken from it until [`Channel::take`] is called.
    pub fn new(port: Arc<Port>) -> Channel {
        Channel { port, reader: Mutex::new(Reader::default()) }
    }

    /// The port.
    pub fn port(&self) -> &Port {
        &self.port
    }

    /// Says that the program has started.
    pub fn greet(&self) {
        self.port.write_if_room(Message::Hello(VERSION).encode().as_ref());
    }

    /// Obeys what has come.
    pub fn take(&self, terminal: Option<&Terminal>) {
        let mut reader = self.reader.lock();
        self.port.take_input(true, |bytes| {
            reader.take(bytes, |message| obey(message, terminal));
            true
        });
    }
}

fn obey(message: Message, terminal: Option<&Terminal>) {
    match message {
        // Messages that this version doesn't know are skipped: the other side may speak any later one.
        Message::Hello(_) => {}
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
    }
}
