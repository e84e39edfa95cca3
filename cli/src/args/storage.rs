//! Where files of a guest of `coracle run` are kept.

use clap::Args;

use crate::volume::tmpfs;

/// Files in memory.
#[derive(Args, Clone, Debug, Default)]
pub struct StorageArgs {
    /// Keep what is in a directory of the guest in memory: size=64m, mode=1777, uid=, gid=, ro, exec, suid, dev, noatime, as for docker
    #[arg(long, value_name = "PATH[:OPTIONS]")]
    pub tmpfs: Vec<tmpfs::Spec>,
}
