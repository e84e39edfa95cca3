use super::*;
use crate::io::mmio::Mmio;
use crate::virtio::packets::{Packets, Refused};
use coracle_virtio::transport::mmio;
use std::boxed::Box;
use std::cell::UnsafeCell;

/// Words of registers, the configuration included.
const WORDS: usize = 0x200 / 4;

/// A device of plain memory: it does nothing by itself.
pub(in crate::virtio) fn device() -> (Arc<Registers>, Mmio) {
    crate::host::memory::start();
    let words: Vec<UnsafeCell<u32>> = (0..WORDS).map(|_| UnsafeCell::new(0)).collect();
    let words: &'static [UnsafeCell<u32>] = Box::leak(words.into_boxed_slice());
    let view = Mmio::of(words);
    view.write32(mmio::QUEUE_NUM_MAX, 64);
    let registers = Registers::Mmio { registers: Arc::new(Mmio::of(words)), len: 4 * WORDS, legacy: false };
    (Arc::new(registers), view)
}

fn queue<T>(registers: &Arc<Registers>) -> Queue<T> {
    let layout = Layout::new(16, 2, 8).expect("a power of two");
    let (queue, _) = Queue::start(registers, 0, (layout, 0), false).unwrap_or_else(|error| panic!("{error}"));
    queue
}

#[test]
fn a_device_is_stopped_before_its_queue_is_freed() {
    let (registers, view) = device();
    let queue = queue::<PacketBuffer>(&registers);
    let address =
        u64::from(view.read32(mmio::QUEUE_DESC_LOW)) | u64::from(view.read32(mmio::QUEUE_DESC_LOW + 4)) << 32;
    assert_eq!(address, queue.memory.split.addresses()[0]);
    view.write32(mmio::STATUS, 15);
    drop(queue);
    assert_eq!(view.read32(mmio::STATUS), 0);
}

#[test]
fn a_device_is_given_a_queue_once() {
    let (registers, _) = device();
    let _first = queue::<PacketBuffer>(&registers);
    let layout = Layout::new(16, 0, 0).expect("a power of two");
    let second = Queue::<PacketBuffer>::start(&registers, 0, (layout, 0), false);
    assert_eq!(second.err(), Some(SetupError::Queue));
}

#[test]
fn what_leaves_a_buffer_is_refused() {
    let (registers, _) = device();
    let mut queue = queue(&registers);
    let buffer = || PacketBuffer::alloc().expect("the test's machine has memory");
    const SIZE: usize = PacketBuffer::SIZE;
    assert!(!queue.offer(buffer(), 0..SIZE + 1));
    #[expect(clippy::reversed_empty_ranges, reason = "it is what is tested")]
    let reversed = 2..1;
    assert!(!queue.offer(buffer(), reversed));
    assert!(!queue.offer_in_two(buffer(), 2..SIZE, SIZE + 1) && !queue.offer_in_two(buffer(), 2..SIZE, 1));
    assert!(!queue.send(buffer(), SIZE + 1));
    assert_eq!(queue.outstanding(), 0);
    assert!(
        queue.offer(buffer(), 0..SIZE)
            && queue.offer_in_two(buffer(), 2..SIZE, 12)
            && queue.send(buffer(), SIZE)
    );
    assert_eq!((queue.outstanding(), queue.room()), (3, 12));
}

#[test]
fn a_device_writes_what_nobody_else_reads() {
    let (registers, _) = device();
    let mut queue = queue(&registers);
    let buffer = SharedBuffer::alloc().expect("the test's machine has memory");
    assert!(!queue.offer(buffer.clone(), 0..SharedBuffer::SIZE));
    assert!(queue.offer(buffer, 0..SharedBuffer::SIZE));
    let read = SharedBuffer::alloc().expect("the test's machine has memory");
    assert!(queue.send(read.clone(), 1), "others may read what the device reads");
    let mut read = read;
    assert!(read.as_mut_slice().is_none(), "and write it when the device has it no more");
    drop(queue);
    assert!(read.as_mut_slice().is_some());
}

#[test]
fn packets_are_pieces_of_what_is_held() {
    let (registers, _) = device();
    let mut packets = Packets::new(queue(&registers));
    let buffer = SharedBuffer::alloc().expect("the test's machine has memory");
    const SIZE: u32 = SharedBuffer::SIZE as u32;
    let lead = [0; 12];
    assert_eq!(packets.send(&lead, &[0; 256]), Err(Refused), "no slot has room for so much");
    assert_eq!(packets.send_with(&lead, &[0; 54], (&buffer, 1, SIZE)), Err(Refused));
    assert_eq!(packets.send_with(&lead, &[0; 54], (&buffer, u32::MAX, 2)), Err(Refused));
    assert_eq!(packets.send_in_place(&buffer, SIZE, 1), Err(Refused));
    let fragments = |last| [(buffer.clone(), 0, SIZE), (buffer.clone(), SIZE - 1, last)].into_iter();
    assert_eq!(packets.send_many(&lead, &[0; 54], 0, fragments(2)), Err(Refused));
    assert_eq!(packets.outstanding(), 0);
    assert_eq!(packets.send_many(&lead, &[0; 54], 0, fragments(1)), Ok(()));
    assert_eq!(packets.send_many(&lead, &[], 10, fragments(1)), Ok(()));
    assert_eq!(packets.send_with(&lead, &[0; 54], (&buffer, 1, SIZE - 1)), Ok(()));
    assert_eq!(packets.outstanding(), 3);
    packets.publish();
    let mut buffer = buffer;
    assert!(buffer.as_mut_slice().is_none());
    drop(packets);
    assert!(buffer.as_mut_slice().is_some(), "all of it was given back");
}
