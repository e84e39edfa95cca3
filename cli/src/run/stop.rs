//! Ending a guest: its program is asked first, and QEMU is ended if the program takes too long.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use coracle_control::{HEADER_BYTES, LONGEST_TO_GUEST, Message, VERSION, Window};
use rustix::process::{Pid, Signal, kill_process};

/// How long a program may take to end, unless `coracle stop` says otherwise.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long a guest with volumes may take to write them back after its program was killed: longer than its kernel waits for the disks.
pub const SYNC: Duration = Duration::from_secs(35);

/// The number of SIGKILL.
const SIGKILL: u16 = 9;

/// How a guest was made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forced {
    /// Before its program ran, by this signal.
    Early(i32),
    /// The program did not end in time after this signal. Its guest has written the volumes back, if it has any.
    TooLate(i32, Duration),
    /// The same, but the guest did not write the volumes back either.
    NotSynced(i32, Duration),
    /// A second request came, or the terminal's key.
    AtOnce,
}

/// A guest that runs: QEMU's process, and the control port.
pub struct Guest {
    process: Mutex<Option<Pid>>,
    ended: Condvar,
    /// A message is written whole before the next.
    control: Mutex<UnixStream>,
    /// The guest's program has started, and takes signals.
    ready: AtomicBool,
    /// The first signal that was to end it.
    asked: Mutex<Option<i32>>,
    forced: Mutex<Option<Forced>>,
    /// It has volumes that it may write to.
    has_volumes: bool,
}

impl Guest {
    /// The guest of this QEMU; `control` is this side of its control port.
    pub fn new(child: &Child, control: UnixStream, has_volumes: bool) -> Self {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let guest = Guest {
            process: Mutex::new(pid),
            ended: Condvar::new(),
            control: Mutex::new(control),
            ready: AtomicBool::new(false),
            asked: Mutex::new(None),
            forced: Mutex::new(None),
            has_volumes,
        };
        guest.say(Message::Hello(VERSION));
        guest
    }

    /// QEMU has ended, and its number may belong to another process from now on.
    pub fn gone(&self) {
        *lock(&self.process) = None;
        self.ended.notify_all();
    }

    /// Whether QEMU has ended.
    pub fn is_gone(&self) -> bool {
        lock(&self.process).is_none()
    }

    /// The program has started.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::SeqCst);
        // A thread that waits for it has looked before, or looks after this.
        drop(lock(&self.process));
        self.ended.notify_all();
    }

    /// Waits until the program has started, or QEMU has ended.
    pub fn wait_until_ready(&self) {
        let waits = |process: &mut Option<Pid>| process.is_some() && !self.ready.load(Ordering::SeqCst);
        let waited = self.ended.wait_while(lock(&self.process), waits);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether it has.
    pub fn ready(&self) -> &AtomicBool {
        &self.ready
    }

    /// Whether the guest was asked to end.
    pub fn is_ending(&self) -> bool {
        lock(&self.asked).is_some() || self.forced().is_some()
    }

    /// How it was made to end, if it did not do so itself.
    pub fn forced(&self) -> Option<Forced> {
        *lock(&self.forced)
    }

    /// The size of its terminal changed.
    pub fn set_window(&self, window: Window) {
        self.say(Message::Window(window));
    }

    /// Ends the guest by a signal to its program, which may take as long as `grace`; waits for that long. The second time,
    /// and before the program runs, at once.
    pub fn ask(&self, signal: i32, grace: impl FnOnce() -> Duration) {
        if lock(&self.asked).replace(signal).is_some() {
            return self.force(Forced::AtOnce);
        }
        if !self.ready.load(Ordering::SeqCst) {
            return self.force(Forced::Early(signal));
        }
        let grace = grace();
        self.say(Message::Signal(u16::try_from(signal).unwrap_or_default()));
        if self.ends_within(grace) {
            return;
        }
        if !self.has_volumes {
            return self.force(Forced::TooLate(signal, grace));
        }
        // The kernel ends the program, writes the volumes back, and ends the machine.
        lock(&self.forced).get_or_insert(Forced::TooLate(signal, grace));
        self.say(Message::Signal(SIGKILL));
        if !self.ends_within(SYNC) {
            *lock(&self.forced) = None;
            self.force(Forced::NotSynced(signal, grace));
        }
    }

    /// Waits for QEMU's end, for so long at most; returns whether it came.
    fn ends_within(&self, time: Duration) -> bool {
        let until = Instant::now().checked_add(time);
        let mut process = lock(&self.process);
        while process.is_some() {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            process = match left {
                Some(Duration::ZERO) => return false,
                Some(left) => {
                    self.ended.wait_timeout(process, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.ended.wait(process).unwrap_or_else(PoisonError::into_inner),
            };
        }
        true
    }

    /// Ends the guest at once.
    pub fn force(&self, how: Forced) {
        let process = lock(&self.process);
        if let Some(pid) = *process {
            lock(&self.forced).get_or_insert(how);
            // It may have ended just now.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Sends the guest a message.
    pub fn say(&self, message: Message<'_>) {
        let mut buffer = [0; HEADER_BYTES + LONGEST_TO_GUEST];
        if let Some(bytes) = message.encode(&mut buffer) {
            // A guest that is gone, or that never listened, hears nothing.
            let _ = lock(&self.control).write_all(bytes);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
