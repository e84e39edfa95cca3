//! The one instance of the engine: how it gets its address, and when it is polled.
//!
//! Once a poll has found packets, the card raises no interrupts until they are asked for again, before a CPU sleeps
//! ([`arm`]). A program that computes for long without a call that sleeps would leave packets lying and frames unsent:
//! a one-shot timer, the guard, looks after that, and if it finds nothing it asks for interrupts and stops. So at any
//! time interrupts are asked for, or the guard is set.
use super::interface::{Interface, Watch};
use super::space;
use super::space::Home;
use alloc::vec::Vec;
use coracle_control::link;
use coracle_core::errno::Errno;
use coracle_core::ipc::poll::{Events, PollSource, block_on};
use coracle_core::task::run_queue;
use coracle_devices::capture;
use coracle_devices::virtio::net::Net;
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use coracle_hal::time::{interrupt_between, now_ns};
use coracle_image::cmdline::{CommandLine, IpSetting};
use coracle_tcpip::{Config, Ipv4Config, Limits, Stack};
use core::net::Ipv4Addr;

/// The engine over our card.
pub type Engine = Stack<Interface, Watch>;

static ENGINE: Once<Engine> = Once::new();
/// Name servers of the command line; those of DHCP come after them.
static NAME_SERVERS: Once<Vec<Ipv4Addr>> = Once::new();
/// DHCP runs and has not answered yet.
static CONFIGURING: AtomicBool = AtomicBool::new(false);
/// Told when it has.
static CONFIGURED: PollSource = PollSource::new();
/// When the network must be looked at although the program computes; [`NO_GUARD`]: interrupts are asked for.
static GUARD: AtomicU64 = AtomicU64::new(NO_GUARD);
const NO_GUARD: u64 = u64::MAX;

/// The last look at the card found one packet only, and no frame was sent since.
static ALONE: AtomicBool = AtomicBool::new(false);

/// How long a packet may wait, to come in or to go out, while a program computes: once for each time that it stops
/// asking. Up to twice as long if the timer is set for something else in between. Shorter, and the timer's interrupts would show in the cost of a busy server's requests.
const GUARD_NS: u64 = 1_000_000;
/// How long a program that needs an address waits for DHCP.
const DHCP_PATIENCE_NS: u64 = 5_000_000_000;
/// On machines of less than 64 MiB, sockets get a fraction of the usual bounds.
const SMALL_MACHINE: u64 = 64 << 20;
/// A socket's buffer of each direction grows to this part of memory at most, but may to so many bytes.
const SOCKET_SHARE: u64 = 128;
const LEAST_SOCKET_MAX: u64 = 64 << 10;

/// The engine of the running program's network namespace.
pub fn engine() -> Home {
    Home::own()
}

/// The engine of the first namespace. Before [`start`] (or without a card) it knows the loopback only.
#[inline(always)]
pub fn first() -> &'static Engine {
    // Gives what `call_once` would, but the compiler sees that it is always this one place, and keeps no pointer to it.
    loop {
        match ENGINE.get() {
            Some(engine) => return engine,
            None => make_alone(),
        }
    }
}

#[cold]
#[inline(never)]
fn make_alone() {
    ENGINE.call_once(make_first_alone);
}

/// The network card, if there is one.
#[inline(always)]
fn card() -> Option<&'static Net> {
    ENGINE.get()?.device().card()
}

fn make_first_alone() -> Engine {
    make_first(Interface::new(None))
}

fn make_first(interface: Interface) -> Engine {
    match make(interface) {
        Ok(engine) => engine,
        Err(error) => panic!("the network cannot be started: {error}"),
    }
}

/// An engine over an interface. [`coracle_tcpip::Error::NoBuffers`].
#[inline(never)]
pub(crate) fn make(interface: Interface) -> Result<Engine, coracle_tcpip::Error> {
    let secret = core::array::from_fn(|_| coracle_core::random::u64());
    let mut config = Config::new(secret);
    let memory = coracle_hal::boot::memory_size();
    let usual = Limits::default();
    // As Linux bounds tcp_rmem and tcp_wmem: one socket gets no more than a 128th of memory.
    let most = (memory / SOCKET_SHARE).max(LEAST_SOCKET_MAX) as usize;
    // What is left of the default for each part of 64 MiB, so that a few busy sockets can't take all memory.
    let part = |bytes: usize| (bytes as u64 * memory.min(SMALL_MACHINE) / SMALL_MACHINE) as usize;
    config.limits = Limits {
        receive_default: part(usual.receive_default).max(16 << 10),
        receive_max: usual.receive_max.min(most),
        send_default: part(usual.send_default).max(16 << 10),
        send_max: usual.send_max.min(most),
        udp_receive: part(usual.udp_receive).max(32 << 10),
        ..usual
    };
    Stack::new(interface, config)
}

