//! Finds the machine's devices and hands each to its driver.
use super::console;
use alloc::boxed::Box;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_devices::nvme::Nvme;
use coracle_devices::virtio::blk::Blk;
use coracle_devices::virtio::console::VirtioConsole;
use coracle_devices::virtio::net::Net;
use coracle_devices::virtio::rng::Rng;
use coracle_devices::virtio::share::Share;
use coracle_devices::virtio::vsock::Vsock;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, try_box};
use coracle_fs::block::registry;
use coracle_fs::remote::session;
use coracle_hal::io::pci::{self, Function};
use coracle_hal::nvme;
use coracle_hal::once::Once;
use coracle_hal::sync::RwLock;
use coracle_hal::virtio::transport::{self, MmioDevice, SetupError, Transport};
use coracle_image::cmdline::{CommandLine, Console, IpSetting};
use coracle_net::vsock;
use coracle_virtio::device::id;
use coracle_virtio::transport::pci::VENDOR;

static ENTROPY: Once<Rng> = Once::new();
/// The disks, in the order in which they were found.
static DISKS: RwLock<Vec<&'static Blk>> = RwLock::new(Vec::new());
/// The NVMe controllers.
static CONTROLLERS: RwLock<Vec<&'static Nvme>> = RwLock::new(Vec::new());
/// The directories of the host.
static SHARES: RwLock<Vec<&'static Share>> = RwLock::new(Vec::new());

/// The CPU that device interrupts go to.
const INTERRUPT_CPU: usize = 0;

/// Finds and starts all devices, chooses the console, and starts the network.
#[inline(never)]
pub fn start(settings: &CommandLine) {
    let mut found = Found { settings, card: None, any: false };
    for place in &settings.mmio_devices {
        found.mmio(&MmioDevice { base: place.base, size: place.size, irq: place.irq });
    }
    let functions = pci::functions();
    found.pci(&functions);
    if let Some(why) = pci::unusable() {
        log!("the machine's PCI is not used: {why}");
    }
    // Where the command line names no device, ACPI or the device tree may.
    if settings.mmio_devices.is_empty() {
        transport::declared(found.any).iter().for_each(|place| found.mmio(place));
    }
    let wanted = !settings.net_off && !matches!(settings.ip, None | Some(IpSetting::None));
    if wanted && found.card.is_none() {
        // Looking at every bus takes long, so only now: a second root bus is below no bridge.
        let others = pci::functions_behind_no_bridge(&functions);
        found.pci(&others);
        if found.card.is_none() {
            log!(
                "the command line has ip=, but there is no network card that can be used: give the machine a virtio-net"
            );
            functions
                .iter()
                .chain(&others)
                .filter(|function| function.is_network())
                .for_each(tell_foreign_card);
        }
    }
    let card = found.card;
    console::start(settings);
    coracle_net::start(card, settings);
}

/// Hands a device that a test plays to its driver.
#[cfg(not(target_os = "none"))]
pub fn add(found: Result<Transport, SetupError>) {
    let settings = CommandLine::parse(b"");
    Found { settings: &settings, card: None, any: false }.start(found, format_args!("the test's"));
}

/// A card of another kind, which a user may take for the guest's.
fn tell_foreign_card(function: &Function) {
    if function.vendor() != VENDOR {
        let (vendor, device, place) = (function.vendor(), function.device(), function.address());
        log!(
            "the network card at PCI {place} ({vendor:04x}:{device:04x}) is not driven: it is no virtio-net"
        );
    }
}

/// What was found so far.
struct Found<'a> {
    settings: &'a CommandLine,
    card: Option<Net>,
    /// Any virtio device.
    any: bool,
}

impl Found<'_> {
    /// Looks at a place that may have a virtio device.
    fn mmio(&mut self, place: &MmioDevice) {
        if let Some(found) = Transport::mmio(place, INTERRUPT_CPU).transpose() {
            self.start(found, format_args!("{:#x}", place.base));
        }
    }

    /// Starts the virtio devices among PCI functions.
    fn pci(&mut self, functions: &[Function]) {
        for function in functions.iter().filter(|function| function.vendor() == VENDOR) {
            let transport = Transport::pci(function, INTERRUPT_CPU);
            self.start(transport, format_args!("PCI {}", function.address()));
        }
        let others = functions.iter().filter(|function| function.vendor() != VENDOR);
        others.filter(|function| nvme::is_controller(function)).for_each(start_nvme);
    }

    /// Hands a device to its driver.
    fn start(&mut self, found: Result<Transport, SetupError>, place: core::fmt::Arguments<'_>) {
        self.any = true;
        let started = found.and_then(|transport| match transport.device_type() {
            id::NET if self.settings.net_off => Ok(()),
            id::NET if self.card.is_some() => {
                log!("the network card at {place} is left alone: only the first one is used");
                Ok(())
            }
            id::NET => Net::new(transport).map(|net| self.card = Some(net)),
            id::ENTROPY if ENTROPY.get().is_none() => Rng::new(transport).map(|rng| {
                ENTROPY.call_once(|| rng);
            }),
            id::BLOCK => Blk::new(transport).and_then(|disk| add_disk(disk).map_err(|_| SetupError::Memory)),
            id::SHARE | id::FILE_SYSTEM => {
                Share::new(transport).and_then(|share| add_share(share).map_err(|_| SetupError::Memory))
            }
            id::VSOCK => {
                Vsock::new(transport).and_then(|device| vsock::attach(device).map_err(|_| SetupError::Memory))
            }
            id::CONSOLE if self.settings.console != Console::Serial || !self.settings.ports.is_empty() => {
                VirtioConsole::new(transport, &self.settings.ports).map(console::use_virtio)
            }
            kind => {
                info!("virtio device at {place}: type {kind} is not driven");
                Ok(())
            }
        });
        if let Err(error) = started {
            log!("virtio device at {place} can't be used: {error}");
        }
    }
}

/// Makes a disk known. ENOMEM.
fn add_disk(disk: Blk) -> Result<(), NoMemory> {
    // Disks do not go.
    let disk: &'static Blk = Box::leak(try_box(disk)?);
    registry::add("vd", disk)?;
    DISKS.write().try_push(disk)
}

/// Starts an NVMe controller, and makes its disks known.
#[cold]
fn start_nvme(function: &Function) {
    let memory = |_| SetupError::Memory;
    let mut controllers = CONTROLLERS.write();
    let index = controllers.len();
    let started = Nvme::start(function, INTERRUPT_CPU, |disk, number| {
        registry::add_named(registry::Name::nvme(index, number), disk).map_err(memory)
    });
    if let Err(error) = started.and_then(|nvme| controllers.try_push(nvme).map_err(memory)) {
        log!("the NVMe controller at PCI {} can't be used: {error}", function.address());
    }
}

/// Makes a directory of the host known. ENOMEM.
fn add_share(share: Share) -> Result<(), Errno> {
    let share = session::add(share)?;
    Ok(SHARES.write().try_push(share)?)
}

/// Takes what disks, shares and the socket device are done with.
#[inline]
pub fn poll_disks() {
    DISKS.read().iter().for_each(|disk| disk.poll());
    CONTROLLERS.read().iter().for_each(|nvme| nvme.poll());
    SHARES.read().iter().for_each(|share| share.poll());
    vsock::poll();
}

/// Mixes entropy that has come into the kernel's generator.
#[inline]
pub fn poll_entropy() {
    if let Some(rng) = ENTROPY.get() {
        rng.take(coracle_core::random::add_entropy);
    }
}
