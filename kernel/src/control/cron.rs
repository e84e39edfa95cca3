//! The image's schedule: starts its jobs beside the main program, by the rules of cron(8).
//!
//! A thread of the kernel's own looks at the clock at the beginning of every minute. A guest whose image has no schedule has no such
//! thread. Jobs have the user, the directory and the environment of the main program, and write where it began to write.
use super::answer::Answer;
use super::launch::{self, Launch};
use crate::own_thread;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_control::CronRecord;
use coracle_core::errno::Errno;
use coracle_core::fs::file::OpenFile;
use coracle_core::fs::open::open;
use coracle_core::fs::walk::Bounds;
use coracle_core::ipc::poll::Events;
use coracle_core::lock::Mutex;
use coracle_core::log::{self, Line};
use coracle_core::task::process::{self, ExitStatus, Process};
use coracle_core::task::signal::{SigInfo, send_to_group};
use coracle_core::task::thread::Work;
use coracle_core::task::{later, sched};
use coracle_core::this;
use coracle_core::time::clock::realtime_ns;
use coracle_cron::{Job, Overlap, Walker};
use coracle_fallible::Lossy;
use coracle_fallible::prelude::*;
use coracle_hal::sync::atomic::Ordering::SeqCst;
use coracle_hal::time;
use coracle_image::archive::Config;
use coracle_loader::Strings;
use linux_raw_sys::general::{O_RDWR, SIGKILL};

const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * SECOND_NS;
/// The image's program, whose streams the jobs write to.
const FIRST_PROCESS: i32 = 1;

/// A job and what it does.
struct Entry {
    /// As the image has it ([`Job::decode`]).
    bytes: Vec<u8>,
    walker: Walker,
    running: Option<Arc<Process>>,
    /// It starts once more when it has ended.
    queued: bool,
}

/// The jobs, until the thread takes them.
static JOBS: Mutex<Vec<Entry>> = Mutex::new(Vec::new());
/// Standard output and error of the main program, as they were when it started.
static STREAMS: Mutex<[Option<Arc<OpenFile>>; 2]> = Mutex::new([None, None]);
/// What the jobs have done, in their order.
static RECORDS: Mutex<Vec<CronRecord>> = Mutex::new(Vec::new());

/// Whether an image has a schedule.
pub fn is_in(config: &Config) -> bool {
    config.cron().next().is_some()
}

/// Follows the schedule of an image from now on, whose program has started.
pub fn start(config: &Config) {
    if is_in(config)
        && let Err(error) = begin(config)
    {
        log!("the schedule of the image is not followed (error {})", error.number());
    }
}

#[inline(never)]
fn begin(config: &Config) -> Result<(), Errno> {
    let (mut jobs, mut records) = (Vec::new(), Vec::new());
    for bytes in config.cron() {
        let job = Job::decode(bytes).ok_or(Errno::INVAL)?;
        let walker = Walker::new(job.zone.minute_at(now_s() as i64));
        jobs.try_push(Entry { bytes: bytes.try_to_vec()?, walker, running: None, queued: false })?;
        records.try_push(CronRecord::default())?;
    }
    if let Some(first) = process::by_pid(FIRST_PROCESS) {
        *STREAMS.lock() = [1, 2].map(|number| first.descriptors.get(number).ok());
    }
    *JOBS.lock() = jobs;
    *RECORDS.lock() = records;
    own_thread::start(b"cron", Work::CRON)
}

/// Answers with what the jobs have done.
pub fn tell(answer: &mut Answer) -> Result<(), Errno> {
    for index in 0.. {
        // A statement of its own: the lock is let go at its end.
        let record = RECORDS.lock().get(index).copied();
        match record {
            Some(record) => answer.push(&record.encode())?,
            None => break,
        }
    }
    Ok(())
}

/// Tells the command that runs the guest the same, before the machine ends: a line of numbers for each job.
pub fn tell_at_end() {
    // The machine may end while the thread notes something.
    let Some(records) = RECORDS.try_lock().filter(|_| log::is_heard()) else { return };
    for record in records.iter() {
        let CronRecord { starts, skipped, started_s, ended_s, status, running } = record;
        log::write(Line::Job, format_args!("{starts} {skipped} {started_s} {ended_s} {status} {running}"));
    }
}

