//! What keeps the clock: the offset of a source is handed to the clock's discipline, as a daemon does by adjtimex(2); a large one sets the clock.
//!
//! The sources are NTP servers, if some are named (`outbound::ntp`), or else the host's clock, where the hypervisor tells it together with the
//! counter by which the guest's runs (`time::host_clock`; Linux's `ptp_kvm` reads the same).
use crate::outbound::pause;
use crate::own_thread;
use coracle_clock_discipline::Timex;
use coracle_core::errno::Errno;
use coracle_core::task::sched;
use coracle_core::task::thread::Work;
use coracle_core::time::clock::{self, SECOND_NS};
use coracle_core::time::discipline;
use coracle_hal::time;
use coracle_sntp::{self as sntp, Correction, Plan, Sample, correction};

/// Follows the host's clock from now on, if the hypervisor tells it. ENOMEM.
pub fn start() -> Result<(), Errno> {
    if time::host_clock().is_none() {
        return Ok(());
    }
    info!("the host's clock is followed, as KVM tells it");
    own_thread::start(b"host-clock", Work::HOST_CLOCK)
}

/// What the thread does.
pub fn main() -> ! {
    let mut plan = Plan::default();
    // A program that sets the clock, or keeps it by adjtimex(2), means to.
    while !discipline::is_left_to_program() {
        let pair = time::host_clock();
        let sample = pair.and_then(|pair| {
            Sample::of_pair(pair.wall_ns, pair.now_ns.wrapping_add(clock::wall_offset_ns()))
        });
        let wait_s = match sample {
            Some(sample) => {
                match correction(&sample) {
                    Correction::Step => step("the host's clock", &sample),
                    Correction::Slew => slew("the host's clock", &sample, &plan),
                }
                discipline::note_source(format_args!("kvm"), sample.offset_ns);
                plan.succeeded(sample.offset_ns)
            }
            // A host whose own clock is another one now, as after a migration.
            None => plan.failed(),
        };
        pause(wait_s * SECOND_NS);
    }
    loop {
        sched::park_aside(None);
    }
}

fn adjust(source: &str, timex: &mut Timex) {
    if let Err(error) = discipline::adjust(timex, true) {
        log!("{source}: the clock can't be corrected (error {})", error.number());
    }
}

/// Sets the clock. An offset that ntpd(8) would give up for is always told.
pub fn step(source: &str, sample: &Sample) {
    /// ntpd(8)'s panic threshold.
    const SURPRISING_S: u64 = 1000;
    let mut timex = sntp::step(sample);
    let [seconds, rest] = timex.time;
    if seconds.unsigned_abs() > SURPRISING_S {
        log!("{source}: the clock was {seconds} s off, and is set");
    } else {
        info!("{source}: the clock is set by {seconds} s and {rest} ns");
    }
    adjust(source, &mut timex);
}

/// Lets it run faster or slower for a while.
pub fn slew(source: &str, sample: &Sample, plan: &Plan) {
    adjust(source, &mut sntp::slew(sample, plan));
}
