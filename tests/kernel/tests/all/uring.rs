//! io_uring(7): the rings in memory that a program and the kernel share.
use coracle_kernel_tests::errno::{EBADF, ECANCELED, EINVAL, ENOENT, ETIME};
use coracle_kernel_tests::files::{self, close, make, open, pipe};
use coracle_kernel_tests::threads::{spawn, until_asleep};
use coracle_kernel_tests::{abi, explore, io_uring, load_u32, load_u64, run, store_u32, sys};
use std::mem::{offset_of, size_of};

const ENTRIES: usize = 8;
/// IOSQE_IO_LINK.
const LINK: u32 = 1 << 2;
const ENTRY_SIZE: usize = size_of::<io_uring::io_uring_sqe>();
const RESULT_SIZE: usize = size_of::<io_uring::io_uring_cqe>();

/// A ring, and where its parts are in the program's memory.
struct Ring {
    descriptor: usize,
    /// Both rings, which are mapped as one (IORING_FEAT_SINGLE_MMAP).
    rings: usize,
    entries: usize,
    sq: [u32; 4],
    cq: [u32; 4],
}

/// A request: what of `struct io_uring_sqe` these tests use.
#[derive(Clone, Copy, Default)]
struct Request {
    operation: u8,
    flags: u32,
    descriptor: usize,
    address: usize,
    len: u32,
    offset: u64,
    user_data: u64,
}

type Operation = io_uring::io_uring_op;

impl Ring {
    fn new() -> Ring {
        use io_uring::{io_cqring_offsets as Cq, io_sqring_offsets as Sq, io_uring_params as Parameters};
        let parameters = sys::memory(size_of::<Parameters>());
        let descriptor = sys::call(abi::__NR_io_uring_setup, &[ENTRIES, parameters]).expect("a ring is made");
        let features = load_u32(parameters + offset_of!(Parameters, features));
        assert_ne!(features & io_uring::IORING_FEAT_SINGLE_MMAP, 0);
        let word = |at: usize| load_u32(parameters + at);
        let sq_at = offset_of!(Parameters, sq_off);
        let sq =
            [offset_of!(Sq, head), offset_of!(Sq, tail), offset_of!(Sq, ring_mask), offset_of!(Sq, array)];
        let cq_at = offset_of!(Parameters, cq_off);
        let cq =
            [offset_of!(Cq, head), offset_of!(Cq, tail), offset_of!(Cq, ring_mask), offset_of!(Cq, cqes)];
        let (sq, cq) = (sq.map(|at| word(sq_at + at)), cq.map(|at| word(cq_at + at)));
        let results = word(offset_of!(Parameters, cq_entries)) as usize;
        let rings = map(descriptor, cq[3] as usize + results * RESULT_SIZE, io_uring::IORING_OFF_SQ_RING);
        let entries = map(descriptor, ENTRIES * ENTRY_SIZE, io_uring::IORING_OFF_SQES);
        Ring { descriptor, rings, entries, sq, cq }
    }

