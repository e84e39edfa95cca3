//! Walks whatever the bytes describe, as the kernel would.
#![no_main]

use coracle_image::archive::{Archive, InodeId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(archive) = Archive::parse(bytes) else { return };
    for id in 0..archive.inode_count().min(256) {
        let Ok(inode) = archive.inode(InodeId(id)) else { continue };
        let _ = (archive.data(&inode), archive.symlink(&inode), archive.lookup(&inode, b"etc"));
        for entry in archive.entries(&inode).take(64).flatten() {
            let _ = archive.lookup(&inode, entry.name);
        }
    }
    let config = archive.config();
    let _ = (config.program(), config.args().count(), config.env().count(), config.mode(), config.memory());
    for index in 0..archive.symbols().len().min(64) {
        let _ = archive.symbols().get(index).and_then(|symbol| archive.symbols().lookup(symbol.start));
    }
});
