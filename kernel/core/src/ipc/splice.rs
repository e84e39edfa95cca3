//! Moving bytes into and out of pipes without loss (splice(2), tee(2), vmsplice(2)): what was read always fits where it goes,
//! and what was taken out of a pipe and could not be written goes back.
use super::pipe::{Pipe, PipeEnd};
use super::poll::{Events, block_on_events};
use crate::errno::{Errno, SysResult};
use crate::mm::user_buf::UserBuf;
use crate::task::long_call;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_hal::frame::FRAME_SIZE;

/// Bytes that are moved in one step at most.
const STEP: usize = 64 * 1024;

impl Pipe {
    /// Waits until there is room, and keeps some of it, at most `len` bytes.
    fn keep_room(&self, len: usize, nonblock: bool) -> SysResult {
        block_on_events(&self.writable, Events::OUT, nonblock, None, || {
            let mut state = self.state.lock();
            if state.readers == 0 {
                return Err(Errno::PIPE);
            }
            let free = state.free_to_write()?;
            let kept = state.ring.keep(len.min(free));
            state.count();
            match kept? {
                0 => Err(Errno::AGAIN),
                kept => Ok(kept),
            }
        })
    }

    /// Appends `bytes`, for which room was kept, and gives up the room for `unused` more.
    fn fill_kept(&self, bytes: &[u8], unused: usize) {
        let mut state = self.state.lock();
        state.ring.push_kept(bytes);
        state.ring.give_up(unused);
        drop(state);
        if !bytes.is_empty() {
            self.readable.notify(Events::IN);
        }
        if unused > 0 {
            self.writable.notify(Events::OUT);
        }
    }

    /// Waits until there is something to read. Returns false at the end: nothing is left, and no writer.
    fn wait_readable(&self, nonblock: bool) -> Result<bool, Errno> {
        block_on_events(&self.readable, Events::IN, nonblock, None, || {
            let state = self.state.lock();
            match state.readable() {
                0 if state.lent || state.writers > 0 => Err(Errno::AGAIN),
                held => Ok(held > 0),
            }
        })
    }
}

