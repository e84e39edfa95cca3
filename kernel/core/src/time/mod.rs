//! Clocks and timers.
pub mod clock;
pub mod cpu_timer;
pub mod discipline;
pub mod interval;
pub mod posix_clock;
pub mod posix_timer;
pub mod timer;
pub mod wall;
