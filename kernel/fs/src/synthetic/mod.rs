//! Files whose content is made when they are read: the common part of /proc and /sys.
mod file;
mod node;
mod table;

pub use node::{FsId, Node};
pub use table::{
    BEHIND_TABLE, Directory, Item, Kind, Listed, Made, Piece, Table, TakeName, list_after_table,
    list_numbers, list_table,
};