/// What the thread does.
pub fn main() -> ! {
    let mut jobs = core::mem::take(&mut *JOBS.lock());
    for (index, entry) in jobs.iter_mut().enumerate() {
        if Job::decode(&entry.bytes).is_some_and(|job| job.schedule.is_at_start()) {
            entry.run(index);
        }
    }
    loop {
        for (index, entry) in jobs.iter_mut().enumerate() {
            entry.look(index);
        }
        later::settle();
        if jobs.iter().any(Entry::has_ended) {
            continue;
        }
        // The end of a job wakes the thread, too.
        let left_ns = MINUTE_NS - realtime_ns() % MINUTE_NS;
        sched::park_aside(Some(time::now_ns() + left_ns));
    }
}

impl Entry {
    /// Starts the job if it is due, and notes its end.
    fn look(&mut self, index: usize) {
        self.reap(index);
        if self.running.is_none() && core::mem::take(&mut self.queued) {
            self.run(index);
        }
        let Some(job) = Job::decode(&self.bytes) else { return };
        let (now, mut is_due) = (job.zone.minute_at(now_s() as i64), false);
        self.walker.step(now, |minute, kinds| {
            is_due |= kinds.have(job.schedule.is_wild()) && job.schedule.is_due(minute);
        });
        if !is_due {
            return;
        }
        match (&self.running, job.overlap) {
            (None, _) => self.run(index),
            (Some(_), Overlap::Skip) => note(index, |record| record.skipped += 1),
            (Some(_), Overlap::Queue) => self.queued = true,
            (Some(process), Overlap::Kill) => {
                let _ = send_to_group(process.pid, SigInfo::kernel(SIGKILL));
                self.queued = true;
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.running.as_ref().is_some_and(|process| process.dead.load(SeqCst))
    }

    /// Notes the end of the job.
    fn reap(&mut self, index: usize) {
        if !self.has_ended() {
            return;
        }
        let status = self.running.take().and_then(|process| *process.exiting.lock());
        note(index, |record| {
            record.running = 0;
            record.ended_s = now_s();
            record.status = status.map_or(0, ExitStatus::wait_status) as u64;
        });
    }

    #[inline(never)]
    fn run(&mut self, index: usize) {
        let Some(job) = Job::decode(&self.bytes) else { return };
        match launch(job.command) {
            Ok(process) => {
                note(index, |record| {
                    record.starts += 1;
                    record.running = 1;
                    record.started_s = now_s();
                });
                self.running = Some(process);
            }
            Err(error) => {
                let status = CronRecord::NOT_STARTED | u64::from(error.number());
                note(index, |record| {
                    if record.status != status {
                        let path = strings(job.command).next().unwrap_or_default();
                        log!(
                            "{}, which the schedule names, can't be run (error {})",
                            Lossy(path),
                            error.number()
                        );
                    }
                    record.skipped += 1;
                    record.status = status;
                });
            }
        }
    }
}

/// Starts a command: its program's path, and its arguments.
fn launch(command: &[u8]) -> Result<Arc<Process>, Errno> {
    let defaults = launch::defaults().ok_or(Errno::NOMEM)?;
    let mut words = strings(command);
    let path = words.next().unwrap_or_default().try_to_vec()?;
    let (mut arguments, mut environment) = (Strings::new(), Strings::new());
    words.try_for_each(|word| arguments.push(word))?;
    strings(defaults.environment.as_bytes()).try_for_each(|variable| environment.push(variable))?;
    let context = this::with(|me| me.process.fs.clone());
    let null = open(&context, None, b"/dev/null", O_RDWR, 0, Bounds::default())?;
    let [output, error] = STREAMS.lock().clone();
    let streams = [Some(null.clone()), output.or(Some(null.clone())), error.or(Some(null))];
    let (user, directory) = (defaults.user, &defaults.directory[..]);
    let groups = Vec::new();
    let process = launch::start(Launch {
        path,
        directory,
        arguments,
        environment,
        user,
        groups,
        streams,
        terminal: None,
    })?;
    // It goes with the process. Without memory for it, the end is noted in the next minute.
    let _ = process.exit_source.subscribe_thread(this::with(Arc::clone), Events::IN);
    Ok(process)
}

/// The strings that a zero byte follows each.
fn strings(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|&byte| byte == 0).map(|string| string.strip_suffix(b"\0").unwrap_or(string))
}

fn note(index: usize, change: impl FnOnce(&mut CronRecord)) {
    if let Some(record) = RECORDS.lock().get_mut(index) {
        change(record);
    }
}

fn now_s() -> u64 {
    realtime_ns() / SECOND_NS
}
