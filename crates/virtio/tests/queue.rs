//! The queue against a device that keeps the rules, and against one that doesn't.
use coracle_virtio::model::{ModelDevice, PlainMemory};
use coracle_virtio::queue::{AddError, Layout, Piece, QueueError, SplitQueue};
use proptest::prelude::*;
use std::collections::HashMap;

fn queue(
    size: u16,
    tables: u16,
    event_index: bool,
) -> (SplitQueue<PlainMemory, u32>, ModelDevice, PlainMemory) {
    queue_of(Layout::new(size, tables, 8).unwrap(), event_index)
}

fn queue_of(layout: Layout, event_index: bool) -> (SplitQueue<PlainMemory, u32>, ModelDevice, PlainMemory) {
    let memory = PlainMemory::new(layout.bytes);
    let queue = SplitQueue::new(memory.clone(), layout, event_index).unwrap();
    (queue, ModelDevice::new(memory.clone(), layout, event_index), memory)
}

fn pieces(readable: usize, writable: usize, base: u64) -> Vec<Piece> {
    (0..readable + writable)
        .map(|i| Piece { address: base + i as u64 * 4096, len: 100 + i as u32, writable: i >= readable })
        .collect()
}

#[derive(Debug, Clone)]
enum Step {
    Add { readable: usize, writable: usize },
    Publish,
    Serve { which: usize },
    Pop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0usize..4, 0usize..5).prop_map(|(readable, writable)| Step::Add { readable, writable }),
        2 => Just(Step::Publish),
        3 => any::<usize>().prop_map(|which| Step::Serve { which }),
        3 => Just(Step::Pop),
    ]
}

proptest! {
    /// Every chain reaches the device as it was given, comes back once with its token and length, and in the end all
    /// descriptors are free again.
    #[test]
    fn chains_come_back(
        steps in prop::collection::vec(step(), 1..400),
        size_log in 0u32..6,
        tables in 0u16..4,
        event_index: bool,
        legacy: bool,
    ) {
        let size = 1 << size_log;
        let layout = if legacy { Layout::legacy(size, tables, 8) } else { Layout::new(size, tables, 8) };
        let (mut queue, mut device, _) = queue_of(layout.unwrap(), event_index);
        let mut number = 0u32;
        let mut sent: HashMap<u32, Vec<Piece>> = HashMap::new();
        let mut at_device: Vec<(u16, Vec<Piece>)> = Vec::new();
        let mut returned: Vec<(u64, u32)> = Vec::new();
        let mut popped = 0;
        let mut out = 0u16;
        for step in steps {
            match step {
                Step::Add { readable, writable } => {
                    number += 1;
                    let chain = pieces(readable, writable, number as u64 * 0x100_0000);
                    let fits = queue.fits(chain.len());
                    match queue.add(chain.iter().copied(), number) {
                        Ok(_) => { prop_assert!(fits); sent.insert(number, chain); out += 1; }
                        Err(AddError::Full(n)) => { prop_assert!(!fits); prop_assert_eq!(n, number); }
                        Err(AddError::BadChain(_)) => prop_assert!(chain.is_empty() || chain.len() > size.max(8) as usize),
                        Err(AddError::Broken(_)) => prop_assert!(false),
                    }
                }
                Step::Publish => { queue.publish(); }
                Step::Serve { which } => {
                    while let Some(chain) = device.take() { at_device.push(chain); }
                    if !at_device.is_empty() {
                        let (head, chain) = at_device.swap_remove(which % at_device.len());
                        let room: u32 = chain.iter().filter(|p| p.writable).map(|p| p.len).sum();
                        let number = (chain[0].address / 0x100_0000) as u32;
                        prop_assert_eq!(&sent[&number], &chain);
                        device.give_back(head, room / 2);
                        returned.push((number as u64, room / 2));
                    }
                }
                Step::Pop => {
                    if let Some(used) = queue.pop().unwrap() {
                        prop_assert_eq!(returned[popped], (used.token as u64, used.len));
                        popped += 1;
                        out -= 1;
                    } else {
                        prop_assert_eq!(popped, returned.len());
                    }
                    prop_assert_eq!(queue.outstanding(), out);
                }
            }
        }
        queue.publish();
        while let Some(chain) = device.take() { at_device.push(chain); }
        for (head, _) in at_device { device.give_back(head, 0); }
        while queue.pop().unwrap().is_some() {}
        prop_assert_eq!(queue.room(), size);
        prop_assert_eq!(queue.outstanding(), 0);
    }

    /// Nobody waits for ever: if the device asked to be told and a chain was published since, `publish` said so;
    /// if the driver asked for an interrupt and a chain came back since, `give_back` said so.
    #[test]
    fn no_wakeup_is_lost(rounds in prop::collection::vec((1usize..4, any::<bool>(), any::<bool>()), 1..200), event_index: bool) {
        let (mut queue, mut device, _) = queue(16, 0, event_index);
        for (batch, device_sleeps, driver_sleeps) in rounds {
            if device_sleeps { prop_assert!(!device.request_notification()); }
            for _ in 0..batch { queue.add(pieces(1, 1, 0).into_iter(), 7).unwrap(); }
            let told = queue.publish();
            if device_sleeps { prop_assert!(told); }
            queue.suppress_interrupts();
            if driver_sleeps { prop_assert!(!queue.request_interrupt()); }
            let mut interrupts = 0;
            while let Some((head, _)) = device.take() { interrupts += device.give_back(head, 1) as usize; }
            if driver_sleeps { prop_assert!(interrupts >= 1); }
            if event_index && !driver_sleeps { prop_assert_eq!(interrupts, 0); }
            prop_assert!(queue.request_interrupt());
            while queue.pop().unwrap().is_some() {}
        }
    }

    /// A device that writes anything anywhere makes errors, never a panic, and never more chains than it was given.
    #[test]
    fn hostile_device(
        script in prop::collection::vec((any::<u16>(), any::<u8>(), 0u8..8), 1..300),
        event_index: bool,
    ) {
        let (mut queue, _, memory) = queue(8, 2, event_index);
        let mut out = 0i64;
        for (offset, value, op) in script {
            match op {
                0 => if queue.add(pieces(1, 2, 0).into_iter(), 1).is_ok() { out += 1 },
                1 => if queue.add(pieces(3, 4, 0).into_iter(), 1).is_ok() { out += 1 },
                2 => { queue.publish(); }
                3 | 4 => if let Ok(Some(used)) = queue.pop() { prop_assert!(used.len <= 505); out -= 1; },
                _ => memory.poke(offset as usize % 700, value),
            }
            prop_assert!(out >= 0);
        }
    }
}

