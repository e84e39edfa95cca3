//! Signals when an open file becomes ready: O_ASYNC with F_SETOWN, F_SETOWN_EX and F_SETSIG (fcntl(2), "Managing signals"),
//! FIOASYNC (ioctl_tty(2), socket(7)).
use super::file::{File, OpenFile};
use super::notify;
use crate::errno::Errno;
use crate::ipc::poll::{Events, Observer, PollSource};
use crate::lock::Mutex;
use crate::task::process::{self, Process};
use crate::task::signal::{self, MAX_SIGNAL, SigInfo};
use crate::task::thread::Thread;
use alloc::sync::{Arc, Weak};
use coracle_fallible::try_arc;
use coracle_hal::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::*};
use linux_raw_sys::general as abi;

/// Whether signals announce a kind of file's readiness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Announces {
    /// No: FIOASYNC is ENOTTY.
    No,
    /// Yes, to the owner that is set.
    Yes,
    /// Yes, and to this process group if no owner is set (a terminal's foreground).
    ToGroup(i32),
}

/// The owner of a file: the receiver of its signals.
#[derive(Clone, Default)]
pub enum Owner {
    /// None is set.
    #[default]
    Nobody,
    /// F_OWNER_TID.
    Thread(Weak<Thread>),
    /// F_OWNER_PID.
    Process(Weak<Process>),
    /// F_OWNER_PGRP.
    Group(i32),
}

impl Owner {
    /// The owner with a type of F_SETOWN_EX and an id; id 0 is none. EINVAL, ESRCH.
    pub fn new(kind: u32, id: i32) -> Result<Owner, Errno> {
        Ok(match (kind, id) {
            (abi::F_OWNER_TID | abi::F_OWNER_PID | abi::F_OWNER_PGRP, 0) => Owner::Nobody,
            (abi::F_OWNER_TID, _) => {
                Owner::Thread(Arc::downgrade(&process::thread_by_tid(id).ok_or(Errno::SRCH)?))
            }
            (abi::F_OWNER_PID, _) => Owner::Process(Arc::downgrade(&process::by_pid(id).ok_or(Errno::SRCH)?)),
            (abi::F_OWNER_PGRP, _) => {
                process::of_group(id).next().ok_or(Errno::SRCH)?;
                Owner::Group(id)
            }
            _ => return Err(Errno::INVAL),
        })
    }

    /// The owner of F_SETOWN: a process, or a group by its negative. EINVAL, ESRCH.
    pub fn from_number(number: i32) -> Result<Owner, Errno> {
        match number {
            i32::MIN => Err(Errno::INVAL),
            0.. => Owner::new(abi::F_OWNER_PID, number),
            _ => Owner::new(abi::F_OWNER_PGRP, -number),
        }
    }

    /// Its type for F_GETOWN_EX, and its id; 0 if it is none, or gone.
    pub fn id(&self) -> (u32, i32) {
        // A CPU may still hold what has an id no longer.
        let thread_id = |thread: Arc<Thread>| {
            process::thread_by_tid(thread.tid())
                .filter(|found| Arc::ptr_eq(found, &thread))
                .map(|thread| thread.tid())
        };
        let process_id = |process: Arc<Process>| {
            process::by_pid(process.pid)
                .filter(|found| Arc::ptr_eq(found, &process))
                .map(|process| process.pid)
        };
        match self {
            Owner::Nobody => (abi::F_OWNER_PID, 0),
            Owner::Thread(thread) => {
                (abi::F_OWNER_TID, thread.upgrade().and_then(thread_id).unwrap_or_default())
            }
            Owner::Process(process) => {
                (abi::F_OWNER_PID, process.upgrade().and_then(process_id).unwrap_or_default())
            }
            Owner::Group(group) => (abi::F_OWNER_PGRP, *group),
        }
    }

    /// As F_GETOWN returns it: a group as its negative.
    pub fn number(&self) -> i32 {
        match self.id() {
            (abi::F_OWNER_PGRP, group) => -group,
            (_, id) => id,
        }
    }
}

/// Real and effective user of the process that set the owner: its rights decide whether the owner gets signals.
#[derive(Clone, Copy, Default)]
struct Setter {
    real: u32,
    effective: u32,
}

impl Setter {
    fn may_signal(self, process: &Process) -> bool {
        let [real, _, saved, _] = process.credentials.lock().uid;
        self.effective == 0 || [self.real, self.effective].iter().any(|id| [real, saved].contains(id))
    }
}

