//! Commands lie as the specification says, and nothing that a controller says does harm.
use coracle_nvme::*;
use proptest::prelude::*;

#[test]
fn commands_lie_as_the_specification_says() {
    let read = Command::read(1, 0x1_0000_0002, 8).with(7, [0x1000, 0x2000]);
    assert_eq!(read.0, [2 | 7 << 16 | 1 << 32, 0, 0, 0x1000, 0x2000, 0x1_0000_0002, 7, 0]);
    assert_eq!(Command::write(1, 0, 65536).0[6], 0xffff, "numbers of blocks begin at 0");
    assert_eq!(Command::flush(3).0, [3 << 32, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Command::create_submissions(2, 64).0[5], 2 | 63 << 16 | 1 << 32 | 2 << 48);
    assert_eq!(Command::create_completions(2, 64).0[5], 2 | 63 << 16 | 3 << 32);
    assert_eq!(Command::request_queues(4).0[5], 7 | 3 << 32 | 3 << 48);
    assert_eq!(Command::write_zeroes(1, 5, 1, Zeroing::MayDeallocate).0[6], 1 << 25);
    assert_eq!((Command::deallocate(1).0[5], Command::range(9, 4)), (4 << 32, [4 << 32, 9]));
}

#[test]
fn completions_are_read() {
    let completion = Completion::of([0x0003_0007, 0, 0, 5 | 1 << 16 | 0x4002 << 17]);
    assert_eq!((completion.id, completion.phase, completion.status, completion.queues()), (5, true, 2, 4));
    assert!(Completion::is_unsupported(2) && !Completion::is_unsupported(0x281));
    assert_eq!(Completion { result: u32::MAX, ..completion }.queues(), u16::MAX);
}

#[test]
fn a_controller_says_what_it_is() {
    let mut bytes = [0; IDENTIFY_BYTES];
    bytes[4..24].copy_from_slice(b"volume0             ");
    (bytes[77], bytes[516], bytes[520], bytes[525]) = (5, 16, 0b1100, 1);
    let controller = Controller::parse(&bytes);
    assert_eq!(controller.serial[..8], *b"volume0\0");
    assert_eq!((controller.most_bytes, controller.namespaces), (Some(128 << 10), 16));
    assert!(controller.deallocates && controller.writes_zeroes && controller.has_cache);
    let mut bytes = [0; IDENTIFY_BYTES];
    (bytes[0], bytes[26]) = (9, 0x21);
    bytes[128 + 4 * 17 + 2] = 12;
    assert_eq!(
        Namespace::parse(&bytes),
        Some(Namespace { blocks: 9, block_bytes: 4096, is_read_only: false })
    );
    bytes[128 + 4 * 17] = 8;
    assert_eq!(Namespace::parse(&bytes), None, "metadata");
}

proptest! {
    #[test]
    fn what_a_controller_says_is_in_bounds(parts in prop::collection::vec((0usize..IDENTIFY_BYTES, any::<u8>()), 0..100), words: [u32; 4]) {
        let mut bytes = [0; IDENTIFY_BYTES];
        parts.into_iter().for_each(|(at, byte)| bytes[at] = byte);
        prop_assert!(Controller::parse(&bytes).most_bytes.is_none_or(|most| most >= PAGE_BYTES));
        if let Some(found) = Namespace::parse(&bytes) {
            prop_assert!(found.block_bytes.is_power_of_two() && (512..=4096).contains(&found.block_bytes));
            prop_assert!(found.blocks.checked_mul(found.block_bytes.into()).is_some());
        }
        prop_assert!(Completion::of(words).status <= 0x7ff);
        prop_assert!(Capabilities(u64::from(words[0]) << 32 | u64::from(words[1])).most_entries() >= 1);
    }
}
