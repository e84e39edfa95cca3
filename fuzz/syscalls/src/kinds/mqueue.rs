//! Kinds of arguments of POSIX message queues (mq_overview(7)).

use super::maker::Maker;
use super::numbers;
use crate::program::Field::{self, Bytes, Number};
use linux_raw_sys::general as g;

/// A number of this kind; `None` if there is no such kind.
pub fn number(maker: &mut Maker, kind: &str) -> Option<u64> {
    Some(match kind {
        // O_CREAT mostly, so that there are queues.
        "mq_flags" => {
            maker.flags(&[g::O_CREAT, g::O_CREAT, g::O_EXCL, g::O_NONBLOCK]) | maker.pick(&[2, 2, 2, 0, 1, 3])
        }
        "mq" => numbers::opened(maker, &[28, 28, 29]),
        "mq_len" => maker.pick(&[0, 1, 8, 8, 100, 8192, 8192, 8193, 1 << 24]),
        "mq_priority" => maker.pick(&[0, 1, 1, 2, 32_767, 32_768, u64::MAX]),
        _ => return None,
    })
}

/// Memory of this kind; `None` if there is no such kind.
pub fn memory(maker: &mut Maker, kind: &str) -> Option<Vec<Field>> {
    Some(match kind {
        // Names are few, so that calls meet.
        "queue_name" => {
            let names: [&[u8]; 6] = [b"a\0", b"a\0", b"b\0", b"c\0", b"\0", b"d/e\0"];
            vec![Bytes(names[maker.rng.usize(..names.len())].to_vec())]
        }
        "mq_attributes" => vec![
            Number(8, maker.flags(&[0, 0, g::O_NONBLOCK, 1])),
            Number(8, maker.pick(&[1, 2, 3, 10, 10, 11, 0, 65_536, 65_537, u64::MAX])),
            Number(8, maker.pick(&[1, 8, 8, 8192, 8192, 8193, 0, 1 << 24, 1 << 25, u64::MAX])),
            Bytes(vec![0; 40]),
        ],
        "mq_event" => vec![
            Number(8, numbers::address(maker)),
            Number(4, maker.pick(&[10, 10, 34, 0, 64, 65, 3, 4, 5])),
            Number(4, maker.pick(&[0, 0, 1, 2, 2, 3])),
            Bytes(vec![0; 48]),
        ],
        _ => return None,
    })
}
