//! A kernel that tries the hardware layer and nothing else.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]
#![cfg(target_os = "none")]
extern crate alloc;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_hal as hal;
use core::fmt::Write;
use hal::context::{Fault, UserContext};
use hal::kernel::{HasTask, Kernel};
use hal::task::Task;

struct Out;
impl Write for Out {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        hal::console::write(s.as_bytes());
        Ok(())
    }
}
macro_rules! say { ($($t:tt)*) => { let _ = writeln!(Out, $($t)*); } }

struct Thread {
    task: Task,
}
impl HasTask for Thread {
    fn task(&self) -> &Task {
        &self.task
    }
}
struct Test;
impl Kernel for Test {
    type Thread = Thread;
    fn main() -> ! {
        say!("hello from {:#x}, {} KiB", hal::boot::kernel_slide(), hal::boot::memory_size() / 1024);
        say!("command line: {}", hal::boot::command_line());
        say!("frames {:?}", hal::frame::counts());
        let v: Vec<String> = (0..1000).map(|i| alloc::format!("{i}")).collect();
        say!("heap {}", v.iter().map(|s| s.len()).sum::<usize>());
        say!("now {} ns, wall {}", hal::time::now_ns(), hal::time::wall_offset_ns() / 1_000_000_000);
        say!("frames {:?}", hal::frame::counts());
        hal::power::debug_exit(0x501, 0);
        hal::power::reset()
    }
    fn cpu_main() -> ! {
        loop {
            hal::cpu::wait_for_interrupt(|| true);
        }
    }
    fn thread_start(_: &Arc<Thread>, _: &mut UserContext) {}
    fn syscall(_: &Arc<Thread>, _: &mut UserContext) {}
    fn fault(_: &Arc<Thread>, _: &mut UserContext, _: Fault) {}
    fn interrupted(_: &Arc<Thread>, _: &mut UserContext) {}
}
hal::kernel!(Test);

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    say!("PANIC {info}");
    hal::backtrace::kernel(|a| {
        say!("  {:#x}", a - hal::boot::kernel_slide());
    });
    hal::power::debug_exit(0x501, 1);
    hal::power::reset()
}