#[test]
fn bad_used_entries_break_the_queue() {
    let (mut q, mut device, _) = queue(4, 0, true);
    q.add(pieces(0, 1, 0).into_iter(), 1).unwrap();
    q.publish();
    device.give_back(3, 0);
    assert_eq!(q.pop(), Err(QueueError::UnknownChain(3)));
    device.give_back(0, 0);
    assert!(!q.has_used() && !q.request_interrupt(), "nobody waits for a broken device");
    assert_eq!(q.pop(), Err(QueueError::Broken));
    assert_eq!(q.add(pieces(0, 1, 0).into_iter(), 2), Err(AddError::Broken(2)));

    let (mut q, mut device, _) = queue(4, 0, true);
    q.add(pieces(0, 1, 0).into_iter(), 1).unwrap();
    q.publish();
    let (head, _) = device.take().unwrap();
    device.give_back(head, 101);
    assert_eq!(q.pop(), Err(QueueError::TooLong { len: 101, room: 100 }));

    let (mut q, mut device, _) = queue(4, 0, true);
    q.add(pieces(0, 1, 0).into_iter(), 1).unwrap();
    q.publish();
    device.give_back(0, 0);
    device.give_back(0, 0);
    assert_eq!(q.pop(), Err(QueueError::UsedIndex { returned: 2, outstanding: 1 }));
}

#[test]
fn a_readable_piece_after_a_writable_one_is_refused() {
    for tables in [0, 2] {
        let (mut q, _, _) = queue(16, tables, true);
        let mut chain = pieces(2, 3, 0);
        chain.reverse();
        assert!(matches!(q.add(chain.into_iter(), 1), Err(AddError::BadChain(1))));
        assert_eq!((q.room(), q.outstanding()), (16, 0));
    }
}
