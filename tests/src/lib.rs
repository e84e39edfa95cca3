//! What the boot tests are made of: test programs and how they are built, runs on Linux and on Coracle, and their comparison.
#![forbid(unsafe_code)]

pub mod aarch64;
pub mod apps;
pub mod background;
pub mod bare;
pub mod build;
pub mod command;
pub mod cpython;
pub mod debugger;
pub mod describe;
pub mod guest;
pub mod instructions;
pub mod json;
pub mod known;
pub mod linux;
pub mod load;
pub mod matrix;
pub mod nested;
pub mod netns;
pub mod outcome;
pub mod paths;
pub mod ports;
pub mod terminal;
pub mod trials;
pub mod wait;
