//! Reads any bytes as messages of the control port, whole and in pieces, on both sides: the same messages, which are written
//! as they were.
#![no_main]

use coracle_control::{
    Attributes, CpuRecord, CronRecord, EventRecord, EventsHead, FromGuest, HEADER_BYTES, LONGEST_FROM_GUEST,
    LONGEST_TO_GUEST, Message, Moment, PacketRecord, Reader, RingHead, SampleRecord, SocketRecord, Started,
    ThreadRecord, ToGuest, TraceRecord,
};
use libfuzzer_sys::fuzz_target;

fn sent(message: Message<'_>) -> Vec<u8> {
    let mut buffer = [0; HEADER_BYTES + LONGEST_FROM_GUEST + LONGEST_TO_GUEST];
    message.encode(&mut buffer).expect("what was read can be sent").to_vec()
}

fn read<const HELD: usize>(
    mut reader: Reader<HELD>,
    pieces: impl Iterator<Item = impl AsRef<[u8]>>,
) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    pieces.for_each(|piece| reader.take(piece.as_ref(), |message| all.push(sent(message))));
    all
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let pieces = || bytes.chunks(usize::from(size) + 1);
    let messages = read(FromGuest::new(), pieces());
    assert_eq!(messages, read(FromGuest::new(), [bytes].into_iter()));
    assert_eq!(messages, read(FromGuest::new(), messages.iter()));
    let to_guest = read(ToGuest::new(), pieces());
    assert_eq!(to_guest, read(ToGuest::new(), [bytes].into_iter()));
    let mut traced = bytes;
    while let Some((_, rest)) = TraceRecord::decode(traced) {
        assert!(rest.len() < traced.len());
        traced = rest;
    }
    let mut packets = bytes;
    while let Some((record, own, rest)) = PacketRecord::decode(packets) {
        assert_eq!(record.encode(), packets[..PacketRecord::HEAD]);
        assert_eq!(own.len() + rest.len() + PacketRecord::HEAD, packets.len());
        packets = rest;
    }
    if let Some((record, _)) = SocketRecord::decode(bytes) {
        assert_eq!(record.encode(), bytes[..SocketRecord::BYTES]);
    }
    if let Some(attributes) = Attributes::decode(bytes) {
        assert_eq!(attributes.encode(), bytes[..Attributes::BYTES]);
    }
    if let Some(started) = Started::decode(bytes) {
        assert_eq!(started.encode(), bytes[..Started::BYTES]);
    }
    if let Some(record) = CronRecord::decode(bytes) {
        assert_eq!(record.encode(), bytes[..CronRecord::BYTES]);
    }
    // A record takes its own bytes, and no more.
    if let Some((moment, mut rest)) = Moment::decode(bytes) {
        assert_eq!(moment.encode(), bytes[..Moment::BYTES]);
        while let Some((record, next)) = ThreadRecord::decode(rest) {
            assert_eq!(record.encode(), rest[..ThreadRecord::BYTES]);
            rest = next;
        }
    }
    let mut cpus = bytes;
    while let Some((record, rest)) = CpuRecord::decode(cpus) {
        assert_eq!(record.encode(), cpus[..CpuRecord::BYTES]);
        cpus = rest;
    }
    if let Some((record, _)) = SampleRecord::decode(bytes) {
        assert_eq!(record.encode(), bytes[..SampleRecord::BYTES]);
    }
    if let Some((_, rest)) = EventsHead::decode(bytes)
        && let Some((_, mut rest)) = RingHead::decode(rest)
    {
        while let Some((record, next)) = EventRecord::decode(rest) {
            assert_eq!(EventRecord::decode(&record.encode()), Some((record, &[][..])));
            rest = next;
        }
    }
});
