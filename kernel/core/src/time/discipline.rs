//! adjtimex(2): the clock runs faster or slower as programs ask for it (the crate `coracle-clock-discipline`).
//!
//! What changes with the seconds of the real-time clock is caught up with when it is asked for. Only while the rate is to change with the next second
//! there is a timer for it.
use super::clock::{self, SECOND_NS};
use super::timer::{Timed, Timer};
use super::wall;
use crate::errno::Errno;
use crate::lock::Mutex;
use alloc::sync::{Arc, Weak};
use coracle_clock_discipline::{Discipline, Now, Refusal, Timex, state};
use coracle_fallible::{NoMemory, Text, try_arc_cyclic};
use coracle_hal::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use coracle_hal::time;
use core::fmt;

static DISCIPLINE: Mutex<Discipline> = Mutex::new(Discipline::new());
static TICKER: Mutex<Option<Arc<Ticker>>> = Mutex::new(None);
/// By how much TAI is ahead, for those that only read it.
static TAI_NS: AtomicU64 = AtomicU64::new(0);

/// What sets the clock by the network, and how far it was off when it was asked last, in nanoseconds.
static SOURCE: Mutex<Option<(Text, i64)>> = Mutex::new(None);

/// A program keeps the clock: it has set it, or changed how it runs.
static IS_PROGRAMS: AtomicBool = AtomicBool::new(false);

/// Notes that a program keeps the clock from now on.
pub fn leave_to_program() {
    if !IS_PROGRAMS.swap(true, Relaxed) {
        *SOURCE.lock() = None;
    }
}

/// Whether a program does.
pub fn is_left_to_program() -> bool {
    IS_PROGRAMS.load(Relaxed)
}

/// Notes what the clock is kept by.
pub fn note_source(name: fmt::Arguments<'_>, offset_ns: i64) {
    let mut text = Text::new();
    // Without memory its name is missing.
    let _ = text.write_fmt(name);
    *SOURCE.lock() = Some((text, offset_ns));
}

/// Writes what the clock is kept by, how far it was off, and how it runs, a line each. ENOMEM.
pub fn describe(text: &mut Text) -> Result<(), NoMemory> {
    catch_up();
    let mut timex = Timex::default();
    let (state, adjustment) = {
        let mut discipline = DISCIPLINE.lock();
        (discipline.adjust(&mut timex, Now { seconds: 0, nanoseconds: 0 }), discipline.adjustment())
    };
    text.push(b"source ")?;
    match &*SOURCE.lock() {
        Some((name, offset_ns)) => {
            text.push(name.as_bytes())?;
            writeln!(text, "\nmeasured_offset_ns {offset_ns}")?;
        }
        None => writeln!(text, "{}", time::wall_source())?,
    }
    let is_synchronised = u8::from(state != state::ERROR);
    // Parts per million times 2^16.
    writeln!(
        text,
        "synchronised {is_synchronised}\nfrequency {}\nmax_error_us {}",
        timex.frequency, timex.max_error
    )?;
    writeln!(text, "rate_ns_per_s {}\ntai {}", adjustment >> 32, timex.tai)
}

/// The timer of the seconds.
struct Ticker {
    this: Weak<Ticker>,
    timer: Mutex<Timer>,
}

impl Timed for Ticker {
    fn expired(&self, _now_ns: u64) {
        catch_up();
        self.arm_if_needed();
    }
}

impl Ticker {
    fn arm_if_needed(&self) {
        if DISCIPLINE.lock().needs_seconds() {
            let left = SECOND_NS - clock::realtime_ns() % SECOND_NS;
            self.timer.lock().set(clock::monotonic_ns() + left, &self.this);
        }
    }
}

/// The timer, which exists from the first change on. ENOMEM.
fn ticker() -> Result<Arc<Ticker>, Errno> {
    let mut ticker = TICKER.lock();
    if let Some(ticker) = &*ticker {
        return Ok(ticker.clone());
    }
    let timer = Timer::new()?;
    let new = try_arc_cyclic(|this| Ticker { this: this.clone(), timer: Mutex::new(timer) })?;
    *ticker = Some(new.clone());
    Ok(new)
}

/// Lets the clock run as the discipline has it.
fn apply(discipline: &Discipline) {
    time::steer(discipline.adjustment());
    TAI_NS.store((discipline.tai() as u64).wrapping_mul(SECOND_NS), Relaxed);
}

/// Has the seconds pass that have begun meanwhile.
fn catch_up() {
    let leap = {
        let mut discipline = DISCIPLINE.lock();
        let leap = discipline.advance((clock::realtime_ns() / SECOND_NS) as i64);
        apply(&discipline);
        leap
    };
    if leap != 0 {
        let step_ns = leap.saturating_mul(SECOND_NS as i64);
        wall::set_offset_ns(clock::wall_offset_ns().saturating_add_signed(step_ns));
    }
}

/// The clock was stepped: what it was slewed by is void.
pub fn clock_was_set() {
    let mut discipline = DISCIPLINE.lock();
    discipline.was_set();
    apply(&discipline);
}

/// By how many nanoseconds TAI is ahead of UTC; wraps if it is behind.
pub fn tai_ns() -> u64 {
    TAI_NS.load(Relaxed)
}

/// Does what `timex` asks for, and fills in the answer; returns what adjtimex(2) does. `is_privileged`: the caller has CAP_SYS_TIME. EINVAL, EPERM,
/// ENOMEM.
pub fn adjust(timex: &mut Timex, is_privileged: bool) -> Result<usize, Errno> {
    timex.check(is_privileged).map_err(|refusal| match refusal {
        Refusal::Invalid => Errno::INVAL,
        Refusal::NotPermitted => Errno::PERM,
    })?;
    let ticker = if timex.modes != 0 { Some(ticker()?) } else { None };
    if let Some(step_ns) = timex.step_ns() {
        clock::set_realtime_ns(clock::realtime_ns().checked_add_signed(step_ns).ok_or(Errno::INVAL)?)?;
    }
    catch_up();
    let state = {
        let mut discipline = DISCIPLINE.lock();
        let [seconds, nanoseconds] = clock::to_timespec(clock::realtime_ns()).map(|part| part as i64);
        let state = discipline.adjust(timex, Now { seconds, nanoseconds });
        apply(&discipline);
        state
    };
    if let Some(ticker) = ticker {
        ticker.arm_if_needed();
    }
    Ok(state)
}
