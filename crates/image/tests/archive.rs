//! Laws of the archive: what is written is read back; foreign bytes never panic.

use std::collections::BTreeMap;

use coracle_image::archive::{Archive, InodeId};
use coracle_image::write::{Builder, Meta, Node, Settings, Tree, seal};
use coracle_image::{MAGIC, Mode, PAGE_SIZE, User};
use proptest::prelude::*;

/// Walks everything that can be reached, as a kernel would, and returns the files found.
fn walk(archive: &Archive<'_>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    /// Foreign bytes may make directories that hold themselves.
    const DEPTH: usize = 6;
    /// Foreign bytes may make directories with as many entries as there are bytes.
    const ENTRIES: usize = 64;
    fn visit(
        archive: &Archive<'_>,
        id: InodeId,
        path: &[u8],
        depth: usize,
        out: &mut BTreeMap<Vec<u8>, Vec<u8>>,
    ) {
        let Ok(inode) = archive.inode(id) else { return };
        let (data, link) = (archive.data(&inode), archive.symlink(&inode));
        let _ = archive.data_offset(&inode);
        if let Ok(bytes) = data.or(link) {
            out.insert(path.to_vec(), bytes.to_vec());
        }
        if depth == DEPTH || !inode.is_dir() {
            return;
        }
        for entry in archive.entries(&inode).take(ENTRIES).flatten() {
            let _ = archive.lookup(&inode, entry.name);
            visit(archive, entry.inode, &[path, b"/", entry.name].concat(), depth + 1, out);
        }
    }
    let mut out = BTreeMap::new();
    visit(archive, InodeId::ROOT, b"", 0, &mut out);
    let config = archive.config();
    let _ = (
        config.program(),
        config.args().count(),
        config.fixed_args(),
        config.env().count(),
        config.cwd(),
        config.mode(),
        config.capabilities().count(),
    );
    let _ = (config.user(), config.hostname(), config.kernel_version(), config.memory());
    for index in 0..archive.symbols().len().min(ENTRIES) {
        let _ = archive.symbols().get(index).map(|symbol| symbol.name.to_string());
        let _ = archive.symbols().lookup(index as u32);
    }
    out
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::collection::vec(prop_oneof![b'a'..=b'd', Just(0xff)], 1..3);
    prop::collection::vec(name, 1..4)
        .prop_map(|names| names.iter().flat_map(|name| [b"/", name.as_slice()].concat()).collect())
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        (PAGE_SIZE - 2..3 * PAGE_SIZE).prop_map(|length| (0..length).map(|i| i as u8 | 1).collect()),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(files in prop::collection::vec((path(), data(), any::<bool>()), 0..20)) {
        let mut tree = Tree::new();
        let mut expected = BTreeMap::new();
        for (path, data, link) in files {
            let meta = Meta { permissions: 0o640, uid: 3, gid: 4, mtime: -5, mtime_nsec: 6 };
            let node = if link { Node::Symlink(meta, data.clone()) } else { Node::File(meta, data.clone().into()) };
            if tree.insert(&path, node).is_ok() {
                expected.insert(path, data);
            }
        }
        let bytes = Builder { tree, ..Builder::default() }.finish().unwrap();
        prop_assert_eq!(bytes.len() % PAGE_SIZE, 0);
        let archive = Archive::parse(&bytes).unwrap();
        prop_assert_eq!(walk(&archive), expected.clone());
        for (path, data) in &expected {
            let inode = archive.find(path).unwrap().unwrap();
            prop_assert_eq!((inode.uid, inode.gid, inode.mtime, inode.mtime_nsec), (3, 4, -5, 6));
            prop_assert_eq!(inode.mode & 0o7777, 0o640);
            if inode.is_file() && data.len() >= PAGE_SIZE {
                let offset = archive.data_offset(&inode).unwrap() as usize;
                prop_assert_eq!(offset % PAGE_SIZE, 0);
                let end = offset + data.len();
                prop_assert!(bytes[end..end.next_multiple_of(PAGE_SIZE)].iter().all(|&byte| byte == 0));
            }
        }
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(archive) = Archive::parse(&bytes) {
            walk(&archive);
        }
    }

    /// Every table and offset of a true archive, bent, under a checksum that holds.
    #[test]
    fn damaged_archives_never_panic(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        let mut bytes = sample();
        let end = bytes.len().min(1024);
        for (at, byte) in damage {
            bytes[MAGIC.len()..end][at.index(end - MAGIC.len())] = byte;
        }
        seal(&mut bytes);
        if let Ok(archive) = Archive::parse(&bytes) {
            walk(&archive);
        }
    }
}

fn sample() -> Vec<u8> {
    let mut tree = Tree::new();
    tree.insert(b"/bin/app", Node::File(Meta::root(0o755), vec![7; 5000].into())).unwrap();
    tree.insert(b"/bin/small", Node::File(Meta::root(0o644), vec![1, 2, 3].into())).unwrap();
    tree.insert(b"/lib", Node::Symlink(Meta::root(0o777), b"usr/lib".to_vec())).unwrap();
    Builder {
        tree,
        settings: Settings {
            program: b"/bin/app".to_vec(),
            args: vec![b"app".to_vec(), b"-x".to_vec()],
            more_fixed_args: 1,
            env: vec![b"A=1".to_vec()],
            mode: Mode::Protected,
            user: Some(User { uid: 5, gid: 6 }),
            hostname: Some(b"boat".to_vec()),
            kernel_version: "0.1.0".into(),
            memory: Some(1 << 26),
            ..Settings::default()
        },
        symbols: vec![(0x40, "two".into()), (0x10, "one".into())],
    }
    .finish()
    .unwrap()
}

