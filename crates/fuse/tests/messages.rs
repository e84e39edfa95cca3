//! Messages lie as the protocol says, and no bytes of a server do harm.
use coracle_fuse::*;
use proptest::prelude::*;

fn written(node: u64, operation: Operation<'_>) -> Vec<u8> {
    let mut buffer = [0; LONGEST_REQUEST];
    let len = Request { node, operation }.write(7, &mut buffer).unwrap();
    buffer[..len].to_vec()
}

/// A head of a request, as fuse.h has it.
fn head(len: u32, operation: u32, node: u64) -> Vec<u8> {
    let mut bytes = [len.to_le_bytes(), operation.to_le_bytes()].concat();
    bytes.extend(7u64.to_le_bytes());
    bytes.extend(node.to_le_bytes());
    bytes.extend([0; 16]);
    bytes
}

#[test]
fn requests_lie_as_the_protocol_says() {
    let lookup = written(5, Operation::Lookup { name: b"etc" });
    assert_eq!(lookup, [head(44, 1, 5), b"etc\0".to_vec()].concat());
    let rename = written(5, Operation::Rename { name: b"a", to: 9, new_name: b"bc", flags: 1 });
    assert_eq!(rename, [head(61, 45, 5), b"\x09\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0a\0bc\0".to_vec()].concat());
    let write = written(
        5,
        Operation::Write { handle: 3, offset: 4, count: 0x1000, flags: coracle_wire::open::APPEND },
    );
    assert_eq!(write.len(), DATA_HEAD_BYTES);
    assert_eq!(write[..40], head((DATA_HEAD_BYTES + 0x1000) as u32, 16, 5));
    // fh, offset, size, write_flags, lock_owner, flags, padding
    let body: Vec<u64> = [3, 4, 0x1000, 0, 0o2000].to_vec();
    assert_eq!(write[40..], body.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>());
    let read = written(5, Operation::Read { handle: 3, offset: 4, count: 9 });
    assert_eq!((read.len(), &read[..40]), (DATA_HEAD_BYTES, &*head(80, 15, 5)));
    let init = written(0, Operation::Init { options: 0x21 });
    assert_eq!(init, [head(56, 26, 0), b"\x07\0\0\0\x1f\0\0\0\0\0\0\0\x21\0\0\0".to_vec()].concat());
    let set = written(
        5,
        Operation::SetAttributes {
            valid: change::MODE | change::MODIFIED,
            handle: 0,
            mode: 0o644,
            uid: 1,
            gid: 2,
            size: 0,
            accessed: Time::default(),
            modified: Time { seconds: -1, nanoseconds: 5 },
        },
    );
    assert_eq!(set.len(), 40 + 88);
    assert_eq!((&set[40 + 40..40 + 48], &set[40 + 60..40 + 64]), (&[0xff; 8][..], &[5, 0, 0, 0][..]));
    assert_eq!(set[40 + 68..40 + 72], 0o644u32.to_le_bytes());
    assert_eq!((set[40 + 76], set[40 + 80]), (1, 2));
}

#[test]
fn what_does_not_fit_is_not_written() {
    let request = Request { node: 1, operation: Operation::Lookup { name: b"name" } };
    assert_eq!(request.write(1, &mut [0; 44]), None, "the zero behind the name");
    assert_eq!(request.write(1, &mut [0; 45]), Some(45));
    assert_eq!(request.write(1, &mut []), None);
    let zero = Request { node: 1, operation: Operation::Lookup { name: b"a\0b" } };
    assert_eq!(zero.write(1, &mut [0; 100]), None);
    let (name, target) = ([b'n'; 255], [b't'; 4095]);
    let longest = Request { node: 1, operation: Operation::Symlink { name: &name, target: &target } };
    assert_eq!(longest.write(1, &mut [0; LONGEST_REQUEST]), Some(LONGEST_REQUEST));
}

fn reply(number: u64, error: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32 + 16).to_le_bytes().to_vec();
    bytes.extend(error.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend(body);
    bytes
}

fn opened(bytes: &[u8], written: usize, number: u64) -> Result<usize, Failure> {
    open_reply(bytes, written, number).map(|(_, len)| len)
}

