//! The talk with a server: fids, exchanges, and the files that are known.
use super::caching::Caching;
use super::node::Node;
use crate::cache::pool;
use crate::memory::next_device;
use crate::recent::Recent;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::ipc::poll::Events;
use coracle_core::lock::Mutex;
use coracle_core::sleeping::Sleeping;
use coracle_devices::virtio::share::Share;
use coracle_fallible::prelude::*;
use coracle_fallible::{filled, try_arc, try_box};
use coracle_hal::frame::{FRAME_SIZE, Frame};
use coracle_hal::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use coracle_hal::virtio::exchanges::Exchange;
use coracle_p9::{
    DATA_HEAD_BYTES, Failure, LONGEST_REQUEST, NO_FID, NO_TAG, Qid, REPLY_HEAD_BYTES, Reader, Request,
    VERSION, open_reply,
};
use coracle_sorted_map::SortedMap;
use core::ops::Range;

/// The fid of the root.
const ROOT: u32 = 0;
/// Frames of data in a message at most.
const MOST_FRAMES: usize = 32;
/// A message that is longer than this has frames of its own.
const HALF: usize = FRAME_SIZE / 2;

/// The talk with a server.
pub struct Session {
    device: &'static Share,
    /// Protocol and root are agreed on.
    is_started: Sleeping<bool>,
    /// The server's number of the root.
    root: AtomicU64,
    /// st_dev of its files.
    pub(super) number: u64,
    /// Bytes of data in a message at most.
    data_bytes: usize,
    next_fid: AtomicU32,
    /// Fids that were used, and may be again.
    free_fids: Mutex<Vec<u32>>,
    /// Fids that the server does not know yet to be of no use.
    gone: Mutex<Vec<u32>>,
    /// The nodes that there are, by the server's numbers of files.
    nodes: Mutex<SortedMap<u64, Weak<Node>>>,
    /// Those that were used lately, in a ring, and the next place in it.
    recent: Recent<Node>,
    /// Nodes with pages that the server does not have.
    dirty: Mutex<Vec<Arc<Node>>>,
    caching: AtomicU8,
    is_mounted: AtomicBool,
}

/// A fid, which the server is told to be of no use when this is dropped.
pub struct Fid {
    session: &'static Session,
    number: u32,
}

impl Fid {
    /// Its number.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Fid {
    fn drop(&mut self) {
        // Without memory for that, the server keeps it.
        let _ = self.session.gone.lock().try_push(self.number);
    }
}

/// Those of the shares that were found.
static SESSIONS: Mutex<Vec<&'static Session>> = Mutex::new(Vec::new());

/// Adds a device, at boot. ENOMEM.
pub fn add(device: Share) -> Result<&'static Share, Errno> {
    let device: &'static Share = Box::leak(try_box(device)?);
    let session: &'static Session = Box::leak(try_box(Session {
        device,
        is_started: Sleeping::new(try_box(false)?),
        root: AtomicU64::new(0),
        number: next_device(),
        data_bytes: MOST_FRAMES.min(device.most_frames()) * FRAME_SIZE,
        next_fid: AtomicU32::new(ROOT + 1),
        free_fids: Mutex::new(Vec::new()),
        gone: Mutex::new(Vec::new()),
        nodes: Mutex::new(SortedMap::new()),
        recent: Recent::new(),
        dirty: Mutex::new(Vec::new()),
        caching: AtomicU8::new(Caching::Auto as u8),
        is_mounted: AtomicBool::new(false),
    })?);
    SESSIONS.lock().try_push(session)?;
    Ok(device)
}

/// Whether there are any.
pub fn is_empty() -> bool {
    SESSIONS.lock().is_empty()
}

fn nth(index: usize) -> Option<&'static Session> {
    SESSIONS.lock().get(index).copied()
}

/// Writes back what was written by mappings. Waits; hold no lock.
pub fn sync_all() {
    let mut index = 0;
    while let Some(session) = nth(index) {
        index += 1;
        if let Err(error) = session.sync() {
            log!("what was written to a shared directory is lost (error {})", error.number());
        }
        session.settle();
    }
}

