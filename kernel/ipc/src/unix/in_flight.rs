//! Descriptors in flight: sent with a message (SCM_RIGHTS, unix(7)) and not received yet.
//!
//! A socket in flight may have descriptors in flight in its own inbox, and so on, as far as a program likes. Closing one
//! closes all behind it, one after the other and not one within the other, because a description is closed later than its last
//! reference goes (`task::later`).
use super::collect::{self, Key, Moving};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::file::OpenFile;
use coracle_core::net::socket::Rights;
use coracle_core::task::user_count::{UserCounts, UserShare};
use coracle_fallible::try_box;

/// Descriptors in flight, by the user that sent them.
static COUNTS: UserCounts = UserCounts::new();

/// The descriptors of a message.
#[derive(Default)]
pub struct InFlight(Option<Box<Batch>>);

/// The descriptors of one message, as they lie in an inbox, or in a list of those to be closed.
pub(super) struct Batch {
    files: Vec<Arc<OpenFile>>,
    /// The socket in whose inbox it lies, or lay, for `collect`.
    holder: Option<Key>,
    next: Option<Box<Batch>>,
    /// Counted as in flight so long.
    _share: UserShare,
}

impl InFlight {
    /// Sends `files` of the running program on their way. ETOOMANYREFS if more are in flight for the user than a process may
    /// have open (RLIMIT_NOFILE), unless it is privileged; ENOMEM.
    pub fn new(mut files: Rights) -> Result<InFlight, Errno> {
        if files.0.is_empty() {
            return Ok(InFlight(None));
        }
        let (user, limit) = coracle_core::this::with(|thread| {
            let sender = &thread.process;
            let privileged = sender.credentials.lock().may_exceed_limits();
            // As on Linux, the message that goes beyond it is the last (net/unix/scm.c, too_many_unix_fds).
            let limit = if privileged { u64::MAX } else { u64::from(sender.descriptors.limit()) + 1 };
            (sender.user(), limit)
        });
        let count = || COUNTS.add(user, files.0.len() as u64, limit);
        let share = match count()? {
            Some(share) => share,
            // Some may be in flight to where nothing is received any more.
            None => {
                collect::settle();
                count()?.ok_or(Errno::TOOMANYREFS)?
            }
        };
        Ok(InFlight(Some(try_box(Batch {
            files: core::mem::take(&mut files.0),
            holder: None,
            next: None,
            _share: share,
        })?)))
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
    /// The descriptors.
    pub(super) fn files(&self) -> &[Arc<OpenFile>] {
        self.0.as_ref().map_or(&[], |batch| &batch.files)
    }
    /// They come into the inbox of `holder`. Returns what [`Moving::add`] does. ENOBUFS.
    pub(super) fn enter(&mut self, moving: &mut Moving, holder: Key) -> Result<Option<Key>, Errno> {
        let Some(batch) = &mut self.0 else { return Ok(None) };
        let suspect = moving.add(&batch.files, holder).map_err(|_| Errno::NOBUFS)?;
        batch.holder = Some(holder);
        Ok(suspect)
    }
    /// The connection in whose inbox they lie was accepted: from the listener they go to `holder`. ENOBUFS.
    pub(super) fn move_into(&mut self, moving: &mut Moving, holder: Key) -> Result<(), Errno> {
        let before = self.0.as_ref().and_then(|batch| batch.holder);
        self.enter(moving, holder)?;
        if let (Some(batch), Some(before)) = (&self.0, before) {
            moving.remove(&batch.files, before);
        }
        Ok(())
    }
    /// They have arrived.
    pub(super) fn arrive(&mut self, moving: &mut Moving) -> Rights {
        let Some(mut batch) = self.0.take() else { return Rights::default() };
        if let Some(holder) = batch.holder {
            moving.remove(&batch.files, holder);
        }
        Rights(core::mem::take(&mut batch.files))
    }
    /// Puts them onto a list of those to be closed.
    pub(super) fn move_to(&mut self, list: &mut InFlight) {
        if let Some(mut batch) = self.0.take() {
            batch.next = list.0.take();
            list.0 = Some(batch);
        }
    }
    /// The list, without closing it.
    fn into_list(mut self) -> Option<Box<Batch>> {
        let list = self.0.take();
        // Nothing is left to drop, which spares this path of calls what a drop might take.
        core::mem::forget(self);
        list
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(batch) = self.0.take() {
            close(batch);
        }
    }
}

/// Lets go of the descriptors of `batch` and of those behind it, and of what lies in the inboxes of sockets that can't be reached any
/// more by that.
#[cold]
fn close(batch: Box<Batch>) {
    let mut next = Some(batch);
    while let Some(mut batch) = next {
        if let Some(holder) = batch.holder {
            Moving::begin().remove(&batch.files, holder);
        }
        next = batch.next.take();
        for file in core::mem::take(&mut batch.files) {
            let suspect = collect::suspect(&file);
            drop(file);
            if let Some(suspect) = suspect {
                let mut list = InFlight(next);
                collect::take_inboxes(collect::find(suspect), &mut list);
                next = list.into_list();
            }
        }
    }
}
