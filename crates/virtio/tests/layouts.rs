//! Headers and capability lists.
use coracle_virtio::device::features::{ANY_LAYOUT, VERSION_1};
use coracle_virtio::device::net::features::MRG_RXBUF;
use coracle_virtio::device::net::{Framing, HEADER_BYTES, Header, lengthen};
use coracle_virtio::queue::{LEGACY_ALIGN, Layout, MAX_SIZE};
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

    /// A short header says the same as the long one whose packet takes one buffer.
    #[test]
    fn short_net_header(bytes: [u8; HEADER_BYTES]) {
        let mut long = bytes;
        lengthen(&mut long);
        prop_assert_eq!(&long[..10], &bytes[2..]);
        if let Some(header) = Header::decode(&long) { prop_assert_eq!(header.buffers, 1); }
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
    let pci::Capabilities { modern, msix } = pci::capabilities(|offset| words[offset as usize / 4]);
    let found = modern.unwrap();
    assert_eq!(found.common, Block { bar: 4, offset: 0, len: 0x1000 });
    assert_eq!(found.notify, Block { bar: 4, offset: 0x3000, len: 0x1000 });
    assert_eq!(found.notify_multiplier, 4);
    assert_eq!(found.device, Some(Block { bar: 4, offset: 0x2000, len: 0x1000 }));
    let msix = msix.unwrap();
    assert_eq!((msix.vectors, msix.bar, msix.offset, msix.capability), (3, 1, 0, 0x98));
}

/// `vring_init` and `vring_size` of section 2.7.2, as the specification writes them.
#[test]
fn legacy_queues_lie_where_the_device_computes_them() {
    let align = |x: usize| (x + LEGACY_ALIGN - 1) & !(LEGACY_ALIGN - 1);
    for size in (0..16).map(|log| 1u16 << log) {
        let n = usize::from(size);
        let layout = Layout::legacy(size, 2, 8).unwrap();
        assert_eq!(layout.available, 16 * n);
        assert_eq!(layout.used, align(16 * n + 2 * (3 + n)), "queue of {size}");
        assert!(layout.indirect >= layout.used + 6 + 8 * n, "queue of {size}");
        assert_eq!(layout.bytes, layout.indirect + 2 * 8 * 16);
    }
    for size in [0, 3, 100, MAX_SIZE + 1] {
        assert_eq!(Layout::legacy(size, 0, 0), None);
    }
}

#[test]
fn framing_follows_the_features() {
    let of = |agreed| {
        let framing = Framing::of(agreed);
        (framing.header_bytes(), framing.apart)
    };
    assert_eq!(of(VERSION_1), (12, false));
    assert_eq!(of(VERSION_1 | MRG_RXBUF), (12, false));
    assert_eq!(of(MRG_RXBUF | ANY_LAYOUT), (12, false));
    assert_eq!(of(MRG_RXBUF), (12, true));
    assert_eq!(of(ANY_LAYOUT), (10, false));
    assert_eq!(of(0), (10, true));
}

/// Behind the last register that all devices have, and behind two more while MSI-X is on.
#[test]
fn legacy_configuration_moves_with_msix() {
    assert_eq!(pci::legacy::device_config(false), 20);
    assert_eq!(pci::legacy::device_config(true), 24);
}

/// QEMU's device with `disable-modern=on`: the list has MSI-X only.
#[test]
fn legacy_device_has_vectors_but_no_blocks() {
    let mut words = [0u32; 64];
    words[0x34 / 4] = 0x40;
    words[0x40 / 4] = 0x0002_0011;
    words[0x44 / 4] = 0x0000_0001;
    let found = pci::capabilities(|offset| words[offset as usize / 4]);
    assert_eq!(found.modern, None);
    assert_eq!(found.msix.map(|msix| (msix.vectors, msix.bar)), Some((3, 1)));
}
