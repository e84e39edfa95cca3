//! Messages lie as the protocol says, and no bytes of a server do harm.
use coracle_p9::*;
use proptest::prelude::*;

#[test]
fn requests_lie_as_the_protocol_says() {
    let mut buffer = [0; 64];
    let walk = Request::Walk { fid: 1, new: 2, name: Some(b"etc") };
    let len = walk.write(7, &mut buffer).unwrap();
    // size[4] Twalk tag[2] fid[4] newfid[4] nwname[2] nwname*(wname[s])
    assert_eq!(&buffer[..len], b"\x16\0\0\0\x6e\x07\0\x01\0\0\0\x02\0\0\0\x01\0\x03\0etc");
    let write = Request::Write { fid: 3, offset: 4, count: 0x1000 };
    assert_eq!(write.write(0, &mut buffer), Some(DATA_HEAD_BYTES));
    assert_eq!(u32::from_le_bytes(buffer[..4].try_into().unwrap()) as usize, DATA_HEAD_BYTES + 0x1000);
    let version = Request::Version { most_bytes: 8192 };
    let len = version.write(NO_TAG, &mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"\x15\0\0\0\x64\xff\xff\0\x20\0\0\x08\09P2000.L");
    assert_eq!(walk.write(7, &mut buffer[..20]), None, "it does not fit");
    assert_eq!(walk.write(7, &mut []), None);
}

#[test]
fn the_longest_request_fits() {
    let (name, target) = ([b'n'; 255], [b't'; 4095]);
    let request = Request::Symlink { directory: 1, name: &name, target: &target, gid: 0 };
    assert_eq!(request.write(1, &mut [0; LONGEST_REQUEST]), Some(LONGEST_REQUEST));
}

fn reply(kind: u8, tag: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32 + 7).to_le_bytes().to_vec();
    bytes.push(kind);
    bytes.extend(tag.to_le_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn answers_are_the_request_s() {
    let clunk = Request::Clunk { fid: 1 }.kind();
    let good = reply(clunk + 1, 9, &[]);
    assert!(open_reply(&good, good.len(), clunk, 9).is_ok());
    assert_eq!(open_reply(&good, good.len(), clunk, 8).unwrap_err(), Failure::Malformed, "another tag");
    assert_eq!(open_reply(&good, good.len() - 1, clunk, 9).unwrap_err(), Failure::Malformed, "not all of it");
    let other = reply(clunk + 3, 9, &[]);
    assert_eq!(open_reply(&other, other.len(), clunk, 9).unwrap_err(), Failure::Malformed);
    let error = reply(7, 9, &2u32.to_le_bytes());
    assert_eq!(open_reply(&error, error.len(), clunk, 9).unwrap_err(), Failure::Error(2));
    for number in [0u32, 512, u32::MAX] {
        let error = reply(7, 9, &number.to_le_bytes());
        assert_eq!(open_reply(&error, error.len(), clunk, 9).unwrap_err(), Failure::Malformed, "{number}");
    }
}

#[test]
fn data_of_an_answer_may_lie_elsewhere() {
    let read = Request::Read { fid: 1, offset: 0, count: 100 }.kind();
    let mut all = reply(read + 1, 1, &[&100u32.to_le_bytes()[..], &[0; 100]].concat());
    let written = all.len();
    all.truncate(REPLY_HEAD_BYTES);
    assert_eq!(open_reply(&all, written, read, 1).unwrap().u32(), Some(100));
}

#[test]
fn entries_end_at_what_is_no_name() {
    let entry = |name: &[u8]| {
        let mut bytes = vec![0; Qid::BYTES];
        bytes.extend(5u64.to_le_bytes());
        bytes.push(8);
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend(name);
        bytes
    };
    for bad in [b"".as_slice(), b"a/b", b"a\0b"] {
        let bytes = [entry(b"one"), entry(bad), entry(b"two")].concat();
        let names: Vec<_> = Entries(Reader::new(&bytes)).map(|entry| entry.name).collect();
        assert_eq!(names, [b"one"]);
    }
    let whole = entry(b"name");
    assert_eq!(whole.len(), LIST_ENTRY_BYTES + 4);
    assert!((0..whole.len()).all(|len| Entries(Reader::new(&whole[..len])).next().is_none()));
}

proptest! {
    #[test]
    fn nothing_leaves_the_answer(bytes: Vec<u8>, written: usize, kind in 0u8..250, tag: u16) {
        if let Ok(mut body) = open_reply(&bytes, written, kind, tag) {
            prop_assert!(body.rest().len() + 7 <= bytes.len());
            let _ = (Attributes::read(&mut body.clone()), Statistics::read(&mut body.clone()));
            let _ = Entries(body.clone()).map(|entry| entry.name.len()).sum::<usize>();
            let _ = body.text();
        }
    }

    #[test]
    fn an_answer_s_parts_are_read_back(size: u64, mode: u32, seconds: i64, nanoseconds in 0u32..1_000_000_000) {
        let mut bytes = vec![0; 8 + Qid::BYTES];
        bytes.extend(mode.to_le_bytes());
        bytes.extend([0; 8 + 8 + 8]);
        bytes.extend(size.to_le_bytes());
        bytes.extend([0; 16]);
        for _ in 0..4 {
            bytes.extend(seconds.to_le_bytes());
            bytes.extend(u64::from(nanoseconds).to_le_bytes());
        }
        bytes.extend([0; 16]);
        let read = Attributes::read(&mut Reader::new(&bytes)).unwrap();
        prop_assert_eq!((read.size, read.mode, read.modified), (size, mode, Time { seconds, nanoseconds }));
        prop_assert_eq!(read.created, read.modified);
    }

    #[test]
    fn a_request_s_size_is_its_bytes(name: Vec<u8>, fid: u32, room in 0usize..300) {
        let mut buffer = vec![0; room];
        let request = Request::Mkdir { directory: fid, name: &name, mode: 0o755, gid: 0 };
        let needed = 7 + 4 + 2 + name.len() + 8;
        match request.write(1, &mut buffer) {
            Some(len) => {
                prop_assert_eq!((len, u32::from_le_bytes(buffer[..4].try_into().unwrap()) as usize), (needed, needed));
            }
            None => prop_assert!(needed > room),
        }
    }
}