/// Moves up to `len` bytes, in pieces. `step` gets how many are left, and whether some were moved; it returns how many it has moved, and
/// whether there may be more. What was moved counts more than an error, or the end of the process, that comes after it.
fn in_steps(len: usize, mut step: impl FnMut(usize, bool) -> Result<(usize, bool), Errno>) -> SysResult {
    let mut done = 0;
    while done < len {
        match step(len - done, done > 0) {
            Ok((moved, goes_on)) => {
                done += moved;
                if !goes_on {
                    break;
                }
            }
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
        // The other side of the pipe may be at it as well.
        if long_call::pause_unless_killed().is_err() {
            break;
        }
    }
    Ok(done)
}

/// Moves up to `len` bytes into a pipe, as many as fit when there is room. `read` reads into a buffer; its argument says that
/// it must not wait.
///
/// # Errors
/// EAGAIN if the pipe is full and this must not wait, EPIPE without readers, ENOMEM, and those of `read`, as long as
/// nothing was moved.
pub fn into_pipe(
    to: &PipeEnd,
    len: usize,
    nonblock: bool,
    mut read: impl FnMut(&mut UserBuf, bool) -> SysResult,
) -> SysResult {
    let pipe = to.pipe();
    let mut buffer = Vec::new();
    in_steps(len, |left, has_moved| {
        let at_once = nonblock || has_moved;
        let kept = pipe.keep_room(left.min(STEP), at_once)?;
        let outcome = match buffer.try_resize(kept.max(buffer.len()), 0) {
            Ok(()) => read(&mut UserBuf::kernel_out(&mut buffer[..kept]), at_once),
            Err(error) => Err(error.into()),
        };
        let n = outcome.unwrap_or(0).min(kept);
        pipe.fill_kept(&buffer[..n], kept - n);
        outcome.map(|_| (n, n > 0))
    })
}

/// Moves up to `len` bytes out of a pipe, until it is empty. `write` writes from a buffer; what it doesn't take goes back.
/// While it waits no other thread reads the pipe.
///
/// # Errors
/// EAGAIN if the pipe is empty and this must not wait, ENOMEM, and those of `write`, as long as nothing was moved.
pub fn out_of_pipe(
    from: &PipeEnd,
    len: usize,
    nonblock: bool,
    mut write: impl FnMut(&mut UserBuf) -> SysResult,
) -> SysResult {
    let pipe = from.pipe();
    let mut buffer = Vec::new();
    in_steps(len, |left, has_moved| {
        if !pipe.wait_readable(nonblock || has_moved)? {
            return Ok((0, false));
        }
        let want = left.min(STEP);
        if buffer.is_empty() {
            // What is wanted only gets less.
            buffer = coracle_fallible::filled(0, want)?;
        }
        let taken = {
            let mut state = pipe.state.lock();
            // Another reader may have been faster.
            if state.readable() == 0 {
                return Ok((0, true));
            }
            state.lent = true;
            state.ring.lend(&mut buffer[..want])
        };
        let outcome = write(&mut UserBuf::kernel_in(&buffer[..taken]));
        let written = outcome.unwrap_or(0).min(taken);
        {
            let mut state = pipe.state.lock();
            state.ring.put_back(&buffer[written..taken]);
            state.ring.give_up(written);
            state.note_taken(written);
            state.note_read();
            state.lent = false;
        }
        pipe.readable.notify(Events::IN);
        pipe.writable.notify(Events::OUT);
        outcome.map(|_| (written, written == taken))
    })
}

/// Copies up to `len` bytes from the front of one pipe to the end of another, as many as are there and fit: tee(2).
///
/// # Errors
/// EINVAL for a pipe and itself, EAGAIN if the one is empty or the other full and this must not wait, EPIPE, ENOMEM.
pub fn tee(from: &PipeEnd, to: &PipeEnd, len: usize, nonblock: bool) -> SysResult {
    if is_same(from, to) {
        return Err(Errno::INVAL);
    }
    let source = from.pipe();
    loop {
        if len == 0 || !source.wait_readable(nonblock)? {
            return Ok(0);
        }
        let kept = to.pipe().keep_room(len.min(STEP), nonblock)?;
        let copied = {
            let state = source.state.lock();
            let (a, b) = state.ring.peek();
            let within = state.readable().min(kept);
            let copy = a[..a.len().min(within)].try_to_vec();
            copy.and_then(|mut bytes| {
                bytes.try_extend_from_slice(&b[..within - bytes.len()])?;
                Ok(bytes)
            })
        };
        let bytes = copied.inspect_err(|_| to.pipe().fill_kept(&[], kept))?;
        to.pipe().fill_kept(&bytes, kept - bytes.len());
        // Another reader may have been faster.
        if !bytes.is_empty() {
            return Ok(bytes.len());
        }
    }
}

/// Writes as much as fits when there is room: vmsplice(2). As on Linux, whose pipes hold pages, each page that the bytes lie in
/// takes the room of a whole one.
///
/// # Errors
/// EAGAIN if the pipe is full and this must not wait, EPIPE, EFAULT, ENOMEM.
pub fn write_what_fits(to: &PipeEnd, src: &mut UserBuf, nonblock: bool) -> SysResult {
    if src.remaining() == 0 {
        return Ok(0);
    }
    let pipe = to.pipe();
    block_on_events(&pipe.writable, Events::OUT, nonblock, None, || {
        let pages = {
            let state = pipe.state.lock();
            if state.readers == 0 {
                return Err(Errno::PIPE);
            }
            state.free_to_write()? / FRAME_SIZE
        };
        if pages == 0 {
            return Err(Errno::AGAIN);
        }
        src.shorten(src.len_in_pages(pages));
        pipe.try_write(src)
    })
}

/// Moves up to `len` bytes from one pipe to another.
///
/// # Errors
/// EINVAL for a pipe and itself, EAGAIN if the one is empty or the other full and this must not wait, EPIPE, ENOMEM.
pub fn between_pipes(from: &PipeEnd, to: &PipeEnd, len: usize, nonblock: bool) -> SysResult {
    if is_same(from, to) {
        return Err(Errno::INVAL);
    }
    let source = from.pipe();
    loop {
        // Neither pipe is touched while this waits for the other.
        if len == 0 || !source.wait_readable(nonblock)? {
            return Ok(0);
        }
        let raced = |buf: &mut UserBuf, _: bool| match source.try_read(buf, true) {
            Err(Errno::AGAIN) => Ok(0),
            other => other,
        };
        match into_pipe(to, len, nonblock, raced)? {
            0 => {}
            moved => return Ok(moved),
        }
    }
}

fn is_same(from: &PipeEnd, to: &PipeEnd) -> bool {
    Arc::ptr_eq(from.pipe(), to.pipe())
}