/// Sends the signals of an open file description.
#[derive(Default)]
pub(super) struct Sender {
    owner: Mutex<(Owner, Setter)>,
    /// F_SETSIG; 0: SIGIO, without information.
    signal: AtomicU32,
    /// The descriptor by which the signals were asked for (si_fd).
    fd: AtomicI32,
    /// O_ASYNC is set.
    asynchronous: AtomicBool,
}

impl Sender {
    fn send(&self, process: &Arc<Process>, thread: Option<&Arc<Thread>>, setter: Setter, info: SigInfo) {
        if !setter.may_signal(process) {
            return;
        }
        let send = |info| match thread {
            Some(thread) => signal::send_to_thread(thread, info),
            None => signal::send_to_process(process, info),
        };
        // Where no more signals can be queued, SIGIO says that some were lost.
        if send(info).check().is_err() {
            send(SigInfo::kernel(abi::SIGIO));
        }
    }
}

impl Observer for Sender {
    fn notify(&self, events: Events) {
        // Urgent data is announced whether or not other signals are on (socket(7), "Signals").
        let urgent = events.contains(Events::PRI).then(|| SigInfo::kernel(abi::SIGURG));
        let asked = self.asynchronous.load(Relaxed) && events != Events::PRI;
        let ready = asked.then(|| match self.signal.load(Relaxed) {
            0 => SigInfo::kernel(abi::SIGIO),
            signal => {
                let (code, band) = reason(events);
                SigInfo::io(signal, code, band, self.fd.load(Relaxed))
            }
        });
        urgent.into_iter().chain(ready).for_each(|info| self.send_to_owner(info));
    }
}

impl Sender {
    /// The owner is to hear by the descriptor `fd` of what happened in a directory (F_NOTIFY) or to a lease.
    pub(super) fn announce_change(&self, fd: i32) {
        self.send_to_owner(match self.signal.load(Relaxed) {
            0 => SigInfo::kernel(abi::SIGIO),
            signal => SigInfo::io(signal, abi::POLL_MSG, Events::IN | Events::RDNORM | Events::MSG, fd),
        });
    }

    /// No owner is set, and no signal.
    pub(super) fn reset(&self) {
        self.signal.store(0, Relaxed);
        let old = core::mem::take(&mut *self.owner.lock());
        drop(old);
    }

    fn send_to_owner(&self, info: SigInfo) {
        let (owner, setter) = self.owner.lock().clone();
        match owner {
            Owner::Nobody => {}
            Owner::Thread(thread) => {
                if let Some(thread) = thread.upgrade() {
                    self.send(&thread.process, Some(&thread), setter, info);
                }
            }
            Owner::Process(process) => {
                if let Some(process) = process.upgrade() {
                    self.send(&process, None, setter, info);
                }
            }
            Owner::Group(group) => {
                process::of_group(group).for_each(|process| self.send(&process, None, setter, info));
            }
        }
    }
}

/// si_code and si_band of an event (Linux's `band_table`).
fn reason(events: Events) -> (u32, Events) {
    if events.intersects(Events::IN) {
        (abi::POLL_IN, Events::IN | Events::RDNORM)
    } else if events.intersects(Events::ERR) {
        (abi::POLL_ERR, Events::ERR)
    } else if events.intersects(Events::HUP) {
        (abi::POLL_HUP, Events::HUP | Events::ERR)
    } else {
        (abi::POLL_OUT, Events::OUT | Events::WRNORM | Events::WRBAND)
    }
}

/// What announces urgent data of `file`, if it may have any.
fn urgent_events(file: &dyn File) -> Events {
    if file.has_urgent_data() { Events::PRI } else { Events::empty() }
}

/// An open file description's part of it.
#[derive(Default)]
pub struct SignalIo {
    sender: Mutex<Option<Arc<Sender>>>,
    /// The id at the file's source, while there is anything to be heard.
    subscription: Mutex<Option<u64>>,
}

impl SignalIo {
    /// What sends its signals. ENOMEM.
    pub(super) fn sender(&self) -> Result<Arc<Sender>, Errno> {
        let mut place = self.sender.lock();
        if let Some(sender) = &*place {
            return Ok(sender.clone());
        }
        let new = try_arc(Sender::default())?;
        *place = Some(new.clone());
        Ok(new)
    }

    /// What sends its signals, if anything is set of them.
    pub(super) fn sender_if_any(&self) -> Option<Arc<Sender>> {
        self.sender.lock().clone()
    }

    /// The owner.
    pub fn owner(&self) -> Owner {
        self.sender.lock().as_ref().map_or(Owner::Nobody, |sender| sender.owner.lock().0.clone())
    }

