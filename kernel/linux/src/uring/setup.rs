//! io_uring_setup(2).
use super::enter::ring_of;
use super::worker;
use crate::call::Call;
use crate::descriptor::install;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::mm::user;
use coracle_ipc::uring::Ring;
use coracle_uring::{Layout, Wanted, at};
use linux_raw_sys::general::{O_CLOEXEC, O_RDWR};
use linux_raw_sys::io_uring as abi;

/// Words of `struct io_uring_params`.
const PARAMETER_WORDS: usize = 15;

/// Flags that are known. Those that only say how eagerly the program is interrupted change nothing here: completions are posted
/// without its help.
const KNOWN: u32 = abi::IORING_SETUP_SQPOLL
    | abi::IORING_SETUP_IOPOLL
    | abi::IORING_SETUP_SQ_AFF
    | abi::IORING_SETUP_CQSIZE
    | abi::IORING_SETUP_CLAMP
    | abi::IORING_SETUP_ATTACH_WQ
    | abi::IORING_SETUP_R_DISABLED
    | abi::IORING_SETUP_SUBMIT_ALL
    | abi::IORING_SETUP_COOP_TASKRUN
    | abi::IORING_SETUP_TASKRUN_FLAG
    | abi::IORING_SETUP_SQE128
    | abi::IORING_SETUP_CQE32
    | abi::IORING_SETUP_SINGLE_ISSUER
    | abi::IORING_SETUP_DEFER_TASKRUN
    | abi::IORING_SETUP_NO_SQARRAY;

/// What programs may rely on (IORING_FEAT_*).
const FEATURES: u32 = abi::IORING_FEAT_SINGLE_MMAP
    | abi::IORING_FEAT_NODROP
    | abi::IORING_FEAT_SUBMIT_STABLE
    | abi::IORING_FEAT_RW_CUR_POS
    | abi::IORING_FEAT_CUR_PERSONALITY
    | abi::IORING_FEAT_FAST_POLL
    | abi::IORING_FEAT_POLL_32BITS
    | abi::IORING_FEAT_SQPOLL_NONFIXED
    | abi::IORING_FEAT_EXT_ARG
    | abi::IORING_FEAT_NATIVE_WORKERS
    | abi::IORING_FEAT_CQE_SKIP
    | abi::IORING_FEAT_LINKED_FILE;

/// How long the thread that looks for submissions does so in vain, if the program doesn't say, in milliseconds.
const DEFAULT_IDLE_MS: u32 = 1000;

/// The halves of a word.
fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

fn word(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// Flags that go together (io_uring_setup(2), "ERRORS").
fn check(flags: u32) -> Result<(), Errno> {
    let has = |flag| flags & flag != 0;
    let is_wrong = flags & !KNOWN != 0
        || has(abi::IORING_SETUP_SQ_AFF) && !has(abi::IORING_SETUP_SQPOLL)
        || has(abi::IORING_SETUP_SQPOLL)
            && flags
                & (abi::IORING_SETUP_COOP_TASKRUN
                    | abi::IORING_SETUP_TASKRUN_FLAG
                    | abi::IORING_SETUP_DEFER_TASKRUN)
                != 0
        || has(abi::IORING_SETUP_TASKRUN_FLAG)
            && flags & (abi::IORING_SETUP_COOP_TASKRUN | abi::IORING_SETUP_DEFER_TASKRUN) == 0
        || has(abi::IORING_SETUP_DEFER_TASKRUN) && !has(abi::IORING_SETUP_SINGLE_ISSUER);
    if is_wrong { Err(Errno::INVAL) } else { Ok(()) }
}

/// io_uring_setup(2).
pub fn io_uring_setup(call: &Call) -> SysResult {
    let at = call.usize(1);
    let given: [u64; PARAMETER_WORDS] = user::read_words(at)?;
    let [_, completions] = halves(given[0]);
    let [flags, cpu] = halves(given[1]);
    let [idle_ms, _] = halves(given[2]);
    let [attached, reserved] = halves(given[3]);
    if reserved != 0 || given[4] != 0 {
        return Err(Errno::INVAL);
    }
    check(flags)?;
    let has = |flag| flags & flag != 0;
    if has(abi::IORING_SETUP_SQ_AFF) && cpu as usize >= coracle_hal::cpu::possible() {
        return Err(Errno::INVAL);
    }
    let layout = Layout::new(Wanted {
        entries: call.u32(0),
        completions: has(abi::IORING_SETUP_CQSIZE).then_some(completions),
        clamp: has(abi::IORING_SETUP_CLAMP),
        long_entries: has(abi::IORING_SETUP_SQE128),
        long_completions: has(abi::IORING_SETUP_CQE32),
        no_array: has(abi::IORING_SETUP_NO_SQARRAY),
    })
    .map_err(|_| Errno::INVAL)?;
    if has(abi::IORING_SETUP_ATTACH_WQ) {
        // Workers are the process's in any case.
        let other = call.thread().process.descriptors.get(attached.cast_signed()).map_err(|_| Errno::NXIO)?;
        ring_of(&other).map_err(|_| Errno::INVAL)?;
    }
    let ring = Ring::new(layout, flags)?;
    if !has(abi::IORING_SETUP_R_DISABLED) {
        ring.check_issuer(call.thread().tid())?;
    }
    let answer: [u64; PARAMETER_WORDS] = [
        word(layout.entries, layout.completions),
        given[1],
        word(idle_ms, FEATURES),
        given[3],
        given[4],
        // struct io_sqring_offsets
        word(at::SQ_HEAD, at::SQ_TAIL),
        word(at::SQ_MASK, at::SQ_ENTRIES),
        word(at::SQ_FLAGS, at::SQ_DROPPED),
        word(layout.array, 0),
        0,
        // struct io_cqring_offsets
        word(at::CQ_HEAD, at::CQ_TAIL),
        word(at::CQ_MASK, at::CQ_ENTRIES),
        word(at::CQ_OVERFLOW, at::COMPLETIONS),
        word(at::CQ_FLAGS, 0),
        0,
    ];
    user::write_words(at, &answer)?;
    if has(abi::IORING_SETUP_SQPOLL) {
        let idle_ms = if idle_ms == 0 { DEFAULT_IDLE_MS } else { idle_ms };
        worker::start_submitter(call.thread(), &ring, idle_ms)?;
    }
    install(call, ring, O_RDWR | O_CLOEXEC)
}
