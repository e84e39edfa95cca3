//! The options of an overlay that a program mounts (Linux's Documentation/filesystems/overlayfs.rst).
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_fallible::Text;
use coracle_fallible::prelude::*;

/// See the module.
#[derive(Default)]
pub struct Options {
    /// Paths of the layers below, the upper ones first.
    pub lower: Vec<Vec<u8>>,
    /// The path of the directory over them.
    pub upper: Option<Vec<u8>>,
    /// The path of the directory in which its files are made.
    pub work: Option<Vec<u8>>,
    /// `redirect_dir=on`.
    pub(super) redirects: bool,
    /// `userxattr`.
    pub(super) user_names: bool,
}

impl Options {
    /// Options with commas between them. EINVAL, ENOMEM.
    pub fn parse(text: &[u8]) -> Result<Options, Errno> {
        let mut options = Options::default();
        for option in pieces(text, b',')?.iter().filter(|option| !option.is_empty()) {
            let end = option.iter().position(|&byte| byte == b'=');
            let (key, value) = (&option[..end.unwrap_or(option.len())], end.map(|end| &option[end + 1..]));
            let path = || value.filter(|value| !value.is_empty()).ok_or(Errno::INVAL);
            match (key, value) {
                (b"lowerdir", _) => {
                    options.lower = pieces(path()?, b':')?;
                    if options.lower.iter().any(|path| path.is_empty()) {
                        return Err(Errno::INVAL);
                    }
                }
                (b"lowerdir+", _) => options.lower.try_push(path()?.try_to_vec()?)?,
                (b"upperdir", _) => options.upper = Some(path()?.try_to_vec()?),
                (b"workdir", _) => options.work = Some(path()?.try_to_vec()?),
                (b"redirect_dir", Some(b"on")) => options.redirects = true,
                (b"redirect_dir", Some(b"off" | b"follow" | b"nofollow")) => options.redirects = false,
                (b"userxattr", None) => options.user_names = true,
                // What these would do to the layers is left undone, as on Linux where a layer does not allow it.
                (b"index" | b"nfs_export" | b"metacopy", Some(b"on" | b"off"))
                | (b"xino", Some(b"on" | b"off" | b"auto"))
                | (b"uuid", Some(b"on" | b"off" | b"null" | b"auto"))
                | (b"verity", Some(b"off"))
                | (b"volatile" | b"default_permissions", None) => {}
                _ => return Err(Errno::INVAL),
            }
        }
        Ok(options)
    }

    /// EINVAL for what does not go together.
    pub fn check(&self) -> Result<(), Errno> {
        let is_whole = !self.lower.is_empty() && (self.upper.is_none() || self.work.is_some());
        if is_whole && !(self.user_names && self.redirects) { Ok(()) } else { Err(Errno::INVAL) }
    }

    /// As /proc/mounts shows them.
    pub(super) fn shown(&self) -> Result<Text, Errno> {
        let mut text = Text::new();
        for (index, path) in self.lower.iter().enumerate() {
            text.push(if index == 0 { b",lowerdir=" } else { b":" })?;
            escaped(&mut text, path)?;
        }
        if let (Some(upper), Some(work)) = (&self.upper, &self.work) {
            text.push(b",upperdir=")?;
            escaped(&mut text, upper)?;
            text.push(b",workdir=")?;
            escaped(&mut text, work)?;
        }
        if self.redirects {
            text.push(b",redirect_dir=on")?;
        }
        if self.user_names {
            text.push(b",userxattr")?;
        }
        Ok(text)
    }
}

/// Parts between separators that have no backslash before them. Backslashes stay where they hide something else.
fn pieces(text: &[u8], separator: u8) -> Result<Vec<Vec<u8>>, Errno> {
    let (mut pieces, mut piece) = (Vec::new(), Vec::new());
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte == b'\\' && bytes.peek() == Some(&separator) {
            piece.try_push(separator)?;
            bytes.next();
        } else if byte == separator {
            pieces.try_push(core::mem::take(&mut piece))?;
        } else {
            piece.try_push(byte)?;
        }
    }
    pieces.try_push(piece)?;
    Ok(pieces)
}

/// Writes a path as it is shown, with blanks, commas and backslashes as octal numbers (Linux's `seq_show_option`).
fn escaped(text: &mut Text, path: &[u8]) -> Result<(), Errno> {
    for &byte in path {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\\' | b',' | b'#') {
            write!(text, "\\{byte:03o}")?;
        } else {
            text.push(&[byte])?;
        }
    }
    Ok(())
}
