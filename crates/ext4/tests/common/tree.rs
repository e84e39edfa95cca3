//! A file system beside a directory of this machine.
use super::{content, names};
use coracle_ext4::FileSystem;
use std::path::Path;

/// Compares a file or directory with all in it, but for `lost+found`.
pub fn compare(fs: &mut FileSystem, inode: u32, path: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::symlink_metadata(path).unwrap();
    let attributes = fs.attributes(inode).unwrap();
    assert_eq!(u32::from(attributes.mode), metadata.mode(), "{}", path.display());
    assert_eq!((attributes.uid, attributes.gid), (metadata.uid(), metadata.gid()));
    if metadata.is_dir() {
        let mut expected: Vec<_> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_encoded_bytes())
            .collect();
        expected.retain(|name| name != b"lost+found");
        expected.sort();
        let found: Vec<_> = names(fs, inode).into_iter().filter(|(name, _)| name != b"lost+found").collect();
        assert_eq!(found.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), expected);
        for (name, child) in found {
            assert_eq!(fs.lookup(inode, &name).unwrap(), child);
            compare(fs, child, &path.join(std::str::from_utf8(&name).unwrap()));
        }
    } else if metadata.is_symlink() {
        let mut target = vec![0; 5000];
        let len = fs.read_link(inode, &mut target).unwrap();
        assert_eq!(&target[..len], std::fs::read_link(path).unwrap().into_os_string().as_encoded_bytes());
    } else if metadata.is_file() {
        assert_eq!(u64::from(attributes.links), metadata.nlink());
        assert_eq!(attributes.modified.seconds, metadata.mtime());
        let expected = std::fs::read(path).unwrap();
        let found = content(fs, inode);
        let differs = found.iter().zip(&expected).position(|(found, expected)| found != expected);
        assert_eq!((found.len(), differs), (expected.len(), None), "{}", path.display());
        // The same in pieces that begin and end anywhere.
        for (at, len) in
            [(0, 10), (1000, 3000), (4090, 10), (4096, 8192), (90_000, 20_000), (6_000_000, 5000)]
        {
            let end = expected.len().min(at + len);
            let mut bytes = vec![0xaa; len];
            let len = fs.read(inode, at as u64, &mut bytes).unwrap();
            assert_eq!(bytes[..len], expected[at.min(end)..end]);
        }
    }
}
