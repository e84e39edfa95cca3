//! What made files are made from: tables of names with their texts, settings and links.
use alloc::boxed::Box;
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::file::File;
use coracle_core::fs::inode::Link;
use coracle_core::fs::mount::Place;
use coracle_core::task::process::Process;
use coracle_fallible::{NoMemory, Text, try_box};
use core::fmt::{Display, Write as _};
use linux_raw_sys::general::{S_IFDIR, S_IFLNK, S_IFREG};

/// An item of a static table; `C` is whom it is about.
pub enum Item<C: 'static> {
    /// A read-only file that always says the same.
    Fixed(&'static str),
    /// A read-only file with one line, which always says the same.
    Line(&'static (dyn Display + Sync)),
    /// A file with one line, which takes writes and goes on saying the same: they change nothing on this kernel.
    Ignored(&'static (dyn Display + Sync)),
    /// A read-only file: writes its text.
    Text(MakeText<C>),
    /// A read-only file whose text may be long: made piece by piece, as it is read.
    Pieces(fn(&C, u64, &mut Text) -> Piece),
    /// A file that takes writes: its text, and what a write does.
    Setting(MakeText<C>, fn(&C, &[u8]) -> Result<(), Errno>),
    /// A file that has bytes of its own making, to be read and written.
    Opened(fn(&C, Place) -> Opened),
    /// A symbolic link.
    Link(fn(&C) -> Result<Link, Errno>),
    /// A directory of further items.
    Directory(Table<C>),
    /// A directory with entries of its own making.
    Dynamic(fn(&C) -> Result<Box<dyn Directory>, NoMemory>),
}

/// A file that was opened.
pub type Opened = Result<Arc<dyn File>, Errno>;

/// Appends the text of a file.
type MakeText<C> = fn(&C, &mut Text) -> Result<(), NoMemory>;

/// Names and items of a directory.
pub type Table<C> = &'static [(&'static str, Item<C>)];

/// Position of the piece of a text that follows the one that was made; `None` at the end.
pub type Piece = Result<Option<u64>, Errno>;

/// Entries that are made when looked for.
pub trait Directory: Send + Sync {
    /// The entry of that name. ENOMEM.
    fn lookup(&self, name: &[u8]) -> Result<Option<Kind>, Errno>;
    /// Calls `take` for the entries from a position on, each with the position after it, its name and its kind (mode
    /// bits), until that returns false.
    fn list(&self, from: u64, take: TakeName) -> Result<(), Errno>;
    /// User and group that own the directory and what is in it, if they are not those of the directory it is in.
    fn owner(&self) -> Option<(u32, u32)> {
        None
    }
    /// User and group that own an entry, if they are not those of the directory.
    fn owner_of(&self, name: &[u8]) -> Option<(u32, u32)> {
        let _ = name;
        None
    }
    /// The process that the directory is about.
    fn process(&self) -> Option<Arc<Process>> {
        None
    }
}

/// Takes a name of a made directory: the position after it, the name, and the kind.
pub type TakeName<'a> = &'a mut dyn FnMut(u64, &[u8], u32) -> bool;

/// What a made file is.
pub enum Kind {
    /// A directory.
    Directory(Box<dyn Directory>),
    /// A read-only file.
    File(Box<dyn Made>),
    /// A file that takes writes.
    Setting(Box<dyn Made>),
    /// A symbolic link.
    Link(Box<dyn Made>),
}

/// A file or link that is made when it is read. Default bodies are for those of another kind.
pub trait Made: Send + Sync {
    /// Appends the piece of the text that begins at a position of its own choice (0 for the first). Positions that mean the
    /// same after a change keep a reader in its place.
    fn piece(&self, from: u64, text: &mut Text) -> Piece {
        let _ = (from, text);
        Ok(None)
    }
    /// Takes a write.
    fn set(&self, bytes: &[u8]) -> Result<(), Errno> {
        let _ = bytes;
        Err(Errno::INVAL)
    }
    /// Opens it, if it is no text; `place` is where it was found.
    fn open(&self, place: &Place) -> Option<Opened> {
        let _ = place;
        None
    }
    /// Where the link leads.
    fn link(&self) -> Result<Link, Errno> {
        Err(Errno::INVAL)
    }
}

/// Positions of entries that come after a table begin here; below are those of tables, which are short.
pub const BEHIND_TABLE: u64 = 1 << 32;

