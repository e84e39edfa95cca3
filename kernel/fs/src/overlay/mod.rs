//! Layers as one tree, as Linux's overlayfs has them: the files of the image, which never change, and over them a directory
//! of a volume, which takes what is changed; or directories that a program names (mount(2)), of which the uppermost takes that.
//!
//! A file of a layer below that is changed is copied up first. A name there that is gone is hidden by a whiteout, a
//! character device 0/0, and a directory in the place of one that is gone is marked as opaque
//! (Documentation/filesystems/overlayfs.rst of Linux). Each step is one operation of the volume's journal, so that a crash
//! leaves a file in one layer or the other; what was being made then lies in the volume's `work` directory, which is cleared
//! at the next mount.
mod change;
mod copy_up;
mod file;
mod layers;
mod list;
mod lookup;
mod node;
mod options;

pub use layers::Overlay;
pub use node::Node;
pub use options::Options;
