//! What happens to files, for those that watch them (inotify(7); F_NOTIFY of fcntl(2)).
//!
//! Watches are kept by the identity of a file, and keep no file alive. While there are none, an event costs a load and a branch.
mod hooks;
mod instance;
mod limits;
mod marks;
mod moves;
mod signals;

pub use hooks::{
    accessed, changed, closed, created, is_on, linked, modified, opened, removed, renamed, truncated,
};
pub use instance::{Inotify, Watch};
pub use limits::{MAX_EVENTS, MAX_INSTANCES, MAX_WATCHES};
pub use marks::{inode_gone, settle, unmounted};
pub(in crate::fs) use signals::description_closed;
pub use signals::{descriptor_closed, request};