/// Whether there is something that a server does not have, or know.
pub fn has_changes() -> bool {
    let has = |session: &&Session| !session.dirty.lock().is_empty() || !session.gone.lock().is_empty();
    SESSIONS.lock().iter().any(has)
}

/// The error that a program sees.
fn errno(failure: Failure) -> Errno {
    match failure {
        Failure::Error(number) => Errno::new(number),
        Failure::Malformed => Errno::IO,
    }
}

/// Starts the talk with the server of a mount tag, if there is none yet, and takes it for a mount. Returns the root. Waits.
///
/// # Errors
/// ENOENT if no device has this tag, EBUSY if it is mounted, EPROTO if the server speaks another version; ENOMEM, and the server's.
pub fn attach(tag: &[u8], caching: Caching) -> Result<Arc<Node>, Errno> {
    let found = SESSIONS.lock().iter().find(|session| session.device.name() == tag).copied();
    let session = found.ok_or(Errno::NOENT)?;
    let mut is_started = session.is_started.lock();
    if !*is_started {
        session.start()?;
        *is_started = true;
    }
    drop(is_started);
    if session.is_mounted.swap(true, Ordering::AcqRel) {
        return Err(Errno::BUSY);
    }
    session.caching.store(caching as u8, Ordering::Release);
    let root = session.root();
    if root.is_err() {
        session.is_mounted.store(false, Ordering::Release);
    }
    root
}

impl Session {
    /// How long what the server said is believed.
    pub fn caching(&self) -> Caching {
        Caching::of(self.caching.load(Ordering::Relaxed))
    }

    /// Bytes of data in a message at most.
    pub fn data_bytes(&self) -> usize {
        self.data_bytes
    }

    /// Agrees on the protocol with the server.
    fn start(&self) -> Result<(), Errno> {
        let wanted = (self.data_bytes + DATA_HEAD_BYTES) as u32;
        let agreed = self.ask_tagged(NO_TAG, &Request::Version { most_bytes: wanted }, true, |body| {
            let most = body.u32()?;
            Some((most, body.text()? == VERSION))
        })?;
        // With smaller messages transfers would be cut otherwise than into frames: QEMU's server takes larger ones.
        if agreed != (wanted, true) {
            let most = agreed.0;
            log!(
                "a shared directory can't be used: its server speaks another protocol, or takes messages of {most} bytes only"
            );
            return Err(Errno::PROTO);
        }
        self.ask(&Request::Attach { fid: ROOT, user: u32::MAX }, Qid::read).map(drop)
    }

    fn root(&'static self) -> Result<Arc<Node>, Errno> {
        let (fid, _) = self.walk(ROOT, None)?;
        let root = self.node(fid, None)?;
        self.root.store(root.number(), Ordering::Release);
        Ok(root)
    }

    /// Whether a node is the root.
    pub(super) fn is_root(&self, node: &Node) -> bool {
        node.number() == self.root.load(Ordering::Acquire)
    }

    /// It is mounted no longer.
    pub(super) fn unmount(&self) -> Result<(), Errno> {
        let synced = self.sync();
        self.recent.clear();
        self.settle();
        self.is_mounted.store(false, Ordering::Release);
        synced
    }

    /// A fid that is free; one that the server did not come to know is given back by dropping it, which does no harm.
    pub(super) fn new_fid(&'static self) -> Result<Fid, Errno> {
        if let Some(number) = self.free_fids.lock().pop() {
            return Ok(Fid { session: self, number });
        }
        let number = self.next_fid.fetch_add(1, Ordering::Relaxed);
        if number == NO_FID || number == ROOT {
            return Err(Errno::NFILE);
        }
        Ok(Fid { session: self, number })
    }

