//! Copies between streams of this command and those of a program in a guest.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use coracle_control::{SessionRequest, Started};
use rustix::io::Errno;

use super::session::Session;
use crate::error::Result;

/// Something that takes output.
pub trait Sink: Send + 'static {
    /// Takes all bytes; false if it takes no more.
    fn take(&mut self, bytes: &[u8]) -> bool;
}

impl Sink for BorrowedFd<'static> {
    fn take(&mut self, bytes: &[u8]) -> bool {
        crate::run::write_all(*self, bytes).is_ok()
    }
}

/// A stream of the program's that is being read.
pub struct Output {
    handle: u32,
    has_ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Output {
    /// Copies what the program writes. A sink that takes no more closes the stream, so that the program's next write fails.
    pub fn copy(session: &Arc<Session>, handle: u32, mut sink: impl Sink) -> Output {
        let has_ended = Arc::new(AtomicBool::new(false));
        let (own, ended) = (Arc::clone(session), Arc::clone(&has_ended));
        let thread = thread::spawn(move || {
            loop {
                let now = ended.load(Ordering::SeqCst);
                match own.read(handle, 0, now) {
                    Ok(Ok(bytes)) if !bytes.is_empty() => {
                        if !sink.take(&bytes) {
                            // The guest may have ended just now.
                            let _ = own.call(SessionRequest::Close { handle, half: false });
                            return;
                        }
                    }
                    // It was poked.
                    Ok(Err(Errno::AGAIN)) if !now => {}
                    // The end, that of a terminal (EIO), or of the guest.
                    _ => return,
                }
            }
        });
        Output { handle, has_ended, thread }
    }

    /// The program has ended: copies what there still is, and does not wait for what others that have the stream may write.
    pub fn finish(self, session: &Session) {
        self.has_ended.store(true, Ordering::SeqCst);
        // Without a guest, the thread ends.
        let _ = session.call(SessionRequest::Poke { handle: self.handle });
        let _ = self.thread.join();
    }
}

/// Waits for the program's end; returns its status as wait(2) has it.
///
/// # Errors
/// If the guest ends first.
pub fn wait(session: &Session, started: &Started) -> Result<i32> {
    let answer = session.call(SessionRequest::Wait { handle: started.process })?;
    let status = answer.unwrap_or_default();
    Ok(status.first_chunk().map_or(0, |word| i32::from_le_bytes(*word)))
}

/// The exit status of a command that ended with this status of wait(2), as a shell has it.
pub fn shell_status(status: i32) -> u8 {
    /// What is added to the number of a signal.
    const SIGNALLED: i32 = 128;
    let signal = status & 0x7f;
    let shown = if signal == 0 { status >> 8 & 0xff } else { SIGNALLED + signal };
    u8::try_from(shown).unwrap_or(u8::MAX)
}