#[test]
fn answers_are_the_request_s() {
    let good = reply(9, 0, b"abc");
    assert_eq!(opened(&good, good.len(), 9), Ok(3));
    assert_eq!(opened(&good, good.len(), 8), Err(Failure::Malformed), "another number");
    assert_eq!(opened(&good, good.len() - 1, 9), Err(Failure::Malformed), "not all of it");
    assert_eq!(opened(&good[..16], good.len(), 9), Ok(3), "data that lie elsewhere");
    let error = reply(9, -2, b"");
    assert_eq!(opened(&error, error.len(), 9), Err(Failure::Error(2)));
    for number in [1, -512, i32::MIN, i32::MAX] {
        let error = reply(9, number, b"");
        assert_eq!(opened(&error, error.len(), 9), Err(Failure::Malformed), "{number}");
    }
}

#[test]
fn entries_end_at_what_is_no_name() {
    let entry = |name: &[u8]| {
        let mut bytes = [3u64.to_le_bytes(), 5u64.to_le_bytes()].concat();
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend(8u32.to_le_bytes());
        bytes.extend(name);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    };
    for bad in [b"".as_slice(), b"a/b", b"a\0b"] {
        let bytes = [entry(b"one"), entry(b"eight888"), entry(bad), entry(b"two")].concat();
        let names: Vec<_> = Entries(Reader::new(&bytes)).map(|entry| entry.name).collect();
        assert_eq!(names, [b"one".as_slice(), b"eight888"]);
    }
    let mut long = entry(b"name");
    long[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(Entries(Reader::new(&long)).next().is_none());
    let whole = entry(b"name");
    assert!((0..ONE_ENTRY_BYTES + 4).all(|len| Entries(Reader::new(&whole[..len])).next().is_none()));
}

proptest! {
    #[test]
    fn nothing_leaves_the_answer(bytes: Vec<u8>, written: usize, number: u64) {
        if let Ok((body, len)) = open_reply(&bytes, written, number) {
            prop_assert!(body.rest().len() + 16 <= bytes.len() && len <= written);
        }
        let body = Reader::new(&bytes);
        let _ = (Attributes::read_alone(&mut body.clone()), Statistics::read(&mut body.clone()));
        let _ = (Found::read(&mut body.clone()), Init::read(&mut body.clone()));
        let names = Entries(body).map(|entry| entry.name.len()).sum::<usize>();
        prop_assert!(names <= bytes.len());
    }

    #[test]
    fn any_reply_with_this_number_is_opened(error in -511i32..0, number: u64, body: Vec<u8>) {
        let good = reply(number, 0, &body);
        prop_assert_eq!(opened(&good, good.len(), number), Ok(body.len()));
        let bad = reply(number, error, &[]);
        prop_assert_eq!(opened(&bad, bad.len(), number), Err(Failure::Error(-error as u16)));
    }

    #[test]
    fn a_node_s_parts_are_read_back(node in 1u64.., size: u64, mode: u32, seconds: i64, nanoseconds in 0u32..1_000_000_000) {
        let mut bytes = node.to_le_bytes().to_vec();
        bytes.extend([0; 32]);
        bytes.extend([77u64.to_le_bytes(), size.to_le_bytes(), [0; 8]].concat());
        (0..3).for_each(|_| bytes.extend(seconds.to_le_bytes()));
        (0..3).for_each(|_| bytes.extend(nanoseconds.to_le_bytes()));
        bytes.extend(mode.to_le_bytes());
        bytes.extend([0; 24]);
        let found = Found::read(&mut Reader::new(&bytes)).unwrap();
        let attributes = found.attributes;
        prop_assert_eq!((found.node, attributes.inode, attributes.size, attributes.mode), (node, 77, size, mode));
        prop_assert_eq!((attributes.modified, attributes.changed), (Time { seconds, nanoseconds }, attributes.accessed));
        prop_assert!(Found::read(&mut Reader::new(&bytes[..bytes.len() - 1])).is_none());
        bytes[..8].fill(0);
        prop_assert!(Found::read(&mut Reader::new(&bytes)).is_none(), "no node has the number 0");
    }

    #[test]
    fn a_request_s_size_is_its_bytes(name in proptest::collection::vec(1u8.., 0..300), node: u64, room in 0usize..400) {
        let mut buffer = vec![0; room];
        let request = Request { node, operation: Operation::Mkdir { name: &name, mode: 0o755 } };
        let needed = 40 + 8 + name.len() + 1;
        match request.write(1, &mut buffer) {
            Some(len) => {
                prop_assert_eq!((len, u32::from_le_bytes(buffer[..4].try_into().unwrap()) as usize), (needed, needed));
            }
            None => prop_assert!(needed > room),
        }
    }
}
