//! Which device is the console, and what the standard streams are.
use super::control::Channel;
use super::stream::Stream;
use super::terminal::{Line, Terminal};
use alloc::sync::Arc;
use coracle_control::Window;
use coracle_core::errno::Errno;
use coracle_core::fs::file::{File, OpenFile};
use coracle_devices::virtio::console::VirtioConsole;
use coracle_hal::once::Once;
use coracle_image::User;
use coracle_image::cmdline::{CommandLine, Console, Port as Role};
use linux_raw_sys::general::{O_RDONLY, O_RDWR, O_WRONLY, stat as Stat};

static DEVICE: Once<VirtioConsole> = Once::new();
static TERMINAL: Once<Arc<Terminal>> = Once::new();
static CONTROL: Once<Channel> = Once::new();

/// Makes this virtio console the one in use, if there is none yet.
pub fn use_virtio(device: VirtioConsole) {
    DEVICE.call_once(|| device);
}

/// Chooses the terminal, once all devices were found.
#[inline(never)]
pub fn start(settings: &CommandLine) {
    let device = DEVICE.get();
    if device.is_none() && (settings.console == Console::Virtio || !settings.ports.is_empty()) {
        log!(
            "there is no virtio console with the ports that the command line names: the serial port is used"
        );
    }
    let line = match device {
        Some(device) if settings.console != Console::Serial => line_of(device),
        _ => Some(serial()),
    };
    if let Some(line) = line {
        let (rows, columns) = settings.window.unwrap_or_default();
        let window = Window { rows, columns, ..Window::default() };
        let terminal = TERMINAL.call_once(|| Terminal::new(line, window));
        coracle_fs::dev::set_terminal(terminal.clone());
        if let (Some(device), Some(port)) = (device, terminal.port()) {
            device.open(port);
        }
    }
    if let Some(port) = device.and_then(|device| device.port(Role::Control)) {
        CONTROL.call_once(|| Channel::new(port.clone()));
    }
}

/// The line of a device's terminal; `None` if its standard streams are none.
fn line_of(device: &VirtioConsole) -> Option<Line> {
    let port = |role| device.port(role).cloned();
    port(Role::Terminal)
        .map(Line::Terminal)
        .or_else(|| port(Role::Screen).map(Line::Screen))
        .or_else(|| device.plain().cloned().map(Line::Plain))
}

fn serial() -> Line {
    let irq = coracle_hal::console::enable_receive_interrupt();
    coracle_core::log::input_ready();
    Line::Serial { irq }
}

/// Gives the terminal the identity of its device node, for stat(2).
pub fn set_node(node: Stat) {
    if let Some(terminal) = TERMINAL.get() {
        terminal.set_node(node);
    }
}

/// Standard input, output and error. What is one file is one open description, as a shell has it. `owner`: the user that
/// the program runs as.
///
/// # Errors
/// ENOMEM.
pub fn standard_streams(owner: User) -> Result<[Option<Arc<OpenFile>>; 3], Errno> {
    let terminal = match TERMINAL.get() {
        Some(terminal) => Some(OpenFile::new(terminal.clone(), O_RDWR)?),
        None => None,
    };
    let open = |role, writes| {
        let Some((device, port)) = DEVICE.get().and_then(|device| Some((device, device.port(role)?))) else {
            return Ok(None);
        };
        device.open(port);
        let file: Arc<dyn File> = Arc::new(Stream::new(port.clone(), writes, owner));
        OpenFile::new(file, if writes { O_WRONLY } else { O_RDONLY }).map(Some)
    };
    let input = open(Role::Input, false)?;
    let joint = open(Role::Joint, true)?;
    let output = open(Role::Output, true)?;
    let error = open(Role::Error, true)?;
    let pick = |own: Option<Arc<OpenFile>>| own.or_else(|| joint.clone()).or_else(|| terminal.clone());
    Ok([input.or_else(|| terminal.clone()), pick(output), pick(error)])
}

/// The control channel, if there is one.
pub fn control() -> Option<&'static Channel> {
    CONTROL.get()
}

/// The program has started: lets the host send it signals.
pub fn begin() {
    if let (Some(device), Some(control)) = (DEVICE.get(), CONTROL.get()) {
        device.open(control.port());
        control.greet();
    }
}

/// Takes what has come. Cheap if nothing has.
#[inline]
pub fn poll() {
    let terminal = TERMINAL.get();
    if let Some(device) = DEVICE.get()
        && device.interrupted()
    {
        device.poll();
        if let Some(control) = CONTROL.get() {
            control.take(terminal.map(|terminal| &**terminal));
        }
        if let Some(terminal) = terminal {
            terminal.poll();
        }
    } else if let Some(terminal) = terminal
        && terminal.interrupted()
    {
        terminal.poll();
    }
}

/// Before a sleep: true if something has come.
pub fn arm() -> bool {
    DEVICE.get().is_some_and(VirtioConsole::interrupted)
        || TERMINAL.get().is_some_and(|terminal| terminal.interrupted())
}

/// Whether the console's ports have names: the other end is a `coracle run`.
pub fn has_ports() -> bool {
    DEVICE.get().is_some_and(|device| device.plain().is_none())
}

/// Whether all that was written has left the machine.
pub fn is_drained() -> bool {
    DEVICE.get().is_none_or(VirtioConsole::is_drained)
}