/// Lists numbers: `next` returns the first there is from a number on. Their positions follow from themselves, so that a
/// listing goes on in the right place whatever came and went.
pub fn list_numbers(
    from: u64,
    prefix: &str,
    kind: u32,
    take: TakeName,
    mut next: impl FnMut(i32) -> Option<i32>,
) {
    let mut at = i32::try_from(from.saturating_sub(BEHIND_TABLE)).ok();
    while let Some(number) = at.and_then(&mut next) {
        let mut name = heapless::String::<24>::new();
        let after = BEHIND_TABLE + number as u64 + 1;
        if write!(name, "{prefix}{number}").is_err() || !take(after, name.as_bytes(), kind) {
            return;
        }
        at = number.checked_add(1);
    }
}

/// Lists a table that others come after; returns whether these are wanted.
pub fn list_table(table: &dyn Directory, from: u64, take: TakeName) -> Result<bool, Errno> {
    let mut more = true;
    if from < BEHIND_TABLE {
        table.list(from, &mut |after, name, kind| {
            more = take(after, name, kind);
            more
        })?;
    }
    Ok(more)
}

/// Lists a table, and after it directories whose names are numbers behind a prefix.
pub fn list_after_table(
    table: &dyn Directory,
    from: u64,
    take: TakeName,
    prefix: &str,
    next: impl FnMut(i32) -> Option<i32>,
) -> Result<(), Errno> {
    if list_table(table, from, take)? {
        list_numbers(from, prefix, S_IFDIR, take, next);
    }
    Ok(())
}

/// A table together with whom it is about.
pub struct Listed<C: 'static> {
    /// The items.
    pub table: Table<C>,
    /// Whom they are about.
    pub context: C,
}

/// An item of a table together with whom it is about.
struct Entry<C: 'static> {
    item: &'static Item<C>,
    context: C,
}

impl<C: Send + Sync + 'static> Made for Entry<C> {
    fn piece(&self, from: u64, text: &mut Text) -> Piece {
        match self.item {
            Item::Fixed(all) => text.push(all.as_bytes())?,
            Item::Line(value) | Item::Ignored(value) => writeln!(text, "{value}")?,
            Item::Text(make) | Item::Setting(make, _) => make(&self.context, text)?,
            Item::Pieces(make) => return make(&self.context, from, text),
            Item::Opened(_) | Item::Link(_) | Item::Directory(_) | Item::Dynamic(_) => {}
        }
        Ok(None)
    }
    fn set(&self, bytes: &[u8]) -> Result<(), Errno> {
        match self.item {
            Item::Setting(_, set) => set(&self.context, bytes),
            Item::Ignored(_) => Ok(()),
            _ => Err(Errno::INVAL),
        }
    }
    fn open(&self, place: &Place) -> Option<Opened> {
        match self.item {
            Item::Opened(open) => Some(open(&self.context, place.clone())),
            _ => None,
        }
    }
    fn link(&self) -> Result<Link, Errno> {
        match self.item {
            Item::Link(link) => link(&self.context),
            _ => Err(Errno::INVAL),
        }
    }
}

impl<C: Clone + Send + Sync + 'static> Directory for Listed<C> {
    fn lookup(&self, name: &[u8]) -> Result<Option<Kind>, Errno> {
        let Some((_, item)) = self.table.iter().find(|(known, _)| known.as_bytes() == name) else {
            return Ok(None);
        };
        let entry = || try_box(Entry { item, context: self.context.clone() });
        Ok(Some(match item {
            Item::Fixed(_) | Item::Line(_) | Item::Text(_) | Item::Pieces(_) => Kind::File(entry()?),
            Item::Ignored(_) | Item::Setting(..) | Item::Opened(_) => Kind::Setting(entry()?),
            Item::Link(_) => Kind::Link(entry()?),
            Item::Directory(table) => {
                Kind::Directory(try_box(Listed { table, context: self.context.clone() })?)
            }
            Item::Dynamic(make) => Kind::Directory(make(&self.context)?),
        }))
    }
    fn list(&self, from: u64, take: TakeName) -> Result<(), Errno> {
        let kind = |item: &Item<C>| match item {
            Item::Link(_) => S_IFLNK,
            Item::Directory(_) | Item::Dynamic(_) => S_IFDIR,
            _ => S_IFREG,
        };
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        for (index, (name, item)) in self.table.iter().enumerate().skip(from) {
            if !take(index as u64 + 1, name.as_bytes(), kind(item)) {
                break;
            }
        }
        Ok(())
    }
}