/// Starts the network over `card` as the command line says. Does not wait for DHCP.
#[inline(never)]
pub fn start(card: Option<Net>, settings: &CommandLine) {
    NAME_SERVERS.call_once(|| settings.dns.clone());
    let has_card = card.is_some();
    let engine = ENGINE.call_once(|| make_first(Interface::new(card)));
    if !has_card {
        return;
    }
    let now = now_ns();
    if settings.ip != Some(IpSetting::None) {
        engine.start_ipv6(now, None);
    }
    match &settings.ip {
        Some(IpSetting::None) => {}
        Some(IpSetting::Static(address, prefix_len)) => {
            let config = Ipv4Config { address: *address, prefix_len: *prefix_len, gateway: settings.gateway };
            engine.set_ipv4(now, Some(config));
            info!("network: {address}/{prefix_len}");
        }
        None | Some(IpSetting::Dhcp) => {
            CONFIGURING.store(true, Ordering::Release);
            engine.dhcp_start(now, settings.hostname.as_deref());
        }
    }
    flush();
    request_guard(now);
}

/// Calls `take` for the name servers, those of the command line and then those of DHCP, up to its first error.
pub fn for_each_name_server<E>(take: impl FnMut(Ipv4Addr) -> Result<(), E>) -> Result<(), E> {
    let configured: &[Ipv4Addr] = NAME_SERVERS.get().map_or(&[], |servers| servers);
    let lease = first().lease();
    let of_lease = lease.iter().flat_map(|lease| &lease.dns).filter(|server| !configured.contains(server));
    configured.iter().chain(of_lease).copied().try_for_each(take)
}

/// Waits until DHCP has answered, if it runs; a program that needs an address of ours calls this. Gives up after a
/// while, and then for good: what follows fails as it does on a machine without a network.
pub fn wait_configured() -> Result<(), Errno> {
    // The network of another namespace waits for nothing.
    if !CONFIGURING.load(Ordering::Acquire) || !Home::own().is_first() {
        return Ok(());
    }
    let deadline = now_ns() + DHCP_PATIENCE_NS;
    let waited = block_on(&CONFIGURED, false, Some(deadline), || {
        if CONFIGURING.load(Ordering::Acquire) { Err(Errno::AGAIN) } else { Ok(()) }
    });
    match waited {
        Err(Errno::AGAIN) => {
            if CONFIGURING.swap(false, Ordering::AcqRel) {
                log!("network: no answer by DHCP; going on without an address");
            }
            Ok(())
        }
        other => other,
    }
}

