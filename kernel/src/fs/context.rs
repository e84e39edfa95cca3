//! Root, working directory and umask of a process.

/// What path resolution starts from.
pub struct FsContext {}
