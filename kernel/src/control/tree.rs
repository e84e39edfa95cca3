//! Files of the guest, as connections with full access see and change them: with the rights of root.
use super::answer::Answer;
use coracle_control::{Attributes, TreeChange};
use coracle_core::errno::Errno;
use coracle_core::fs::context::FsContext;
use coracle_core::fs::inode::NewNode;
use coracle_core::fs::walk::{self, Follow};
use coracle_linux::path as calls;

fn followed(follow: bool) -> Follow {
    if follow { Follow::Always } else { Follow::IfSlash }
}

/// Answers with the attributes of a file.
pub fn attributes(context: &FsContext, path: &[u8], follow: bool, answer: &mut Answer) -> Result<(), Errno> {
    let known = walk::find(context, None, path, followed(follow))?.path.inode.metadata();
    let attributes = Attributes { mode: known.mode, uid: known.uid, gid: known.gid, size: known.size };
    answer.push(&attributes.encode())
}

/// Changes the tree at a path.
pub fn change(context: &FsContext, change: TreeChange, mode: u32, path: &[u8]) -> Result<(), Errno> {
    let found = calls::entry_from(context, None, path)?;
    match change {
        TreeChange::MakeDirectory => calls::make_entry(&found, NewNode::Directory, mode & 0o7777),
        TreeChange::Remove => calls::remove_entry(found, path, false),
        TreeChange::RemoveDirectory => calls::remove_entry(found, path, true),
    }?;
    Ok(())
}