    /// Sets the owner, with the rights of the running process. ENOMEM.
    fn set_owner(&self, owner: Owner) -> Result<(), Errno> {
        let setter = crate::this::with(|thread| {
            let [real, effective, ..] = thread.process.credentials.lock().uid;
            Setter { real, effective }
        });
        let sender = self.sender()?;
        let old = core::mem::replace(&mut *sender.owner.lock(), (owner, setter));
        drop(old);
        Ok(())
    }

    /// F_GETSIG.
    pub fn signal(&self) -> u32 {
        self.sender.lock().as_ref().map_or(0, |sender| sender.signal.load(Relaxed))
    }

    /// F_SETSIG. EINVAL, ENOMEM.
    pub fn set_signal(&self, signal: u32) -> Result<(), Errno> {
        if signal > MAX_SIGNAL {
            return Err(Errno::INVAL);
        }
        self.sender()?.signal.store(signal, Relaxed);
        Ok(())
    }

    /// Switches signals on or off for `open`, whose part this is, as asked by the descriptor `fd`. False if such a file
    /// sends none. ENOMEM.
    fn switch(&self, open: &OpenFile, fd: i32, on: bool) -> Result<bool, Errno> {
        let announces = open.file.announces();
        let (Some(source), true) = (open.file.poll_source(), announces != Announces::No) else {
            return Ok(false);
        };
        let sender = self.sender()?;
        sender.fd.store(fd, Relaxed);
        if on
            && let Announces::ToGroup(group) = announces
            && matches!(self.owner(), Owner::Nobody)
        {
            self.set_owner(Owner::Group(group))?;
        }
        let mask = if on { Events::IN | Events::OUT } else { Events::empty() };
        self.hear(source, &sender, mask | urgent_events(&*open.file))?;
        sender.asynchronous.store(on, Relaxed);
        Ok(true)
    }

    /// Has `sender` hear of `mask` from now on. ENOMEM.
    fn hear(&self, source: &PollSource, sender: &Arc<Sender>, mask: Events) -> Result<(), Errno> {
        let mut subscription = self.subscription.lock();
        match *subscription {
            Some(id) if mask.is_empty() => {
                source.unsubscribe(id);
                *subscription = None;
            }
            Some(id) => source.set_mask(id, mask),
            None if mask.is_empty() => {}
            None => *subscription = Some(source.subscribe(sender.clone(), mask)?),
        }
        Ok(())
    }

    /// Announces urgent data of `file` from now on, if that has any. ENOMEM.
    fn announce_urgent(&self, file: &dyn File) -> Result<(), Errno> {
        let urgent = urgent_events(file);
        if let Some(source) = file.poll_source()
            && !urgent.is_empty()
            && self.subscription.lock().is_none()
        {
            self.hear(source, &self.sender()?, urgent)?;
        }
        Ok(())
    }

    /// The description goes.
    pub fn end(&mut self, file: &dyn File) {
        if let (Some(id), Some(source)) = (self.subscription.get_mut().take(), file.poll_source()) {
            source.unsubscribe(id);
        }
        notify::description_closed(file, self.sender.get_mut().take());
    }
}

impl OpenFile {
    /// What sends signals of changes in a directory: to the running process, unless an owner is set. ENOMEM.
    pub(super) fn sender_of_changes(&self) -> Result<Arc<Sender>, Errno> {
        if matches!(self.signal_io.owner(), Owner::Nobody) {
            self.signal_io
                .set_owner(crate::this::with(|thread| Owner::Process(Arc::downgrade(&thread.process))))?;
        }
        self.signal_io.sender()
    }

    /// Sets the owner (F_SETOWN, FIOSETOWN), with the rights of the running process. ENOMEM.
    pub fn set_owner(&self, owner: Owner) -> Result<(), Errno> {
        self.signal_io.announce_urgent(&*self.file)?;
        self.signal_io.set_owner(owner)
    }

    /// Sets or clears O_ASYNC, as asked by the descriptor `fd`. False if such a file sends no signals: the flag stays as it
    /// was. ENOMEM.
    pub fn set_asynchronous(&self, fd: i32, on: bool) -> Result<bool, Errno> {
        if (self.flags() & abi::FASYNC != 0) == on {
            return Ok(true);
        }
        if !self.signal_io.switch(self, fd, on)? {
            return Ok(false);
        }
        if on {
            self.flags.fetch_or(abi::FASYNC, Relaxed);
        } else {
            self.flags.fetch_and(!abi::FASYNC, Relaxed);
        }
        Ok(true)
    }
}
