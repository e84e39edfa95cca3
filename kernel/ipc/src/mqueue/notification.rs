//! How a process hears that a message came into an empty queue (mq_notify(3)).
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_core::fs::file::OpenFile;
use coracle_core::task::process::Process;
use coracle_core::task::signal::{self, SigInfo};
use coracle_hal::sync::atomic::Ordering;
use coracle_net::netlink::NetlinkFile;

/// What the last byte of a cookie says (linux/mqueue.h): a message came, or the registration is over.
const NOTIFY_WOKENUP: u8 = 1;
const NOTIFY_REMOVED: u8 = 2;

/// What is done when a message comes.
pub enum Means {
    /// Nothing (SIGEV_NONE).
    Nothing,
    /// A signal with a value (SIGEV_SIGNAL); 0: none.
    Signal(u32, u64),
    /// A datagram on a netlink socket (SIGEV_THREAD): the C library starts a thread when it comes.
    Datagram(Arc<OpenFile>, Vec<u8>),
}

/// The registration of a process.
pub struct Notification {
    process: Weak<Process>,
    pid: i32,
    /// What is done.
    pub means: Means,
}

impl Notification {
    /// Of this process.
    pub fn new(process: &Arc<Process>, means: Means) -> Notification {
        Notification { process: Arc::downgrade(process), pid: process.pid, means }
    }

    /// Whether it is that of process `pid`.
    pub fn is_of(&self, pid: i32) -> bool {
        self.pid == pid
    }

    /// The process, while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.is_alive().then_some(self.pid)
    }

    /// Whether the process still runs.
    pub fn is_alive(&self) -> bool {
        self.process.upgrade().is_some_and(|process| !process.dead.load(Ordering::Acquire))
    }

    /// A message came. The running program has sent it.
    pub fn send(self) {
        match self.means {
            Means::Nothing | Means::Signal(0, _) => {}
            Means::Signal(number, value) => {
                if let Some(process) = self.process.upgrade() {
                    let (pid, uid) = coracle_core::this::with(|thread| {
                        (process.sees(thread.process.pid), thread.process.user())
                    });
                    signal::send_to_process(&process, SigInfo::message_queue(number, pid, uid, value));
                }
            }
            Means::Datagram(socket, cookie) => tell(&socket, cookie, NOTIFY_WOKENUP),
        }
    }

    /// The registration ends without a message.
    pub fn end(self) {
        if let Means::Datagram(socket, cookie) = self.means {
            tell(&socket, cookie, NOTIFY_REMOVED);
        }
    }
}

fn tell(socket: &OpenFile, mut cookie: Vec<u8>, what: u8) {
    if let Some(last) = cookie.last_mut() {
        *last = what;
    }
    if let Some(netlink) = socket.file.as_any().downcast_ref::<NetlinkFile>() {
        netlink.deliver(cookie);
    }
}
