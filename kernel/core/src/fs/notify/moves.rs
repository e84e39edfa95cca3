//! Where files went that were renamed, for those that are open and know the name that they were opened by.
use super::marks::Identity;
use crate::fs::inode::Inode;
use crate::lock::Mutex;
use alloc::sync::{Arc, Weak};
use coracle_sorted_map::SortedMap;

/// Moves that are kept. When there are so many, all are let go of: then what happens to an open file of another name is not reported
/// to its directory.
const MOST: usize = 256;

/// A directory, and a name in it.
pub(super) type Found = (Arc<dyn Inode>, Arc<[u8]>);

struct Move {
    directory: Weak<dyn Inode>,
    name: Arc<[u8]>,
}

static MOVES: Mutex<SortedMap<Identity, Move>> = Mutex::new(SortedMap::new());

/// A file has this name now.
pub(super) fn note(file: Identity, directory: &Arc<dyn Inode>, name: &Arc<[u8]>) {
    let old = {
        let mut moves = MOVES.lock();
        let full = if moves.len() >= MOST { core::mem::take(&mut *moves) } else { SortedMap::new() };
        // Without memory for it the move is not known.
        let place = Move { directory: Arc::downgrade(directory), name: name.clone() };
        (full, moves.insert(file, place))
    };
    drop(old);
}

/// The directory that a file was last moved to, and its name there.
pub(super) fn last(file: Identity) -> Option<Found> {
    let moves = MOVES.lock();
    let Move { directory, name } = moves.get(&file)?;
    Some((directory.upgrade()?, name.clone()))
}
