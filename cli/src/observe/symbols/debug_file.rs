//! Debug information in files of its own, as distributions ship it: found by the build identifier, or by the link in the program
//! (GDB's manual, "Debugging Information in Separate Files").

use std::path::{Path, PathBuf};

use object::Object as _;

/// Where distributions put such files.
const GLOBAL: &str = "/usr/lib/debug";

/// The file with the debug information of a program or library at `path`.
pub fn of(file: &object::File<'_>, path: Option<&Path>) -> Option<Vec<u8>> {
    let id = file.build_id().ok().flatten();
    if let Some(found) = id.and_then(|id| read(&by_id(id)?).filter(|bytes| has_id(bytes, id))) {
        return Some(found);
    }
    let (name, sum) = file.gnu_debuglink().ok().flatten()?;
    let name = std::str::from_utf8(name).ok()?;
    let folder = path?.parent()?;
    // A link without a checksum of what is there leads nowhere.
    beside(folder, name).iter().find_map(|path| read(path).filter(|bytes| crc32(bytes) == sum))
}

/// The file of what several files of debug information have in common (`dwz -m`).
pub fn supplement(file: &object::File<'_>) -> Option<Vec<u8>> {
    let (name, id) = file.gnu_debugaltlink().ok().flatten()?;
    let name = Path::new(std::str::from_utf8(name).ok()?);
    let places = [by_id(id), Some(Path::new(GLOBAL).join(name.strip_prefix("/").unwrap_or(name)))];
    places.into_iter().flatten().find_map(|path| read(&path).filter(|bytes| has_id(bytes, id)))
}

fn read(path: &Path) -> Option<Vec<u8>> {
    std::fs::read(path).ok()
}

/// `/usr/lib/debug/.build-id/ab/cdef.debug`
fn by_id(id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = id.split_first().filter(|(_, rest)| !rest.is_empty())?;
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Path::new(GLOBAL).join(format!(".build-id/{first:02x}/{rest}.debug")))
}

fn has_id(bytes: &[u8], id: &[u8]) -> bool {
    object::File::parse(bytes).is_ok_and(|file| file.build_id().ok().flatten() == Some(id))
}

/// Where a file that is linked to may be.
fn beside(folder: &Path, name: &str) -> [PathBuf; 3] {
    let global = Path::new(GLOBAL).join(folder.strip_prefix("/").unwrap_or(folder));
    [folder.join(name), folder.join(".debug").join(name), global.join(name)]
}

/// The checksum of a link's file: CRC-32 of ISO 3309.
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        assert_eq!(by_id(&[0xab, 0x01, 0xff]).unwrap(), Path::new("/usr/lib/debug/.build-id/ab/01ff.debug"));
        assert_eq!(by_id(&[1]), None);
        let all = beside(Path::new("/usr/bin"), "x.debug");
        assert_eq!(all[1], Path::new("/usr/bin/.debug/x.debug"));
        assert_eq!(all[2], Path::new("/usr/lib/debug/usr/bin/x.debug"));
        // The check value of this CRC.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
