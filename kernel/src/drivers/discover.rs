//! Finds the machine's devices and hands each to its driver.
use super::console;
use super::pci;
use super::virtio::console::VirtioConsole;
use super::virtio::net::Net;
use super::virtio::rng::Rng;
use super::virtio::transport::{SetupError, Transport};
use coracle_image::cmdline::{CommandLine, Console};
use coracle_virtio::device::id;
use coracle_virtio::transport::pci::VENDOR;
use spin::Once;

static ENTROPY: Once<Rng> = Once::new();

/// The CPU that device interrupts go to.
const INTERRUPT_CPU: usize = 0;

/// Finds and starts all devices, chooses the console, and starts the network.
pub fn start(settings: &CommandLine) {
    let mut card = None;
    let mut each = |found: Result<Transport, SetupError>, place: core::fmt::Arguments<'_>| {
        let started = found.and_then(|transport| match transport.device_type() {
            id::NET if card.is_none() && !settings.net_off => Net::new(transport).map(|net| card = Some(net)),
            id::ENTROPY if ENTROPY.get().is_none() => Rng::new(transport).map(|rng| {
                ENTROPY.call_once(|| rng);
            }),
            id::CONSOLE if settings.console == Console::Virtio => {
                VirtioConsole::new(transport).map(console::use_virtio)
            }
            kind => {
                info!("virtio device at {place}: type {kind} is not driven");
                Ok(())
            }
        });
        if let Err(error) = started {
            log!("virtio device at {place} can't be used: {error}");
        }
    };
    for place in &settings.mmio_devices {
        if let Some(found) = Transport::mmio(place, INTERRUPT_CPU).transpose() {
            each(found, format_args!("{:#x}", place.base));
        }
    }
    for function in pci::functions().iter().filter(|function| function.vendor == VENDOR) {
        let a = function.address;
        each(
            Transport::pci(function, INTERRUPT_CPU),
            format_args!("PCI {:02x}:{:02x}.{}", a.bus, a.device, a.function),
        );
    }
    crate::fs::dev::set_console(console::get().clone());
    crate::net::start(card, settings);
}

/// Mixes entropy that has come into the kernel's generator.
#[inline]
pub fn poll_entropy() {
    if let Some(rng) = ENTROPY.get() {
        rng.take(crate::random::add_entropy);
    }
}
