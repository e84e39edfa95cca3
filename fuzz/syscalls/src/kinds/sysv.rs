//! Kinds of arguments of System V IPC (sysvipc(7)).

use super::maker::{Maker, PAGE};
use super::mqueue;
use crate::program::Field::{self, Bytes, Number};

/// IPC_CREAT, IPC_EXCL, IPC_NOWAIT, MSG_NOERROR, MSG_EXCEPT, MSG_COPY.
const FLAGS: &[u32] = &[0o1000, 0o1000, 0o2000, 0o4000, 0o4000, 0o10_000, 0o20_000, 0o40_000];

/// A number of this kind; `None` if there is no such kind.
pub fn number(maker: &mut Maker, kind: &str) -> Option<u64> {
    Some(match kind {
        // Keys are few, so that calls meet.
        "ipc_key" => maker.pick(&[0, 0, 1, 2, 3]),
        "ipc_flags" => maker.flags(FLAGS) | maker.pick(&[0, 0o600, 0o666, 0o400]),
        "ipc_command" => maker.rng.u64(..21),
        "shmat_flags" => maker.flags(&[0, 0o10_000, 0o20_000, 0o40_000, 0o100_000]),
        "message_type" => maker.pick(&[0, 1, 2, 3, u64::MAX, u64::MAX - 1, 1 << 63]),
        "shared_memory" | "semaphores" | "message_queue" => match maker.rng.u32(..6) {
            0 => maker.edge(),
            _ => maker.rng.u64(..4),
        },
        _ => return mqueue::number(maker, kind),
    })
}

/// Memory of this kind; `None` if there is no such kind.
pub fn memory(maker: &mut Maker, kind: &str) -> Option<Vec<Field>> {
    Some(match kind {
        // struct sembuf: number, change, flags.
        "semaphore_operations" => (0..maker.rng.usize(1..9))
            .flat_map(|_| {
                [
                    Number(2, maker.pick(&[0, 0, 1, 2, 3, 0xffff])),
                    Number(2, maker.pick(&[0, 1, 1, 2, 0xffff, 0xffff, 0xfffe, 0x7fff, 0x8000])),
                    Number(2, maker.flags(&[0, 0o4000, 0o4000, 0x1000])),
                ]
            })
            .collect(),
        // The type, then the text.
        "typed_message" => {
            let text = maker.rng.usize(..PAGE as usize);
            vec![Number(8, maker.pick(&[1, 1, 2, 3, 0, u64::MAX])), Bytes(vec![7; text])]
        }
        _ => return mqueue::memory(maker, kind),
    })
}
