//! Console device (virtio 1.2, section 5.3): a console, or ports that have names.
use super::port::{Half, Port};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::lock::Mutex;
use coracle_hal::io::dma::PacketBuffer;
use coracle_hal::time;
use coracle_hal::virtio::transport::{SetupError, Transport};
use coracle_image::cmdline::Port as Role;
use coracle_virtio::device::console::{Control, Event, config, features as console_features, queue};
use coracle_virtio::device::{features, id};

/// Buffers for control messages, each way: as many as come at once when the device announces its ports.
const CONTROL_BUFFERS: u16 = 16;
/// Bytes of a control message that are looked at: longer names than this are none of ours.
const CONTROL_MOST: usize = 64;
/// How long the device may take to say what its ports are.
const PATIENCE_NS: u64 = 2_000_000_000;
/// The same where it need not have the port that is looked for.
const GLANCE_NS: u64 = 100_000_000;

/// The device.
pub struct VirtioConsole {
    transport: Transport,
    /// The control queues; a device with one port may have none.
    control: Option<ControlQueues>,
    ports: Vec<Named>,
    /// The ports are those that have names.
    named: bool,
}

/// What the device says of its ports, and what it is answered.
struct ControlQueues {
    receive: Mutex<Half>,
    transmit: Mutex<Half>,
}

/// A port and what it is for.
struct Named {
    port: Arc<Port>,
    /// Told by its name; `None` until then, and of a port without one.
    role: Mutex<Option<Role>>,
}

impl VirtioConsole {
    /// Sets the device up. `roles`: the ports with names that it is to have; none, if it is to be a console, which is
    /// port 0.
    pub fn new(transport: Transport, roles: &[Role]) -> Result<VirtioConsole, SetupError> {
        debug_assert_eq!(transport.device_type(), id::CONSOLE);
        let named = !roles.is_empty();
        let agreed = transport.negotiate(features::EVENT_IDX | console_features::MULTIPORT)?;
        let events = agreed & features::EVENT_IDX != 0;
        let several = agreed & console_features::MULTIPORT != 0;
        if named && !several {
            return Err(SetupError::Features);
        }
        // QEMU keeps port 0 for consoles, and counts the others in the order of its arguments.
        let numbers = if named { 1..=roles.len() as u32 } else { 0..=0 };
        if named && u32::from(transport.config_u16(config::MAX_PORTS)) <= *numbers.end() {
            return Err(SetupError::Configuration);
        }
        let mut ports = Vec::new();
        for number in numbers {
            let queues = queue::of_port(number).ok_or(SetupError::Configuration)?;
            let port = Port::new(&transport, number, queues, events)?;
            ports.push(Named { port: Arc::new(port), role: Mutex::new(None) });
        }
        let control = if several { Some(ControlQueues::new(&transport, events)?) } else { None };
        transport.start();
        let console = VirtioConsole { transport, control, ports, named };
        match &console.control {
            None => {
                for named in &console.ports {
                    named.port.start()?;
                    named.port.set_connected(true);
                }
            }
            Some(control) => {
                control.receive.lock().offer_all()?;
                control.send(0, Event::DeviceReady, 1);
                if named {
                    let known = |role: &Role| console.port(*role).is_some();
                    console.wait_until(PATIENCE_NS, || roles.iter().all(known))?;
                } else {
                    console.wait_until(GLANCE_NS, || {
                        console.ports.iter().all(|named| named.port.is_connected())
                    })?;
                }
            }
        }
        Ok(console)
    }

    /// Listens to the device until it has said what is waited for.
    fn wait_until(&self, patience_ns: u64, done: impl Fn() -> bool) -> Result<(), SetupError> {
        let deadline = time::now_ns() + patience_ns;
        while !done() {
            if time::now_ns() > deadline {
                return Err(SetupError::Configuration);
            }
            self.take_control();
            coracle_hal::cpu::relax();
        }
        Ok(())
    }

