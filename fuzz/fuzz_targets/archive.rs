//! Walks whatever the bytes describe, as the kernel would: the bytes themselves, and a true archive that they change.
//!
//! An odd first byte says that the rest is a list of changes: where (two bytes), and what to write there. The header is
//! then given its checksum, which no fuzzer guesses.
#![no_main]

use coracle_image::archive::{Archive, InodeId};
use coracle_image::write::{Builder, Meta, Node, Settings, Tree, seal};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static TRUE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut tree = Tree::new();
    let mut add = |path: &[u8], node| tree.insert(path, node).expect("a path");
    add(b"/bin/app", Node::File(Meta::root(0o755), vec![7; 5000].into()));
    add(b"/etc/hosts", Node::File(Meta::root(0o644), vec![1, 2, 3].into()));
    add(b"/lib", Node::Symlink(Meta::root(0o777), b"usr/lib".to_vec()));
    let settings = Settings {
        program: b"/bin/app".to_vec(),
        args: vec![b"app".to_vec()],
        env: vec![b"A=1".to_vec()],
        memory: Some(1 << 26),
        ..Settings::default()
    };
    Builder { tree, settings, symbols: vec![(0x10, "one".into()), (0x40, "two".into())] }.finish().unwrap()
});

fn walk(bytes: &[u8]) {
    let Ok(archive) = Archive::parse(bytes) else { return };
    for id in 0..archive.inode_count().min(256) {
        let Ok(inode) = archive.inode(InodeId(id)) else { continue };
        let _ = (archive.data(&inode), archive.symlink(&inode), archive.lookup(&inode, b"etc"));
        for entry in archive.entries(&inode).take(64).flatten() {
            let _ = archive.lookup(&inode, entry.name);
        }
    }
    let _ = (archive.find(b"/etc/hosts"), archive.find(b"/lib/x"));
    let config = archive.config();
    let _ = (config.program(), config.args().count(), config.env().count(), config.mode(), config.memory());
    let _ = (config.user(), config.hostname(), config.kernel_version(), config.cwd(), config.fixed_args());
    for index in 0..archive.symbols().len().min(64) {
        let Some(symbol) = archive.symbols().get(index) else { continue };
        let _ = (symbol.name.to_string(), archive.symbols().lookup(symbol.start));
    }
}

fuzz_target!(|bytes: &[u8]| {
    match bytes {
        [how, changes @ ..] if how & 1 == 1 => {
            let mut archive = TRUE.clone();
            for change in changes.chunks_exact(3) {
                let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % archive.len();
                archive[at] = change[2];
            }
            seal(&mut archive);
            walk(&archive);
        }
        _ => walk(bytes),
    }
});
