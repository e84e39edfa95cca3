//! How the machine describes itself: the loader's information, and the firmware's tables.
pub mod acpi;
pub mod aml;
pub mod archive;
pub mod firmware;
pub mod pvh;
pub mod ram;
pub mod topology;
