use super::*;
use crate::virtio::queue::tests::device;
use std::vec;

/// Descriptors of the queue.
const SIZE: u16 = 8;

fn requests(size_max: usize) -> Requests<u32> {
    let (registers, _) = device();
    let layout = Layout::new(SIZE, 0, 0).expect("a power of two");
    let (queue, _) = Queue::start(&registers, 0, (layout, memory_behind(layout)), false)
        .unwrap_or_else(|error| panic!("{error}"));
    Requests::new(queue, layout, size_max)
}

fn frames(count: usize) -> Vec<Frame> {
    (0..count).map(|_| Frame::alloc().expect("the test's machine has memory")).collect()
}

/// The descriptors that follow from `head`: address, length and whether the device writes.
fn chain(requests: &mut Requests<u32>, head: usize) -> Vec<(u64, u32, bool)> {
    let memory = requests.queue.reached().split.memory();
    let mut found = vec![];
    let mut at = head;
    loop {
        let word = |offset: usize| {
            let [low, high] = memory.read_u32_pair(at * 16 + offset);
            u64::from(low) | u64::from(high) << 32
        };
        let (address, rest) = (word(0), word(8));
        found.push((address, rest as u32, rest >> 32 & 2 != 0));
        if rest >> 32 & 1 == 0 {
            return found;
        }
        at = (rest >> 48) as usize;
    }
}

#[test]
fn a_request_is_header_data_and_status() {
    let mut requests = requests(usize::MAX);
    // The second frame doesn't lie behind the first.
    let mut two = frames(2);
    two.sort_by_key(|frame| core::cmp::Reverse(frame.phys()));
    let data = Data { frames: two.clone(), range: 512..FRAME_SIZE + 1024 };
    assert!(requests.add(Operation::Read, 7, data, 1).is_ok());
    let pieces = chain(&mut requests, 0);
    let lengths: Vec<_> = pieces.iter().map(|&(_, len, writes)| (len, writes)).collect();
    assert_eq!(lengths, [(16, false), (FRAME_SIZE as u32 - 512, true), (1024, true), (1, true)]);
    assert_eq!((pieces[1].0, pieces[2].0), (two[0].phys() + 512, two[1].phys()));
    // Data in one piece.
    let one = frames(1);
    let single = Data { frames: one.clone(), range: 1024..2048 };
    assert!(requests.add(Operation::Write, 9, single, 2).is_ok());
    let area = pieces[0].0 + SLOT_BYTES as u64 * 4;
    let expected = [(area, 16, false), (one[0].phys() + 1024, 1024, false), (area + STATUS as u64, 1, true)];
    assert_eq!(chain(&mut requests, 4), expected);
    // One descriptor is left.
    let third = requests.add(Operation::Read, 9, Data { frames: one, range: 0..512 }, 3);
    assert!(third.is_err_and(|refused| refused.is_full && refused.token == 3));
    // Header and status lie in memory of the queue's own.
    let start = requests.queue.reached().split.memory().address();
    let end = start + requests.queue.reached().split.memory().len() as u64;
    assert!([pieces[0].0, pieces[3].0].iter().all(|at| (start..end).contains(at)));
}

#[test]
fn frames_that_lie_together_are_one_piece() {
    // Four that lie together, and one elsewhere.
    let addresses = [0, 1, 2, 3, 9].map(|number| (100 + number) * FRAME_SIZE as u64);
    let pieces = |piece_bytes, most_joined, range: Range<usize>| {
        let (mut at, mut found) = (range.start, vec![]);
        while at < range.end {
            let (address, end) = piece(|index| addresses[index], at..range.end, piece_bytes, most_joined);
            assert_eq!(address, addresses[at / FRAME_SIZE] + (at % FRAME_SIZE) as u64);
            found.push(end - at);
            at = end;
        }
        found
    };
    let page = FRAME_SIZE;
    assert_eq!(pieces(page, 1 << 20, 512..4 * page + 1024), [4 * page - 512, 1024]);
    assert_eq!(pieces(page, 1 << 20, 0..3 * page + 512), [3 * page + 512]);
    assert_eq!(pieces(page, 2, 0..5 * page), [2 * page, 2 * page, page]);
    assert_eq!(pieces(page, 1, 0..2 * page), [page, page]);
    assert_eq!(pieces(page, 0, 0..2 * page), [page, page]);
    assert_eq!(pieces(1024, 0, 512..2048), [512, 1024]);
}

#[test]
fn pieces_are_no_longer_than_the_device_takes() {
    let mut requests = requests(2000);
    assert_eq!(requests.most_bytes(100), (6 * 1024, 1024));
    let data = Data { frames: frames(1), range: 512..3072 };
    assert!(requests.add(Operation::Write, 0, data, 1).is_ok());
    let lengths: Vec<_> = chain(&mut requests, 0).iter().map(|piece| piece.1).collect();
    assert_eq!(lengths, [16, 512, 1024, 1024, 1]);
}

#[test]
fn what_leaves_its_frames_is_refused() {
    let mut requests = requests(FRAME_SIZE);
    let mut is_refused_for_ever = |operation, count, range| {
        let refused = requests.add(operation, 0, Data { frames: frames(count), range }, 5).err();
        refused.is_some_and(|refused| {
            !refused.is_full && refused.token == 5 && refused.data.frames.len() == count
        })
    };
    assert!(is_refused_for_ever(Operation::Write, 1, 0..FRAME_SIZE + 512));
    assert!(is_refused_for_ever(Operation::Write, 1, 0..100));
    #[expect(clippy::reversed_empty_ranges, reason = "it is what is tested")]
    let reversed = 1024..512;
    assert!(is_refused_for_ever(Operation::Write, 1, reversed));
    // More than the queue has descriptors for.
    assert!(is_refused_for_ever(Operation::Write, 9, 0..9 * FRAME_SIZE));
    assert_eq!(requests.outstanding(), 0);
}

#[test]
fn a_device_does_not_write_what_is_read_only_for_ever() {
    let mut requests = requests(usize::MAX);
    let zero = || Data { frames: vec![Frame::zero_page()], range: 0..512 };
    assert!(requests.add(Operation::Read, 0, zero(), 1).is_err());
    assert!(requests.add(Operation::Write, 0, zero(), 1).is_ok());
}

#[test]
fn requests_wait_for_room_and_keep_their_frames() {
    let mut requests = requests(usize::MAX);
    let frame = frames(1);
    let data = || Data { frames: frame.clone(), range: 0..512 };
    assert!(requests.add(Operation::Write, 0, data(), 1).is_ok());
    assert!(requests.add(Operation::Write, 1, data(), 2).is_ok());
    assert!(requests.add(Operation::Flush, 0, Data::NONE, 3).is_ok());
    let refused = requests.add(Operation::Write, 2, data(), 4).err();
    assert!(refused.is_some_and(|refused| refused.is_full && refused.token == 4));
    assert!(!frame[0].is_unique());
    let mut tokens = vec![];
    requests.each_outstanding(|&token| tokens.push(token));
    assert_eq!(tokens, [1, 2, 3]);
    // The device is reset before they go.
    drop(requests);
    assert!(frame[0].is_unique());
}
