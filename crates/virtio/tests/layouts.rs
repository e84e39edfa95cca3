//! Headers and capability lists.
use coracle_virtio::device::net::{HEADER_BYTES, Header};
use coracle_virtio::transport::pci::{self, Block};
use proptest::prelude::*;

proptest! {
    #[test]
    fn net_header_round_trip(
        checksum in proptest::option::of((any::<u16>(), any::<u16>())),
        segments in proptest::option::of((any::<u16>(), any::<u16>())),
        buffers: u16,
    ) {
        let header = Header { partial_checksum: checksum, checksum_valid: false, segments, buffers };
        prop_assert_eq!(Header::decode(&header.encode()), Some(header));
    }

    #[test]
    fn net_header_of_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        let header = Header::decode(&bytes);
        if bytes.len() < HEADER_BYTES { prop_assert_eq!(header, None); }
    }

    /// Any configuration space is walked in bounded time, without reading outside of it.
    #[test]
    fn capabilities_of_any_bytes(words in prop::collection::vec(any::<u32>(), 64)) {
        pci::capabilities(|offset| { assert_eq!(offset % 4, 0); words[offset as usize / 4] });
    }
}

#[test]
fn capabilities_as_qemu_lays_them_out() {
    let mut words = [0u32; 64];
    words[0x34 / 4] = 0x98;
    // MSI-X: 3 vectors, table in BAR 1 at 0.
    words[0x98 / 4] = 0x0002_8411;
    words[0x9c / 4] = 0x0000_0001;
    for (at, next, kind, offset, len) in [
        (0x84, 0x70, 5u32, 0, 0),
        (0x70, 0x60, 2, 0x3000, 0x1000),
        (0x60, 0x50, 4, 0x2000, 0x1000),
        (0x50, 0x40, 3, 0x1000, 0x1000),
        (0x40, 0, 1, 0, 0x1000),
    ] {
        words[at / 4] = 0x0010_0009 | (next as u32) << 8 | kind << 24;
        words[at / 4 + 1] = 4;
        words[at / 4 + 2] = offset;
        words[at / 4 + 3] = len;
    }
    words[0x70 / 4 + 4] = 4;
    let found = pci::capabilities(|offset| words[offset as usize / 4]).unwrap();
    assert_eq!(found.common, Block { bar: 4, offset: 0, len: 0x1000 });
    assert_eq!(found.notify, Block { bar: 4, offset: 0x3000, len: 0x1000 });
    assert_eq!(found.notify_multiplier, 4);
    assert_eq!(found.device, Some(Block { bar: 4, offset: 0x2000, len: 0x1000 }));
    let msix = found.msix.unwrap();
    assert_eq!((msix.vectors, msix.bar, msix.offset, msix.capability), (3, 1, 0, 0x98));
}