    /// Tells the server of the fids that are of no use any more, as far as there is room. Does not wait.
    pub fn settle(&self) {
        loop {
            let Some(number) = self.gone.lock().pop() else { return };
            let sent = self.device.try_tag().is_some_and(|tag| {
                let exchange = small(&Request::Clunk { fid: number }, tag);
                match exchange {
                    Ok(exchange) => self.device.submit_alone(exchange, tag),
                    Err(_) => {
                        self.device.free_tag(tag);
                        false
                    }
                }
            });
            // The server takes requests in their order, so that the number may be used again.
            let list = if sent { &self.free_fids } else { &self.gone };
            let _ = list.lock().try_push(number);
            if !sent {
                return;
            }
        }
    }

    /// Asks, and reads what the answer has. Waits; hold no lock.
    ///
    /// # Errors
    /// The server's; EIO if it breaks the rules; EINTR if the process is about to end; ENOMEM.
    pub fn ask<T>(
        &self,
        request: &Request,
        read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Result<T, Errno> {
        self.settle();
        let tag = self.device.tag(true)?;
        let answered = self.ask_tagged(tag, request, true, read);
        self.device.free_tag(tag);
        answered
    }

    /// The same for an answer that has nothing.
    pub fn tell(&self, request: &Request) -> Result<(), Errno> {
        self.ask(request, |_| Some(()))
    }

    fn ask_tagged<T>(
        &self,
        tag: u16,
        request: &Request,
        gives_up: bool,
        read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Result<T, Errno> {
        let mut answer = Vec::new();
        self.carry(tag, request, gives_up, &mut answer)?;
        let len = answer.len();
        let mut body = open_reply(&answer, len, request.kind(), tag).map_err(errno)?;
        read(&mut body).ok_or(Errno::IO)
    }

    /// Carries a request without data to the server, and the answer back.
    #[inline(never)]
    fn carry(&self, tag: u16, request: &Request, gives_up: bool, answer: &mut Vec<u8>) -> Result<(), Errno> {
        let exchange = match request {
            Request::ReadLink { .. } => large(request, tag)?,
            _ => small(request, tag).or_else(|error| match error {
                Errno::NAMETOOLONG => large(request, tag),
                error => Err(error),
            })?,
        };
        let frames = exchange.frames.try_to_vec()?;
        let received = exchange.received.clone();
        let len = self.exchange(exchange, tag, gives_up)?.min(received.len());
        answer.try_resize(len, 0)?;
        read_frames(&frames, received.start, answer);
        Ok(())
    }

    /// Gives the device an exchange, and waits for the answer; returns its bytes.
    fn exchange(&self, exchange: Exchange, tag: u16, gives_up: bool) -> Result<usize, Errno> {
        let waiting = self.device.submit(exchange, gives_up)?;
        let len = waiting.wait(gives_up).or_else(|_| {
            self.flush(tag);
            waiting.wait(false)
        })?;
        // The server answers a request that was flushed by nothing.
        if len == 0 { Err(Errno::INTR) } else { Ok(len) }
    }

    /// Says that a request need not be answered (Tflush). Its buffers come back all the same.
    #[cold]
    fn flush(&self, old: u16) {
        let Some(tag) = self.device.try_tag() else { return };
        match small(&Request::Flush { tag: old }, tag) {
            Ok(exchange) => drop(self.device.submit_alone(exchange, tag)),
            Err(_) => self.device.free_tag(tag),
        }
    }

    /// Carries data: `frames` are read from or written to by the server, up to the bytes that the request says. Returns how many.
    #[inline(never)]
    fn carry_data(
        &self,
        request: impl Fn(u32) -> Request<'static>,
        frames: &[Frame],
        count: usize,
        gives_up: bool,
    ) -> Result<usize, Errno> {
        self.settle();
        let count = count.min(self.data_bytes).min(frames.len() * FRAME_SIZE);
        let frames = &frames[..count.div_ceil(FRAME_SIZE)];
        let head = Frame::alloc().ok_or(Errno::NOMEM)?;
        let request = request(count as u32);
        let sends = matches!(request, Request::Write { .. });
        let all: Vec<Frame> = core::iter::once(&head).chain(frames).cloned().try_collect_vec()?;
        let tag = self.device.tag(gives_up)?;
        let mut bytes = [0; DATA_HEAD_BYTES];
        let len = request.write(tag, &mut bytes).unwrap_or(0);
        // The message whose data follow lies at the end of the first frame, the other one at its beginning.
        let (sent, received) = match sends {
            true => (FRAME_SIZE - len..FRAME_SIZE + count, 0..REPLY_HEAD_BYTES),
            false => (0..len, FRAME_SIZE - REPLY_HEAD_BYTES..FRAME_SIZE + count),
        };
        head.write(sent.start, &bytes[..len]);
        let at = received.start;
        let done =
            self.exchange(Exchange { frames: all, sent, received }, tag, gives_up).and_then(|written| {
                let mut answer = [0; REPLY_HEAD_BYTES];
                let here = written.min(REPLY_HEAD_BYTES);
                head.read(at, &mut answer[..here]);
                let mut body = open_reply(&answer[..here], written, request.kind(), tag).map_err(errno)?;
                let done = body.u32().ok_or(Errno::IO)? as usize;
                // Of what was not written, nothing may be taken for data.
                let most = if sends { count } else { count.min(written - REPLY_HEAD_BYTES) };
                if done <= most { Ok(done) } else { Err(Errno::IO) }
            });
        self.device.free_tag(tag);
        done
    }

    /// Reads up to `count` bytes into frames; fewer at the end of the file, or where a message ends.
    pub fn read(&self, fid: &Fid, offset: u64, frames: &[Frame], count: usize) -> Result<usize, Errno> {
        let fid = fid.number;
        self.carry_data(|count| Request::Read { fid, offset, count }, frames, count, true)
    }

    /// Writes up to `count` bytes from frames. `gives_up`: EINTR if the process is about to end.
    pub fn write(
        &self,
        fid: &Fid,
        offset: u64,
        frames: &[Frame],
        count: usize,
        gives_up: bool,
    ) -> Result<usize, Errno> {
        let fid = fid.number;
        self.carry_data(|count| Request::Write { fid, offset, count }, frames, count, gives_up)
    }

    /// Reads entries of a directory into a frame.
    pub fn read_directory(&self, fid: &Fid, offset: u64, frame: &Frame) -> Result<usize, Errno> {
        let fid = fid.number;
        let request = |count| Request::ReadDirectory { fid, offset, count };
        self.carry_data(request, core::slice::from_ref(frame), FRAME_SIZE, true)
    }

    /// A fid for the entry `name` of a directory, or one more for the same file.
    pub fn walk(&'static self, fid: u32, name: Option<&[u8]>) -> Result<(Arc<Fid>, Qid), Errno> {
        let new = try_arc(self.new_fid()?)?;
        let request = Request::Walk { fid, new: new.number, name };
        let qid = self.ask(&request, |body| match body.u16()? {
            0 if name.is_none() => Some(Qid::default()),
            1 if name.is_some() => Qid::read(body),
            _ => None,
        })?;
        Ok((new, qid))
    }

    /// One more fid for the same file, opened (`flags`: of [`coracle_p9::open`]).
    pub fn open(&'static self, fid: &Fid, flags: u32) -> Result<Arc<Fid>, Errno> {
        let (new, _) = self.walk(fid.number, None)?;
        self.tell(&Request::Open { fid: new.number, flags })?;
        Ok(new)
    }

    /// The node of a file. `place`: the directory and the name by which it was found.
    pub fn node(&'static self, fid: Arc<Fid>, place: Option<(&Node, &[u8])>) -> Result<Arc<Node>, Errno> {
        let attributes = Node::ask_attributes(self, &fid)?;
        let number = attributes.qid.path;
        let mut new = None;
        loop {
            if let Some(node) = self.known(number)
                && node.take_anew(&fid, &attributes)
            {
                node.note_place(place);
                return Ok(node);
            }
            let node = match new.take() {
                Some(node) => node,
                None => Node::new(self, fid.clone(), attributes)?,
            };
            // Another thread may have found it at the same time: all have the same node, and its pages.
            if self.add_unless_known(number, &node)? {
                node.note_place(place);
                self.recent.note(&node);
                return Ok(node);
            }
            new = Some(node);
        }
    }

    /// Has a node be known by the number of its file, unless another is. ENOMEM.
    fn add_unless_known(&self, number: u64, node: &Arc<Node>) -> Result<bool, Errno> {
        let mut nodes = self.nodes.lock();
        if nodes.get(&number).is_some_and(|known| known.strong_count() > 0) {
            return Ok(false);
        }
        nodes.insert(number, Arc::downgrade(node))?;
        Ok(true)
    }

    /// The node of a file that is known.
    pub fn known(&self, number: u64) -> Option<Arc<Node>> {
        self.nodes.lock().get(&number).and_then(Weak::upgrade)
    }

    /// A node lost its last name: it stays no longer than it is used.
    pub(super) fn forget(&self, node: &Node) {
        drop(self.recent.remove(|other| core::ptr::eq(other, node)));
        self.dropped(node);
    }

    /// A node is gone, or another may have its number.
    pub(super) fn dropped(&self, node: &Node) {
        let mut nodes = self.nodes.lock();
        let is_it = |known: &Weak<Node>| core::ptr::eq(known.as_ptr(), node);
        if nodes.get(&node.number()).is_some_and(is_it) {
            nodes.remove(&node.number());
        }
    }

    /// Notes that a node has pages that the server does not have. ENOMEM.
    pub(super) fn note_dirty(&self, node: &Arc<Node>) -> Result<(), Errno> {
        self.dirty.lock().try_push(node.clone())?;
        pool::DIRTIED.notify(Events::IN);
        Ok(())
    }

    /// Writes back what was written by mappings. Waits; hold no lock.
    pub fn sync(&self) -> Result<(), Errno> {
        let dirty = core::mem::take(&mut *self.dirty.lock());
        let mut result = Ok(());
        for node in dirty {
            result = result.and(node.write_back_listed());
        }
        result
    }
}

/// An exchange of a request and an answer that share a frame. ENAMETOOLONG: the request is longer.
fn small(request: &Request, tag: u16) -> Result<Exchange, Errno> {
    let mut bytes = filled(0, HALF)?;
    let len = request.write(tag, &mut bytes).ok_or(Errno::NAMETOOLONG)?;
    let frame = Frame::alloc().ok_or(Errno::NOMEM)?;
    frame.write(0, &bytes[..len]);
    let frames = core::iter::once(frame).try_collect_vec()?;
    Ok(Exchange { frames, sent: 0..len, received: HALF..FRAME_SIZE })
}

/// The same where each may be a path long.
#[cold]
fn large(request: &Request, tag: u16) -> Result<Exchange, Errno> {
    /// Frames for each of the two.
    const FRAMES: usize = LONGEST_REQUEST.div_ceil(FRAME_SIZE);
    let mut bytes = filled(0, LONGEST_REQUEST)?;
    let len = request.write(tag, &mut bytes).ok_or(Errno::NAMETOOLONG)?;
    let frames: Vec<Frame> = (0..2 * FRAMES).map(|_| Frame::alloc().ok_or(Errno::NOMEM)).try_collect_ok()?;
    for (frame, piece) in frames.iter().zip(bytes[..len].chunks(FRAME_SIZE)) {
        frame.write(0, piece);
    }
    let received: Range<usize> = FRAMES * FRAME_SIZE..2 * FRAMES * FRAME_SIZE;
    Ok(Exchange { frames, sent: 0..len, received })
}

/// Copies bytes out of frames, from a place among the bytes that these have one after the other.
pub(super) fn read_frames(frames: &[Frame], start: usize, out: &mut [u8]) {
    let (mut at, mut done) = (start, 0);
    while done < out.len() {
        let in_frame = at % FRAME_SIZE;
        let len = (FRAME_SIZE - in_frame).min(out.len() - done);
        frames[at / FRAME_SIZE].read(in_frame, &mut out[done..done + len]);
        at += len;
        done += len;
    }
}