    /// Puts a request into the submission ring.
    fn put(&self, request: Request) {
        use io_uring::io_uring_sqe as Entry;
        let [_, tail, mask, array] = self.sq.map(|at| self.rings + at as usize);
        let position = load_u32(tail);
        let index = (position & load_u32(mask)) as usize;
        let mut bytes = [0; ENTRY_SIZE];
        bytes[offset_of!(Entry, opcode)] = request.operation;
        bytes[offset_of!(Entry, flags)] = request.flags as u8;
        for (at, value) in
            [(offset_of!(Entry, fd), request.descriptor as u32), (offset_of!(Entry, len), request.len)]
        {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let words = [
            (offset_of!(Entry, __bindgen_anon_1), request.offset),
            (offset_of!(Entry, __bindgen_anon_2), request.address as u64),
            (offset_of!(Entry, user_data), request.user_data),
        ];
        for (at, value) in words {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        coracle_kernel_tests::write(self.entries + index * ENTRY_SIZE, &bytes);
        store_u32(array + index * 4, index as u32);
        store_u32(tail, position.wrapping_add(1));
    }

    /// io_uring_enter(2): how many requests were taken.
    fn enter(&self, submit: usize, wait_for: usize) -> Result<usize, u32> {
        let flags = if wait_for > 0 { io_uring::IORING_ENTER_GETEVENTS as usize } else { 0 };
        sys::call(abi::__NR_io_uring_enter, &[self.descriptor, submit, wait_for, flags, 0, 0])
    }

    /// Takes the next result: which request it is of, and what it returned.
    fn take(&self) -> Option<(u64, Result<usize, u32>)> {
        let [head, tail, mask, results] = self.cq.map(|at| self.rings + at as usize);
        let position = load_u32(head);
        if position == load_u32(tail) {
            return None;
        }
        let at = results + (position & load_u32(mask)) as usize * RESULT_SIZE;
        let (user_data, result) = (load_u64(at), load_u32(at + 8) as i32);
        store_u32(head, position.wrapping_add(1));
        Some((user_data, sys::result(result.into())))
    }

    /// Submits a request and waits for its result.
    fn make(&self, request: Request) -> Result<usize, u32> {
        self.put(request);
        assert_eq!(self.enter(1, 1), Ok(1));
        let (user_data, result) = self.take().expect("it was waited for");
        assert_eq!(user_data, request.user_data);
        result
    }
}

fn map(descriptor: usize, len: usize, offset: u32) -> usize {
    let (prot, flags) = (abi::PROT_READ | abi::PROT_WRITE, abi::MAP_SHARED | abi::MAP_POPULATE);
    let arguments = [0, len, prot as usize, flags as usize, descriptor, offset as usize];
    sys::call(abi::__NR_mmap, &arguments).expect("a ring is mapped")
}

fn operation(operation: Operation) -> u8 {
    operation as u8
}

#[test]
fn files_are_read_and_written() {
    run(|| {
        let ring = Ring::new();
        make("/tmp/ring", b"0123456789");
        let descriptor = open("/tmp/ring", abi::O_RDWR, 0).expect("a file is opened");
        let buffer = sys::memory(64);
        let read = Request {
            operation: operation(Operation::IORING_OP_READ),
            descriptor,
            address: buffer,
            len: 64,
            offset: 4,
            user_data: 1,
            ..Request::default()
        };
        assert_eq!(ring.make(read), Ok(6));
        assert_eq!(sys::bytes(buffer, 6), b"456789");
        let write = operation(Operation::IORING_OP_WRITE);
        assert_eq!(ring.make(Request { operation: write, len: 6, offset: 10, user_data: 2, ..read }), Ok(6));
        assert_eq!(files::contents("/tmp/ring").as_deref(), Ok(&b"0123456789456789"[..]));
        assert_eq!(ring.make(Request { descriptor: 99, ..read }), Err(EBADF));
        assert_eq!(ring.make(Request { operation: 255, ..read }), Err(EINVAL));
        [descriptor, ring.descriptor].into_iter().for_each(close);
    });
}

#[test]
fn a_chain_ends_at_its_first_failure() {
    run(|| {
        let ring = Ring::new();
        let nop = Request { flags: LINK, ..Request::default() };
        ring.put(Request { user_data: 1, ..nop });
        let bad = operation(Operation::IORING_OP_READ);
        ring.put(Request { operation: bad, descriptor: 99, user_data: 2, ..nop });
        ring.put(Request { user_data: 3, flags: 0, ..nop });
        assert_eq!(ring.enter(3, 3), Ok(3));
        let mut results: Vec<_> = std::iter::from_fn(|| ring.take()).collect();
        results.sort();
        assert_eq!(results, [(1, Ok(0)), (2, Err(EBADF)), (3, Err(ECANCELED))]);
        close(ring.descriptor);
    });
}

#[test]
fn a_read_waits_for_what_another_thread_writes() {
    run(|| {
        let ring = Ring::new();
        let (from, to) = pipe(0);
        let buffer = sys::memory(8);
        let request = Request {
            operation: operation(Operation::IORING_OP_READ),
            descriptor: from,
            address: buffer,
            len: 8,
            user_data: 7,
            ..Request::default()
        };
        let tid = sys::call(abi::__NR_gettid, &[]).expect("a thread has an id") as i32;
        let writer = spawn(move || {
            until_asleep(tid);
            assert_eq!(files::write(to, b"late"), Ok(4));
        });
        assert_eq!(ring.make(request), Ok(4));
        assert_eq!(sys::bytes(buffer, 4), b"late");
        writer.join();
        [from, to, ring.descriptor].into_iter().for_each(close);
    });
}

#[test]
fn time_outs_and_cancellations_end_waits() {
    run(|| {
        let ring = Ring::new();
        let (from, to) = pipe(0);
        let timeout = Request {
            operation: operation(Operation::IORING_OP_TIMEOUT),
            address: sys::timespec(1_000_000),
            len: 1,
            user_data: 1,
            ..Request::default()
        };
        assert_eq!(ring.make(timeout), Err(ETIME));
        let read = Request {
            operation: operation(Operation::IORING_OP_READ),
            descriptor: from,
            address: sys::memory(8),
            len: 8,
            user_data: 2,
            ..Request::default()
        };
        ring.put(read);
        assert_eq!(ring.enter(1, 0), Ok(1));
        assert_eq!(ring.take(), None);
        let cancel = operation(Operation::IORING_OP_ASYNC_CANCEL);
        ring.put(Request { operation: cancel, address: 2, user_data: 3, ..Request::default() });
        assert_eq!(ring.enter(1, 2), Ok(1));
        let mut results: Vec<_> = std::iter::from_fn(|| ring.take()).collect();
        results.sort();
        assert_eq!(results, [(2, Err(ECANCELED)), (3, Ok(0))]);
        // Of a ring that goes, a request that waits goes, too.
        ring.put(read);
        assert_eq!(ring.enter(1, 0), Ok(1));
        [ring.descriptor, from, to].into_iter().for_each(close);
    });
}

#[test]
fn a_request_that_is_cancelled_ends_once() {
    explore(|| {
        let ring = Ring::new();
        let (from, to) = pipe(0);
        let read = Request {
            operation: operation(Operation::IORING_OP_READ),
            descriptor: from,
            address: sys::memory(8),
            len: 8,
            user_data: 1,
            ..Request::default()
        };
        ring.put(read);
        assert_eq!(ring.enter(1, 0), Ok(1));
        let writer = spawn(move || assert_eq!(files::write(to, b"late"), Ok(4)));
        let cancel = operation(Operation::IORING_OP_ASYNC_CANCEL);
        ring.put(Request { operation: cancel, address: 1, user_data: 2, ..Request::default() });
        assert_eq!(ring.enter(1, 2), Ok(1));
        let mut results: Vec<_> = std::iter::from_fn(|| ring.take()).collect();
        results.sort();
        match results[..] {
            [(1, Err(ECANCELED)), (2, Ok(0))] => {}
            // It was through, or about to be: the cancellation waits for one that is being tried.
            [(1, Ok(4)), (2, Err(ENOENT))] => {}
            _ => panic!("{results:?}"),
        }
        writer.join();
        [from, to, ring.descriptor].into_iter().for_each(close);
    });
}