#[test]
fn settings_and_symbols() {
    let bytes = sample();
    let archive = Archive::parse(&bytes).unwrap();
    let config = archive.config();
    assert_eq!(config.program(), b"/bin/app");
    assert_eq!(config.args().collect::<Vec<_>>(), [b"app".as_slice(), b"-x"]);
    assert_eq!(config.fixed_args(), 2);
    assert_eq!(config.env().collect::<Vec<_>>(), [b"A=1"]);
    assert_eq!((config.cwd(), config.mode()), (b"/".as_slice(), Mode::Protected));
    assert_eq!((config.hostname(), config.kernel_version()), (Some(b"boat".as_slice()), Some("0.1.0")));
    assert_eq!(config.user(), User { uid: 5, gid: 6 });
    assert_eq!(config.memory(), Some(1 << 26));
    let name = |offset| archive.symbols().lookup(offset).map(|symbol| symbol.name.to_string());
    let names = [name(0), name(0x10), name(0x3f), name(0x40), name(u32::MAX)];
    assert_eq!(
        names.each_ref().map(Option::as_deref),
        [None, Some("one"), Some("one"), Some("two"), Some("two")]
    );
}

proptest! {
    #[test]
    fn names_of_symbols_come_back(names in prop::collection::vec("[ab]{0,3}(ä|::){0,2}[ab]{0,300}", 0..80)) {
        let symbols: Vec<_> = names.iter().zip((0..).step_by(8)).map(|(name, at)| (at, name.clone())).collect();
        let bytes = Builder { symbols, ..Builder::default() }.finish().unwrap();
        let archive = Archive::parse(&bytes).unwrap();
        prop_assert_eq!(archive.symbols().len(), names.len());
        for (name, at) in names.iter().zip((0..).step_by(8)) {
            let found = archive.symbols().lookup(at + 7).map(|symbol| (symbol.start, symbol.name.to_string()));
            prop_assert_eq!(found, Some((at, name.clone())));
        }
    }
}

#[test]
fn capabilities_go_with_their_file() {
    let mut tree = Tree::new();
    let file = |fill: u8| Node::File(Meta::root(0o755), vec![fill; 50].into());
    for path in [b"/bin/a", b"/bin/b", b"/bin/c"] {
        tree.insert(path, file(path[5])).unwrap();
        tree.set_capabilities(path, vec![path[5]; 20]);
    }
    // Another file at the same place has none.
    tree.insert(b"/bin/b", file(0)).unwrap();
    tree.set_capabilities(b"/bin/absent", vec![1; 20]);
    let bytes = Builder { tree, ..Builder::default() }.finish().unwrap();
    let archive = Archive::parse(&bytes).unwrap();
    let all: Vec<_> = archive.config().capabilities().collect();
    assert_eq!(all.len(), 2);
    for (number, value) in all {
        let data = archive.data(&archive.inode(InodeId(number)).unwrap()).unwrap();
        assert_eq!((data[0], value.len()), (value[0], 20));
    }
}

#[test]
fn a_damaged_header_is_told() {
    use coracle_image::Error;
    let bytes = sample();
    assert_eq!(Archive::parse(b"ELF").unwrap_err(), Error::NotAnArchive);
    assert_eq!(Archive::parse(&bytes[..100]).unwrap_err(), Error::Truncated);
    assert_eq!(Archive::parse(&bytes[..bytes.len() - 1]).unwrap_err(), Error::Truncated);
    let mut bent = bytes.clone();
    bent[40] ^= 1;
    assert_eq!(Archive::parse(&bent).unwrap_err(), Error::Checksum);
    bent = bytes;
    bent[8] = 9;
    assert_eq!(Archive::parse(&bent).unwrap_err(), Error::Version(9));
}

#[test]
fn a_tree_refuses_what_cannot_be() {
    let file = || Node::File(Meta::root(0o644), vec![].into());
    let mut tree = Tree::new();
    tree.insert(b"/a", file()).unwrap();
    assert!(tree.insert(b"/a/b", file()).is_err());
    assert!(tree.insert(b"relative", file()).is_err());
    assert!(tree.insert(b"/x/../y", file()).is_err());
    assert!(tree.insert(b"/", file()).is_err());
}

#[test]
fn every_changed_bit_is_found() {
    use coracle_crc32c::crc32c;
    use coracle_image::Error;
    let good = sample();
    let check = |bytes: &[u8]| -> Result<(), Error> {
        let archive = Archive::parse(bytes)?;
        archive.check_table(crc32c)?;
        (0..archive.pages()).try_for_each(|page| archive.check_page(page, crc32c))
    };
    assert_eq!(check(&good), Ok(()));
    let archive = Archive::parse(&good).unwrap();
    let table = archive.pages() * PAGE_SIZE;
    // Behind the header's own checksum and behind the table is padding.
    let padding = |at: usize| (164..176).contains(&at) || at >= table + 4 * archive.pages();
    let page = 2 * PAGE_SIZE;
    for at in (0..PAGE_SIZE).chain(page..page + 64).chain(table..good.len()).filter(|&at| !padding(at)) {
        let mut bent = good.clone();
        bent[at] ^= 1 << (at % 8);
        let found = check(&bent);
        assert!(found.is_err(), "byte {at}");
        if at >= 176 && at < table {
            assert_eq!(found, Err(Error::Page(at / PAGE_SIZE)));
        }
    }
    let app = archive.data_offset(&archive.find(b"/bin/app").unwrap().unwrap()).unwrap() as usize / PAGE_SIZE;
    assert_eq!(archive.names_in_page(app + 1).collect::<Vec<_>>(), [b"app"]);
    assert_eq!(archive.names_in_page(archive.pages()).count(), 0);
}
