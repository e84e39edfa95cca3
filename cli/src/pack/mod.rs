//! Putting a program, its libraries, other files and the kernel together into one image.

mod access;
mod along;
mod build;
mod cache;
mod companions;
pub mod cron;
mod elf;
mod exclude;
mod files;
mod image;
mod ldso;
mod program;
mod python;
mod root;
mod skeleton;

pub use along::needs;
pub use build::{assemble, build, cannot_write, image_name};
pub use image::{Image, Outline, Start, is_image};
pub use program::find as find_program;
pub use root::Root;