    /// The port for `role`.
    pub fn port(&self, role: Role) -> Option<&Arc<Port>> {
        self.ports.iter().find(|named| *named.role.lock() == Some(role)).map(|named| &named.port)
    }

    /// The port that is a console, where ports have no names.
    pub fn plain(&self) -> Option<&Arc<Port>> {
        self.ports.first().filter(|_| !self.named).map(|named| &named.port)
    }

    /// Lets the host's side send: what it has sent so far waits there.
    pub fn open(&self, port: &Port) {
        if let Some(control) = &self.control {
            control.send(port.number(), Event::PortOpen, 1);
            // QEMU looks for what its side of the port has to send when it is told of buffers (7.2; else when something else wakes it).
            port.tell_of_buffers();
        }
    }

    /// Whether the device may have done something since [`VirtioConsole::poll`].
    #[inline]
    pub fn interrupted(&self) -> bool {
        self.transport.irq().is_pending()
    }

    /// Takes what the device says, and wakes those that wait for its ports. Cheap if it has done nothing.
    pub fn poll(&self) {
        if !self.transport.acknowledge() {
            return;
        }
        self.take_control();
        for named in &self.ports {
            named.port.announce();
        }
    }

    /// Whether the host has taken all that was written.
    pub fn is_drained(&self) -> bool {
        self.ports.iter().all(|named| named.port.is_drained())
    }

    /// Obeys the control messages that have come.
    fn take_control(&self) {
        let Some(control) = &self.control else { return };
        let mut receive = control.receive.lock();
        loop {
            while let Some((buffer, len)) = receive.received() {
                let len = len.min(CONTROL_MOST);
                let mut bytes = [0; CONTROL_MOST];
                bytes[..len].copy_from_slice(&buffer.as_slice()[..len]);
                // Given back first: the device answers at once, and drops what it has no buffer for.
                receive.offer(buffer);
                receive.publish();
                if let Some(message) = Control::parse(&bytes[..len]) {
                    self.obey(control, message);
                }
            }
            if !receive.request_interrupt() {
                return;
            }
        }
    }

    fn obey(&self, control: &ControlQueues, message: Control<'_>) {
        let Some(named) = self.ports.iter().find(|named| named.port.number() == message.port) else { return };
        match message.event {
            Event::DeviceAdd => {
                let started = named.port.start().is_ok();
                control.send(message.port, Event::PortReady, u16::from(started));
            }
            Event::PortName => {
                let role = Role::ALL.into_iter().find(|role| role.name().as_bytes() == message.rest);
                // A name stays what it is.
                let mut known = named.role.lock();
                *known = known.or(role);
            }
            Event::PortOpen => named.port.set_connected(message.value != 0),
            Event::DeviceRemove => named.port.set_connected(false),
            Event::DeviceReady | Event::PortReady | Event::ConsolePort | Event::Resize => {}
        }
    }
}

impl ControlQueues {
    fn new(transport: &Transport, events: bool) -> Result<ControlQueues, SetupError> {
        Ok(ControlQueues {
            receive: Mutex::new(Half::new(transport, queue::CONTROL_RECEIVE, CONTROL_BUFFERS, events)?),
            transmit: Mutex::new(Half::new(transport, queue::CONTROL_TRANSMIT, CONTROL_BUFFERS, events)?),
        })
    }

    /// Tells the device something of a port. There are few messages, and the device reads them at once.
    fn send(&self, port: u32, event: Event, value: u16) {
        let bytes = Control { port, event, value, rest: &[] }.encode();
        let mut transmit = self.transmit.lock();
        transmit.reap();
        let Some(mut buffer) = PacketBuffer::alloc() else { return };
        buffer.as_mut_slice()[..bytes.len()].copy_from_slice(&bytes);
        transmit.send(buffer, bytes.len());
        transmit.publish();
    }
}
