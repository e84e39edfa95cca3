//! Trace points: what the kernel does, noted for `coracle trace --events` and the flight recorder.
//!
//! Each is a place that calls [`note`]. Those that are not chosen cost the test of a word. What is noted lies in a ring for each CPU
//! (`hal::events`), which is overwritten from its oldest event on.
use crate::errno::Errno;
use crate::lock::Mutex;
use crate::log::{self, Line};
use alloc::vec::Vec;
use coracle_control::{EventRecord, EventsHead, RingHead};
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, try_box};
use coracle_hal::events::{self, RECORD_WORDS, Ring};
use coracle_hal::percpu::MAX_CPUS;
use coracle_hal::{cpu, time};
use core::sync::atomic::AtomicU64;

pub use coracle_control::event as kind;
pub use coracle_control::event::bit;

/// Events of a CPU that are kept for a report.
const RECORDED: usize = 1024;
/// Events of a CPU that wait to be fetched at most, while they are traced.
const TRACED: usize = 8192;
/// Events that are copied at once.
const AT_ONCE: usize = 16;

const _: () = assert!(RECORD_WORDS == EventRecord::WORDS);
const _: () = assert!(events::INTERRUPT.0 == bit::IRQ && events::INTERRUPT.1 == kind::INTERRUPT);

/// Notes what `event` returns if events of these bits are chosen: its kind, and its words as the kind says.
#[inline(always)]
pub fn note(bits: u32, event: impl FnOnce() -> (u16, u16, u64, u64)) {
    if events::are_noted(bits) {
        chosen(event);
    }
}

#[cold]
#[inline(never)]
fn chosen(event: impl FnOnce() -> (u16, u16, u64, u64)) {
    let (kind, small, a, b) = event();
    events::note(kind, small, a, b);
}

/// Where events go.
struct Rings {
    /// The flight recorder's, by CPU; none without it.
    recorder: Vec<&'static Ring>,
    /// Those of traces, which stay for the next once they were made.
    tracer: Vec<&'static Ring>,
    /// What the flight recorder notes.
    recorded: u32,
    /// Up to where each CPU's were fetched, while they are traced.
    fetched: Option<[u64; MAX_CPUS]>,
}

static RINGS: Mutex<Rings> =
    Mutex::new(Rings { recorder: Vec::new(), tracer: Vec::new(), recorded: 0, fetched: None });

fn make(records: usize) -> Result<Vec<&'static Ring>, NoMemory> {
    let mut all = Vec::new();
    for _ in 0..cpu::count() {
        let words = (0..records * RECORD_WORDS).map(|_| AtomicU64::new(0)).try_collect_vec()?;
        let Some(ring) = Ring::new(words, AtomicU64::new(0)) else { unreachable!("a power of two") };
        all.try_push(&*alloc::boxed::Box::leak(try_box(ring)?))?;
    }
    Ok(all)
}

/// Has all CPUs use these rings: none has one that it has no place in.
fn use_rings(rings: &[&'static Ring]) {
    (0..cpu::count()).for_each(|cpu| events::set_ring(cpu, rings.get(cpu).copied()));
}

/// Starts the flight recorder, once the CPUs run. ENOMEM.
pub fn record(bits: u32) -> Result<(), NoMemory> {
    let rings = make(RECORDED)?;
    let mut own = RINGS.lock();
    own.recorder = rings;
    own.recorded = bits;
    use_rings(&own.recorder);
    events::choose(bits);
    Ok(())
}

/// Traces these events. EBUSY if that is done already, ENOMEM.
pub fn start(bits: u32) -> Result<(), Errno> {
    let is_made = !RINGS.lock().tracer.is_empty();
    let rings = if is_made { Vec::new() } else { make(TRACED)? };
    let mut own = RINGS.lock();
    if own.fetched.is_some() {
        return Err(Errno::BUSY);
    }
    if !is_made {
        own.tracer = rings;
    }
    let mut fetched = [0; MAX_CPUS];
    for (end, ring) in fetched.iter_mut().zip(&own.tracer) {
        *end = ring.end();
    }
    own.fetched = Some(fetched);
    use_rings(&own.tracer);
    events::choose(own.recorded | bits);
    Ok(())
}

/// Traces no events any more.
pub fn stop() {
    let mut own = RINGS.lock();
    own.fetched = None;
    events::choose(own.recorded);
    use_rings(&own.recorder);
}

/// Gives `take` the events since the last time, as they are sent. EINVAL if none are traced.
pub fn fetch(mut take: impl FnMut(&[u8]) -> Result<(), Errno>) -> Result<(), Errno> {
    let head = EventsHead {
        now_ns: time::now_ns(),
        now_ticks: events::ticks(),
        rate: events::tick_rate(),
        cpus: cpu::count() as u64,
    };
    take(&head.encode())?;
    for cpu in 0..cpu::count() {
        let (ring, from) = {
            let own = RINGS.lock();
            let fetched = own.fetched.as_ref().ok_or(Errno::INVAL)?;
            match own.tracer.get(cpu) {
                Some(ring) => (*ring, fetched[cpu]),
                None => continue,
            }
        };
        let end = each(cpu, ring, from, &mut take)?;
        if let Some(fetched) = &mut RINGS.lock().fetched {
            fetched[cpu] = end;
        }
    }
    Ok(())
}

/// Gives `take` the events of a ring from number `from` on, and returns where to go on.
fn each(
    cpu: usize,
    ring: &Ring,
    from: u64,
    take: &mut impl FnMut(&[u8]) -> Result<(), Errno>,
) -> Result<u64, Errno> {
    let (mut at, end) = (from, ring.end());
    while at < end {
        let mut records = [[0; RECORD_WORDS]; AT_ONCE];
        let reading = ring.read(at, &mut records);
        at = reading.next;
        let head = RingHead { cpu: cpu as u64, count: reading.count as u64, lost: reading.lost };
        take(&head.encode())?;
        for record in &records[..reading.count] {
            take(&EventRecord::from_words(*record).encode())?;
        }
    }
    Ok(at)
}

/// Writes the last events of every CPU, if any are noted, for `coracle` to make words of. Takes no lock but that of a line: for a report of
/// a crash.
#[cold]
pub fn report() {
    if !log::has_control() || events::ring(0).is_none() {
        return;
    }
    let (now_ns, now_ticks, rate) = (time::now_ns(), events::ticks(), events::tick_rate());
    log::write(Line::Event, format_args!("{now_ns:x} {now_ticks:x} {rate:x}"));
    for cpu in 0..cpu::count() {
        let Some(ring) = events::ring(cpu) else { continue };
        let mut at = ring.end().saturating_sub(RECORDED as u64);
        while at < ring.end() {
            let mut records = [[0; RECORD_WORDS]; AT_ONCE];
            let reading = ring.read(at, &mut records);
            at = reading.next;
            for [ticks, kind, a, b] in &records[..reading.count] {
                log::write(Line::Event, format_args!("{cpu:x} {ticks:x} {kind:x} {a:x} {b:x}"));
            }
        }
    }
}
