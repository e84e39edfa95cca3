//! Files of the guest, as connections with full access see and change them: with the rights of root.
use super::answer::Answer;
use crate::errno::Errno;
use crate::fs::context::FsContext;
use crate::fs::inode::{Changes, NewNode};
use crate::fs::notify;
use crate::fs::stat::Timestamp;
use crate::fs::walk::{self, Follow};
use crate::syscall::{attributes as calls, path};
use coracle_control::{Attributes, TreeChange, attribute};

fn followed(follow: bool) -> Follow {
    if follow { Follow::Always } else { Follow::IfSlash }
}

/// Answers with the attributes of a file.
pub fn attributes(context: &FsContext, path: &[u8], follow: bool, answer: &mut Answer) -> Result<(), Errno> {
    let known = walk::find(context, None, path, followed(follow))?.path.inode.metadata();
    let attributes = Attributes {
        mask: 0,
        mode: known.mode,
        uid: known.uid,
        gid: known.gid,
        size: known.size,
        accessed: known.accessed.seconds.cast_unsigned(),
        modified: known.modified.seconds.cast_unsigned(),
    };
    answer.push(&attributes.encode())
}

/// Changes attributes of a file, or of what a link leads to.
pub fn change(context: &FsContext, path: &[u8], new: &Attributes) -> Result<(), Errno> {
    let place = walk::find(context, None, path, Follow::Always)?;
    let has = |bit| new.mask & bit != 0;
    let time = |seconds: u64| {
        has(attribute::TIMES).then_some(Timestamp { seconds: seconds.cast_signed(), nanos: 0 })
    };
    if has(attribute::SIZE) {
        place.path.check_writable()?;
        place.path.inode.truncate(new.size)?;
        notify::truncated(&place);
    }
    let changes = Changes {
        mode: has(attribute::MODE).then_some(new.mode & 0o7777),
        uid: has(attribute::OWNER).then_some(new.uid),
        gid: has(attribute::OWNER).then_some(new.gid),
        accessed: time(new.accessed),
        modified: time(new.modified),
        now: false,
    };
    calls::change(&place, changes).map(|_| ())
}

/// Changes the tree. `paths`: one, or two with a zero between them.
pub fn change_tree(context: &FsContext, change: TreeChange, mode: u32, paths: &[u8]) -> Result<(), Errno> {
    let mut parts = paths.splitn(2, |&byte| byte == 0);
    let (own, other) = (parts.next().unwrap_or_default(), parts.next());
    let found = path::entry_from(context, None, own)?;
    match (change, other) {
        (TreeChange::MakeDirectory, _) => path::make_entry(&found, NewNode::Directory, mode & 0o7777),
        (TreeChange::Remove, _) => path::remove_entry(found, own, false),
        (TreeChange::RemoveDirectory, _) => path::remove_entry(found, own, true),
        (TreeChange::Rename, Some(to)) => {
            path::rename_entry(&found, &path::entry_from(context, None, to)?, 0)
        }
        (TreeChange::Link, Some(target @ [_, ..])) => path::make_entry(&found, NewNode::Link(target), 0o777),
        (TreeChange::Rename | TreeChange::Link, _) => Err(Errno::NOENT),
    }?;
    notify::settle();
    Ok(())
}
