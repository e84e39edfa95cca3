//! What processes have used (getrusage(2)).
use super::process::Process;
use super::sched;
use super::thread::Thread;
use coracle_hal::sync::atomic::Ordering::Relaxed;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time in nanoseconds.
    pub cpu_ns: u64,
    /// Page faults that read from a file or made a page.
    pub faults: u64,
    /// How often threads left the CPU by themselves, and how often they had to.
    pub switches: [u64; 2],
    /// The most memory, of one process, in KiB.
    pub resident_kib: u64,
}

impl Usage {
    /// That of a thread.
    pub fn of_thread(thread: &Thread) -> Usage {
        Usage {
            cpu_ns: sched::cpu_time_ns(thread),
            faults: thread.faults.load(Relaxed),
            switches: [0, 1].map(|kind: usize| thread.sched.switches[kind].load(Relaxed)),
            resident_kib: 0,
        }
    }
    /// That of the threads of a process, ended ones included.
    pub fn of_process(process: &Process) -> Usage {
        let mut all = *process.ended_threads.lock();
        process.threads.lock().iter().for_each(|thread| all.add(&Usage::of_thread(thread)));
        all.faults = process.faults.load(Relaxed);
        all.resident_kib = all.resident_kib.max(resident_kib(process));
        all
    }
    /// Counts another's, too.
    pub fn add(&mut self, other: &Usage) {
        self.cpu_ns += other.cpu_ns;
        self.faults += other.faults;
        self.switches[0] += other.switches[0];
        self.switches[1] += other.switches[1];
        self.resident_kib = self.resident_kib.max(other.resident_kib);
    }
}

/// The memory that a process has now.
fn resident_kib(process: &Process) -> u64 {
    (process.memory().sizes().1 / 1024) as u64
}

/// A thread ends: its part stays.
pub fn thread_ends(thread: &Thread) {
    let mut used = Usage::of_thread(thread);
    used.resident_kib = resident_kib(&thread.process);
    thread.process.ended_threads.lock().add(&used);
}
