//! The end of the machine.
use crate::log::{self, Line};
use coracle_hal::io::fw_cfg;
use coracle_hal::io::one_byte::OutputPort;
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::{AtomicBool, Ordering::*};
use coracle_hal::{breakpoint, irq, power};
use coracle_image::cmdline::{CommandLine, Reboot};

/// Port of QEMU's isa-debug-exit, if the command line names one.
static PORT: Once<OutputPort> = Once::new();
/// The command line asks for a triple fault (`reboot=t`).
static TRIPLE_FAULT: AtomicBool = AtomicBool::new(false);
/// The command line asks for the keyboard controller (`reboot=k`).
static KEYBOARD: AtomicBool = AtomicBool::new(false);
/// Exit status when the kernel itself fails.
pub const KERNEL_FAILED: u8 = 125;

/// Settles how the machine is ended.
pub fn configure(settings: &CommandLine) {
    if let Some(number) = settings.poweroff {
        match OutputPort::new(number) {
            Some(port) => {
                PORT.call_once(|| port);
            }
            None => log!(
                "poweroff=isa-debug-exit@{number:#x} is left alone: no such device is put there (QEMU: iobase=0x501)"
            ),
        }
    }
    TRIPLE_FAULT.store(settings.reboot == Some(Reboot::TripleFault), Relaxed);
    KEYBOARD.store(settings.reboot == Some(Reboot::Keyboard), Relaxed);
    if PORT.get().is_none() {
        power::prepare_soft_off();
    }
}

coracle_hal::hook! {
    $ pub
    /// What is done before the machine is switched off, in this order.
    before_off: [fn(); 6] = "coracle_before_off", given by give_before_off
}

/// Tells the program's exit status and ends the machine.
pub fn off(status: u8) -> ! {
    let early = irq::came_early();
    if early != 0 {
        log!("{early} interrupts came while the CPU had them off: the hypervisor's fault; they were put off");
    }
    before_off().iter().for_each(|step| step());
    tell_and_stop(status)
}

/// The kernel can't go on.
pub fn abandon() -> ! {
    tell_and_stop(KERNEL_FAILED)
}

/// Ends the machine by the first means that works. A reset comes after what switches it off, since most machines start
/// again; and not at all under QEMU unless the command line asks for it, because QEMU's keyboard controller does just
/// that, where Firecracker's ends the machine.
fn tell_and_stop(status: u8) -> ! {
    log::write(Line::Status, format_args!("{status}"));
    // A translator that emulates nested virtualisation would leave it armed for the next guest (QEMU 7.2's SVM does).
    breakpoint::disarm();
    if let Some(port) = PORT.get() {
        // QEMU ends with the status `(0 << 1) | 1`; returns if there is no such device.
        port.write(0);
    }
    power::stop_others();
    power::soft_off();
    if KEYBOARD.load(Relaxed) || !fw_cfg::is_present() {
        power::keyboard_reset();
    }
    if TRIPLE_FAULT.load(Relaxed) {
        power::triple_fault();
    }
    log!("this machine can't be switched off from inside: it stays halted");
    power::halt()
}
