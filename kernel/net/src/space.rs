//! Network namespaces (network_namespaces(7)). The first has the card. Each other has an engine of its own with a loopback, which is down
//! at first, and no other interface but those whose other end is a program (`tun`): there is no pair of interfaces between two namespaces.
use super::interface::Interface;
use super::stack::{self, Engine};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::lock::Mutex;
use coracle_core::task::attachment::{Attachment, Place};
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, try_arc};
use coracle_hal::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use coracle_tcpip::LoopbackState;
use core::ops::Deref;

/// The engines of all namespaces but the first. One leaves with its namespace, or, if sockets outlive that, by the next poll after
/// they are gone.
static ENGINES: Mutex<Vec<Arc<Alone>>> = Mutex::new(Vec::new());
/// How many they are.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// An engine without a card, in a list of one: it is too large for a box (`coracle_fallible::LARGEST`).
struct Alone(Vec<Engine>);

impl Alone {
    #[cold]
    #[inline(never)]
    fn engine(&self) -> &Engine {
        self.0.first().unwrap_or_else(|| stack::first())
    }
}

/// What a namespace keeps.
struct Network(Arc<Alone>);

impl Attachment for Network {
    fn new() -> Result<Network, NoMemory> {
        /// Numbers of namespaces; 0 is the first.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let interface = Interface::alone(NEXT.fetch_add(1, Ordering::Relaxed));
        let mut list = Vec::new();
        list.make_room(1)?;
        list.try_push(stack::make(interface).map_err(|_| NoMemory)?)?;
        let engine = try_arc(Alone(list))?;
        engine.engine().set_loopback_state(LoopbackState { is_up: false, has_ipv4: false });
        let mut engines = ENGINES.lock();
        engines.try_push(engine.clone())?;
        COUNT.store(engines.len(), Ordering::Relaxed);
        Ok(Network(engine))
    }
    fn program_ended(&self) {}
}

impl Drop for Network {
    fn drop(&mut self) {
        /// References to an engine that nothing uses: this one and the list's.
        const UNUSED: usize = 2;
        let gone = {
            let mut engines = ENGINES.lock();
            let place = engines.iter().position(|engine| Arc::ptr_eq(engine, &self.0));
            let place = place.filter(|_| Arc::strong_count(&self.0) == UNUSED);
            let gone = place.map(|place| engines.swap_remove(place));
            COUNT.store(engines.len(), Ordering::Relaxed);
            gone
        };
        drop(gone);
    }
}

#[inline(never)]
fn make(place: &Place) -> Result<(), NoMemory> {
    place.get_or_make::<Network>().map(|_| ())
}

coracle_core::give_make_network!(coracle_core::task::namespaces::MakeNetwork(super::space::make));

/// The engine of a network namespace, which lives as long as one of its sockets, processes or files.
#[derive(Clone)]
pub struct Home(Where);

#[derive(Clone)]
enum Where {
    First(&'static Engine),
    Other(Arc<Alone>),
}

impl Home {
    /// That of the running program.
    pub fn own() -> Home {
        if !coracle_core::this::is_any() {
            return Home(Where::First(stack::first()));
        }
        let net = coracle_core::this::with(|thread| thread.process.namespaces.lock().net.clone());
        let of_room = net.as_ref().and_then(|room| room.objects.place.get::<Network>());
        Home(match of_room {
            Some(network) => Where::Other(network.0.clone()),
            None => Where::First(stack::first()),
        })
    }

    /// Whether it is that of the first namespace.
    pub fn is_first(&self) -> bool {
        matches!(self.0, Where::First(_))
    }
}

impl Deref for Home {
    type Target = Engine;
    #[inline(always)]
    fn deref(&self) -> &Engine {
        match &self.0 {
            Where::First(engine) => engine,
            Where::Other(alone) => alone.engine(),
        }
    }
}

/// One of the engines, by its place. Those of namespaces that are gone leave the list.
fn nth(index: usize) -> Option<Arc<Alone>> {
    loop {
        let gone = {
            let mut engines = ENGINES.lock();
            let engine = engines.get(index)?;
            if Arc::strong_count(engine) > 1 {
                return Some(engine.clone());
            }
            let gone = engines.swap_remove(index);
            COUNT.store(engines.len(), Ordering::Relaxed);
            gone
        };
        drop(gone);
    }
}

/// What is due at `now` (ns since boot) in all namespaces but the first.
#[inline(always)]
pub fn poll(now: u64) {
    if COUNT.load(Ordering::Relaxed) != 0 {
        poll_all(now);
    }
}

#[cold]
#[inline(never)]
fn poll_all(now: u64) {
    let mut index = 0;
    while let Some(engine) = nth(index) {
        engine.engine().poll(now);
        index += 1;
    }
}

/// When [`poll`] must be called next, if ever, or for the first namespace earlier.
#[inline(always)]
pub fn next_deadline(first: Option<u64>) -> Option<u64> {
    if COUNT.load(Ordering::Relaxed) == 0 { first } else { least_deadline(first) }
}

#[cold]
#[inline(never)]
fn least_deadline(first: Option<u64>) -> Option<u64> {
    let engines = ENGINES.lock();
    engines.iter().filter_map(|engine| engine.engine().next_deadline()).chain(first).min()
}
