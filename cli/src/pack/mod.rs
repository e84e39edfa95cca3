//! Putting a program, its libraries, other files and the kernel together into one image.

mod build;
mod cache;
mod elf;
mod files;
mod image;
mod ldso;
mod program;
mod skeleton;

pub use build::{assemble, build};
pub use image::Image;
pub use program::find as find_program;
