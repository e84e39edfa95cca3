//! A queue whose device writes anything anywhere.
#![no_main]
use coracle_virtio::model::PlainMemory;
use coracle_virtio::queue::{Layout, Piece, SplitQueue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &[u8]| {
    let Some(layout) = Layout::new(8, 2, 4) else { return };
    let memory = PlainMemory::new(layout.bytes);
    let Some(mut queue) = SplitQueue::new(memory.clone(), layout, script.len().is_multiple_of(2)) else {
        return;
    };
    let mut outstanding = 0i64;
    for op in script.chunks_exact(3) {
        match op[0] % 8 {
            0 | 1 => {
                let count = 1 + op[1] as usize % 4;
                let chain = (0..count).map(|i| Piece { address: 0, len: 10, writable: i > 0 });
                outstanding += queue.add(chain, ()).is_ok() as i64;
            }
            2 => {
                queue.publish();
            }
            3 | 4 => {
                if let Ok(Some(used)) = queue.pop() {
                    assert!(used.len <= 30);
                    outstanding -= 1;
                }
            }
            5 => {
                queue.request_interrupt();
            }
            _ => memory.poke(op[1] as usize | (op[0] as usize & 0x18) << 5, op[2]),
        }
        assert!(outstanding >= 0);
        assert_eq!(outstanding, queue.outstanding() as i64);
    }
});
