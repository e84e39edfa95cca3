//! Descriptors in flight: sent with a message (SCM_RIGHTS, unix(7)) and not received yet.
//!
//! A socket in flight may have descriptors in flight in its own inbox, and so on, as far as a program likes. Closing one
//! closes all behind it, one after the other and not one within the other.
use crate::errno::Errno;
use crate::lock::Mutex;
use crate::net::socket::Rights;
use crate::task::process::Process;
use crate::task::user_count::{UserCounts, UserShare};
use alloc::boxed::Box;
use alloc::sync::Arc;
use coracle_fallible::try_box;

/// Descriptors in flight, by the user that sent them.
static COUNTS: UserCounts = UserCounts::new();

/// The descriptors of a message.
#[derive(Default)]
pub struct InFlight(Option<Box<Batch>>);

/// The descriptors of one message, as they lie in an inbox, or in a list of those to be closed.
pub(super) struct Batch {
    pub(super) files: Rights,
    next: Option<Box<Batch>>,
    /// Counted as in flight so long.
    _share: UserShare,
}

/// What a thread has to close of descriptors that were in flight.
#[derive(Default)]
pub struct Closing(Mutex<State>);

#[derive(Default)]
enum State {
    #[default]
    Idle,
    /// The thread closes some; these are next.
    Busy(Option<Box<Batch>>),
}

impl InFlight {
    /// Sends `files` on their way. ETOOMANYREFS if more are in flight for the user than a process may have open
    /// (RLIMIT_NOFILE), unless it is privileged; ENOMEM.
    pub fn new(files: Rights, sender: &Process) -> Result<InFlight, Errno> {
        if files.is_empty() {
            return Ok(InFlight(None));
        }
        let privileged = sender.credentials.lock().may_exceed_limits();
        // As on Linux, the message that goes beyond it is the last (net/unix/scm.c, too_many_unix_fds).
        let limit = if privileged { u64::MAX } else { u64::from(sender.descriptors.limit()) + 1 };
        let share = COUNTS.add(sender.user(), files.len() as u64, limit)?.ok_or(Errno::TOOMANYREFS)?;
        Ok(InFlight(Some(try_box(Batch { files, next: None, _share: share })?)))
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
    /// The descriptors.
    pub(super) fn files(&self) -> &[Arc<crate::fs::file::OpenFile>] {
        self.0.as_ref().map_or(&[], |batch| &batch.files)
    }
    /// They have arrived.
    pub fn arrive(&mut self) -> Rights {
        self.0.take().map(|mut batch| core::mem::take(&mut batch.files)).unwrap_or_default()
    }
    /// Puts them onto a list of those to be closed.
    pub(super) fn move_to(&mut self, list: &mut InFlight) {
        if let Some(mut batch) = self.0.take() {
            batch.next = list.0.take();
            list.0 = Some(batch);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(batch) = self.0.take() {
            close(batch);
        }
    }
}

/// Closes the descriptors of `batch` and of those behind it, and what lies in the inboxes of sockets that end by that.
#[cold]
fn close(batch: Box<Batch>) {
    let thread = crate::this::with(Arc::clone);
    {
        let mut state = thread.closing.0.lock();
        if let State::Busy(list) = &mut *state {
            // A socket that the loop below closes leads here: the loop goes on with this.
            let mut rest = Some(batch);
            while let Some(mut batch) = rest {
                rest = batch.next.take();
                batch.next = list.take();
                *list = Some(batch);
            }
            return;
        }
        *state = State::Busy(None);
    }
    let mut next = Some(batch);
    while let Some(mut batch) = next {
        drop(core::mem::take(&mut batch.files));
        next = batch.next.take();
        if next.is_none() {
            let mut state = thread.closing.0.lock();
            if let State::Busy(list) = &mut *state {
                next = list.take();
            }
            if next.is_none() {
                *state = State::Idle;
            }
        }
    }
}
