//! What happens to files, for those that watch them (inotify(7), fanotify(7); F_NOTIFY of fcntl(2)).
//!
//! Watches are kept by the identity of a file, and keep no file alive. While there are none, an event costs a load and a branch.
mod fanotify;
mod hooks;
mod instance;
mod limits;
mod marks;
mod moves;
mod signals;

pub use fanotify::{
    EVENT_ON_CHILD, FAN_EVENTS, Fan, IGNORES_FOR_GOOD, MarkKind, ONDIR, UNNOTICED, WITH_PATHS,
};
pub use hooks::{
    accessed, changed, closed, created, is_on, linked, modified, opened, opened_to_execute, removed, renamed,
    truncated,
};
pub use instance::{Inotify, Watch};
pub use limits::{FANOTIFY, INOTIFY};
pub use marks::{Identity, inode_gone, mount_gone, settle, unmounted};
pub(in crate::fs) use signals::description_closed;
pub use signals::{descriptor_closed, request};
