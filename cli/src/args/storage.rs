//! Where files of a guest of `coracle run` are kept.

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, ValueEnum};

use crate::volume::{Source, tmpfs};

/// The root, files in memory, and the disks of volumes.
#[derive(Args, Clone, Debug, Default)]
pub struct StorageArgs {
    /// Keep what the guest changes in the files of its image, and what it writes beside them, in a volume: a named one, made when it is
    /// first used, or an ext4 image
    #[arg(long, value_name = "NAME|./IMAGE", value_parser = OsStringValueParser::new().try_map(|text| Source::parse(&text)))]
    pub root_volume: Option<Source>,

    /// Keep what is in a directory of the guest in memory: size=64m, mode=1777, uid=, gid=, ro, exec, suid, dev, noatime, as for docker
    #[arg(long, value_name = "PATH[:OPTIONS]")]
    pub tmpfs: Vec<tmpfs::Spec>,

    /// Which interface the disks of volumes have
    #[arg(long, value_name = "INTERFACE", default_value = "virtio")]
    pub disk_interface: DiskInterface,
}

/// The interface of disks.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskInterface {
    /// virtio-blk: the quickest of QEMU's
    #[default]
    Virtio,
    /// NVMe, as machines of hardware and of some clouds have it
    Nvme,
}