/// Waits until no address of IPv6 is being probed, which takes a second or two after the machine's start. Gives up after a
/// while.
pub fn wait_ipv6() -> Result<(), Errno> {
    /// Nothing announces that an address can be used.
    const LOOK_EVERY_NS: u64 = 20_000_000;
    let deadline = now_ns() + DHCP_PATIENCE_NS;
    while engine().ipv6_is_starting() && now_ns() < deadline {
        let look = Some(now_ns() + LOOK_EVERY_NS);
        match block_on(&CONFIGURED, false, look, || Err::<(), _>(Errno::AGAIN)) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    Ok(())
}

#[cold]
fn look_for_lease(engine: &Engine) {
    if let Some(config) = engine.ipv4()
        && CONFIGURING.swap(false, Ordering::AcqRel)
    {
        info!("network: {}/{} by DHCP", config.address, config.prefix_len);
        CONFIGURED.notify(Events::IN);
    }
}

/// Takes what has been received, lets the engine do what is due at `now` (ns since boot), and sends what waits. Gives the
/// packets received: if there are any, interrupts are off.
pub fn poll(now: u64) -> usize {
    space::poll(now);
    let Some(engine) = ENGINE.get() else { return 0 };
    let Some(card) = engine.device().card() else {
        engine.poll(now);
        return 0;
    };
    let count = card.receive(
        |head, told| engine.receive_single(now, head, told.checksum, told.segment_size),
        |frame| engine.receive_merged(now, frame),
    );
    engine.poll(now);
    card.flush();
    ALONE.store(count == 1, Ordering::Relaxed);
    if count > 0 && CONFIGURING.load(Ordering::Relaxed) {
        look_for_lease(engine);
    }
    // A CPU that went idle while we were at the queue could not ask for itself.
    if run_queue::others_idle() && card.arm() == Some(true) {
        // It can take what has come meanwhile.
        run_queue::kick_idle();
    }
    count
}

/// Whether a packet waits to be taken. False also if another CPU is at it.
pub fn has_come() -> bool {
    card().is_some_and(Net::has_come)
}

/// Rings the doorbell for frames that were queued outside of [`poll`].
fn flush() {
    if let Some(card) = card() {
        card.flush();
    }
}

/// A socket call has queued frames: they go out with the next [`poll`], or soon. The answer to a request that came alone
/// goes at once: there is no batch to wait for, and the device works while the program goes back to wait.
#[inline(always)]
pub fn sent(now: u64) {
    request_guard(now);
    if ALONE.load(Ordering::Relaxed)
        && let Some(card) = card()
        && card.flush()
    {
        ALONE.store(false, Ordering::Relaxed);
    }
}

/// Asks the card for interrupts instead of setting the guard. True: it has something already; `None`: another CPU is at
/// the queue, and it isn't known which of the two holds. That CPU looks for idle ones when it has let go of the queue, and
/// asks in their place.
pub fn arm() -> Option<bool> {
    let Some(card) = card() else { return Some(false) };
    // First: who queues a frame and still finds the guard set has queued it before the flush.
    GUARD.store(NO_GUARD, Ordering::SeqCst);
    card.flush();
    card.arm()
}

/// When [`poll`] must be called next for the engine's timers (ns since boot), if ever.
pub fn next_deadline() -> Option<u64> {
    let first = ENGINE.get().and_then(Engine::next_deadline);
    space::next_deadline(first)
}

/// Makes sure that somebody looks at the network soon, though the program may compute.
#[inline(always)]
pub fn request_guard(now: u64) {
    // A guard in the past has gone off while somebody polled anyway; one more than none is 0.
    if GUARD.load(Ordering::Relaxed).wrapping_add(1) <= now + 1 {
        GUARD.store(now + GUARD_NS, Ordering::Release);
        set_guard_timer(now + GUARD_NS);
    }
}

#[inline(always)]
fn set_guard_timer(guard: u64) {
    interrupt_between(guard, guard + GUARD_NS);
}

/// After an interrupt of the program: looks at the network if the guard says so.
pub fn poll_if_guarded() {
    match GUARD.load(Ordering::Acquire) {
        NO_GUARD => return,
        // Another interrupt; if it was that of an earlier timer, this CPU's timer must be set again.
        later if later > now_ns() => return set_guard_timer(later),
        _ => {}
    }
    GUARD.store(NO_GUARD, Ordering::Release);
    let now = now_ns();
    if poll(now) > 0 {
        return request_guard(now);
    }
    settle();
}

/// Whether the guard is set, not interrupts asked for.
pub fn is_guarded() -> bool {
    GUARD.load(Ordering::Relaxed) != NO_GUARD
}

/// Asks for interrupts in place of the guard, and takes what has come by then, so that what comes next interrupts the
/// program.
pub fn settle() {
    // A flood of packets is left to the guard, or the program would never go on.
    for _ in 0..2 {
        match arm() {
            Some(true) => {
                poll(now_ns());
            }
            Some(false) => return,
            None => break,
        }
    }
    request_guard(now_ns());
}

/// The links that packets can be captured on, by bits of [`coracle_control::link`].
const LINKS: u32 = link::DEVICE | link::LOOPBACK;

/// Captures the packets of `links` (bits of [`coracle_control::link`]) that the filter takes, up to `snap_len` bytes of each. EBUSY if
/// that is done already, EINVAL for a filter that is none or no link, ENOMEM.
pub fn start_capture(links: u32, snap_len: u32, filter: &[u8]) -> Result<(), Errno> {
    if links & LINKS == 0 {
        return Err(Errno::INVAL);
    }
    capture::start(snap_len, filter)?;
    CAPTURED.store(links, Ordering::Relaxed);
    watch();
    Ok(())
}

/// Captures nothing any more.
pub fn stop_capture() {
    CAPTURED.store(0, Ordering::Relaxed);
    watch();
    capture::stop();
}

/// The links that packets are captured on.
static CAPTURED: AtomicU32 = AtomicU32::new(0);
/// The same, for sockets of AF_PACKET.
static TAPPED: AtomicU32 = AtomicU32::new(0);

/// Shows all packets to sockets of AF_PACKET, or none any more.
pub fn tap(on: bool) {
    capture::tap(on);
    TAPPED.store(if on { LINKS } else { 0 }, Ordering::Relaxed);
    watch();
}

/// Has the packets of the links that are watched shown to [`capture`].
fn watch() {
    let links = CAPTURED.load(Ordering::Relaxed) | TAPPED.load(Ordering::Relaxed);
    first().watch_loopback(links & link::LOOPBACK != 0);
    if let Some(card) = card() {
        card.watch(links & link::DEVICE != 0);
    }
}

/// Whether the card has sent everything.
pub fn is_drained() -> bool {
    card().is_none_or(|card| card.is_drained())
}

/// Before the machine ends: waits a moment for what was sent to be acknowledged, as a kernel does that outlives the
/// program.
pub fn drain() {
    /// How long a peer may take.
    const PATIENCE_NS: u64 = 1_000_000_000;
    let deadline = now_ns() + PATIENCE_NS;
    super::tcp::forget_finished();
    while super::tcp::unfinished() && now_ns() < deadline {
        poll(now_ns());
        coracle_hal::cpu::relax();
    }
    poll(now_ns());
}
