use super::*;
use core::cell::UnsafeCell;
use std::boxed::Box;
use std::vec;

/// Entries of a queue.
const ENTRIES: u16 = 4;

fn pair() -> (Pair<u32>, Mmio) {
    crate::host::memory::start();
    let words: Vec<UnsafeCell<u32>> = (0..register::DOORBELLS / 4 + 16).map(|_| UnsafeCell::new(0)).collect();
    let words: &'static [UnsafeCell<u32>] = Box::leak(words.into_boxed_slice());
    let controller = Arc::new(Controller { registers: Mmio::of(words), can: Capabilities(0) });
    let pair = Pair::new(&controller, 1, ENTRIES).unwrap_or_else(|error| panic!("{error}"));
    (pair, Mmio::of(words))
}

fn data(count: usize, range: core::ops::Range<usize>) -> Data {
    let frames = (0..count).map(|_| Frame::alloc().expect("the test's machine has memory")).collect();
    Data { frames, range }
}

/// The two words at a place of a queue's memory.
fn words(pair: &Pair<u32>, at: usize) -> [u64; 2] {
    [at, at + 8].map(|at| {
        let [low, high] = pair.reached.memory.read_u32_pair(at);
        u64::from(low) | u64::from(high) << 32
    })
}

/// The pointers of the command in an entry.
fn pointers(pair: &Pair<u32>, entry: usize) -> [u64; 2] {
    [words(pair, entry * 64 + 16)[1], words(pair, entry * 64 + 32)[0]]
}

#[test]
fn data_are_named_by_two_pointers_or_a_list() {
    let (mut pair, _) = pair();
    let mut add = |data: Data, entry| {
        let addresses: Vec<u64> = data.frames.iter().map(Frame::phys).collect();
        assert!(pair.add(Command::read(1, 0, 1), (data, true), Argument::None, 7).is_ok());
        (addresses, pointers(&pair, entry))
    };
    let (one, found) = add(data(1, 512..1024), 0);
    assert_eq!(found, [one[0] + 512, 0]);
    let (two, found) = add(data(2, 0..FRAME_SIZE + 512), 1);
    assert_eq!(found, [two[0], two[1]]);
    let (four, found) = add(data(4, 1024..4 * FRAME_SIZE), 2);
    let list = Pair::<u32>::lists(ENTRIES) + 2 * LIST_BYTES;
    assert_eq!(found, [four[0] + 1024, pair.reached.memory.phys() + list as u64]);
    assert_eq!((words(&pair, list), words(&pair, list + 16)), ([four[1], four[2]], [four[3], 0]));
}

#[test]
fn what_leaves_its_frames_or_is_read_only_is_refused() {
    let (mut pair, _) = pair();
    let mut refused = |data: Data, writes| {
        let refused = pair.add(Command::read(1, 0, 1), (data, writes), Argument::None, 5).err();
        refused.map(|refused| refused.is_full)
    };
    assert_eq!(refused(data(1, 0..FRAME_SIZE + 512), true), Some(false));
    assert_eq!(refused(data(MOST_FRAMES + 1, 0..(MOST_FRAMES + 1) * FRAME_SIZE), true), Some(false));
    let zero = || Data { frames: vec![Frame::zero_page()], range: 0..512 };
    assert_eq!(refused(zero(), true), Some(false));
    assert_eq!(refused(zero(), false), None);
    assert_eq!((refused(zero(), false), refused(zero(), false)), (None, None));
    assert_eq!(refused(zero(), false), Some(true), "one entry stays free");
}

/// Writes a completion as the controller would.
fn complete(pair: &Pair<u32>, entry: usize, id: u16, phase: bool) {
    let at = Pair::<u32>::completions(ENTRIES) + entry * COMPLETION_BYTES;
    pair.reached.memory.write_pair(at, 0, u64::from(id) << 32 | u64::from(phase) << 48);
}

#[test]
fn frames_stay_until_the_command_is_complete() {
    let (mut pair, registers) = pair();
    // Once around the ring, and on: the phase turns.
    for round in 0..7usize {
        let data = data(1, 0..512);
        let frame = data.frames[0].clone();
        assert!(pair.add(Command::read(1, 0, 1), (data, true), Argument::None, 9).is_ok());
        pair.publish();
        let next = (round as u32 + 1) % u32::from(ENTRIES);
        assert_eq!(registers.read32(register::DOORBELLS + 8), next);
        assert!(pair.pop().is_ok_and(|none| none.is_none()) && !frame.is_unique());
        complete(&pair, round % usize::from(ENTRIES), 0, round / usize::from(ENTRIES) % 2 == 0);
        let finished = pair.pop().ok().flatten().expect("it is complete");
        assert_eq!((finished.token, finished.completion.status), (9, 0));
        assert!(frame.is_unique());
        pair.taken();
        assert_eq!(registers.read32(register::DOORBELLS + 12), next);
    }
}

#[test]
fn a_controller_that_names_another_command_is_believed_nothing() {
    let (mut pair, _) = pair();
    let data = data(1, 0..512);
    let frame = data.frames[0].clone();
    assert!(pair.add(Command::write(1, 0, 1), (data, false), Argument::None, 3).is_ok());
    for id in [1, ENTRIES, u16::MAX] {
        complete(&pair, 0, id, true);
        assert!(pair.pop().is_err());
    }
    complete(&pair, 0, 0, true);
    assert!(pair.pop().is_err() && !frame.is_unique());
    let mut failed = vec![];
    pair.fail_outstanding(|&token| failed.push(token));
    pair.fail_outstanding(|&token| failed.push(token));
    assert_eq!(failed, [3]);
    // The controller is stopped before it goes.
    drop(pair);
    assert!(frame.is_unique());
}
