//! How the machine describes itself: the loader's information, and the firmware's tables.
pub mod acpi;
pub mod aml;
pub mod archive;
#[cfg(any(test, target_arch = "aarch64"))]
pub mod device_tree;
pub mod firmware;
pub mod host_bridge;
pub mod loader;
#[cfg(target_arch = "x86_64")]
pub mod pvh;
pub mod ram;
#[cfg(target_arch = "x86_64")]
pub mod topology;
