//! The way of records to one destination: a bounded queue, and a thread that hands them over.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::record::{Record, Stream};

/// Bytes of text that wait for a destination at most.
const MOST_WAITING: usize = 1 << 20;
/// What a record counts for beside its text.
const RECORD_COST: usize = 128;
/// How long a full queue holds the guest up before records are dropped.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a destination that failed is left alone.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the end of the guest waits for a destination.
const FAREWELL: Duration = Duration::from_secs(5);

/// Takes records. What is returned as an error is tried again after a while.
pub trait Destination: Send {
    /// Takes one record.
    ///
    /// # Errors
    /// If it can't now; it must not have taken a part of it then.
    fn take(&mut self, record: &Record) -> io::Result<()>;

    /// Nothing waits: what was taken must reach its place.
    ///
    /// # Errors
    /// If it can't.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct Queue {
    records: VecDeque<Record>,
    cost: usize,
    /// The guest was held up in vain: records are dropped until there is room.
    is_losing: bool,
    /// Records dropped since the last that was taken.
    lost: u64,
    /// Records dropped in all.
    lost_ever: u64,
    /// No more will come.
    is_over: bool,
    /// Nothing waits any more, after the end.
    is_done: bool,
    /// What is wrong, if something is.
    trouble: Option<String>,
}

struct Shared {
    name: String,
    queue: Mutex<Queue>,
    changed: Condvar,
    patience: Duration,
}

/// A destination with its queue.
pub struct Outlet {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What became of the records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Records that were dropped.
    pub lost: u64,
    /// Why the destination takes none now.
    pub trouble: Option<String>,
}

impl Outlet {
    /// Has `destination`, which is called `name` in messages, take records in a thread of its own. `changed` is told of losses and
    /// trouble.
    pub fn start(
        name: &str,
        destination: Box<dyn Destination>,
        changed: impl Fn(&Losses) + Send + 'static,
    ) -> Outlet {
        Self::with_patience(name, destination, changed, PATIENCE)
    }

    fn with_patience(
        name: &str,
        mut destination: Box<dyn Destination>,
        changed: impl Fn(&Losses) + Send + 'static,
        patience: Duration,
    ) -> Outlet {
        let (name, queue) = (name.to_owned(), Mutex::default());
        let shared = Arc::new(Shared { name, queue, changed: Condvar::new(), patience });
        let own = Arc::clone(&shared);
        let thread = thread::spawn(move || own.hand_over(&mut *destination, &changed));
        Outlet { shared, thread: Mutex::new(Some(thread)) }
    }

    /// Takes a record. If the queue is full, the caller waits, and with it the guest; after a while the record is dropped.
    pub fn push(&self, record: Record) {
        let shared = &*self.shared;
        let mut queue = shared.lock();
        let until = Instant::now() + shared.patience;
        while queue.cost >= MOST_WAITING && !queue.is_over {
            let left = until.saturating_duration_since(Instant::now());
            if queue.is_losing || left.is_zero() {
                queue.is_losing = true;
                queue.lost += 1;
                queue.lost_ever += 1;
                return;
            }
            queue = shared.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.cost += RECORD_COST + record.text.len();
        queue.records.push_back(record);
        shared.changed.notify_all();
    }

    /// Waits until what is in the queue was taken, but not for long. Returns what was lost.
    pub fn end(&self) -> Losses {
        let shared = &*self.shared;
        let mut queue = shared.lock();
        queue.is_over = true;
        shared.changed.notify_all();
        let until = Instant::now() + FAREWELL;
        while !queue.is_done {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                queue.lost_ever += queue.records.len() as u64;
                let trouble = queue.trouble.take();
                return Losses { lost: queue.lost_ever, trouble };
            }
            queue = shared.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let losses = queue.losses();
        drop(queue);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It has nothing left to do.
            let _ = thread.join();
        }
        losses
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.shared.name
    }
}

impl Queue {
    fn losses(&self) -> Losses {
        Losses { lost: self.lost_ever, trouble: self.trouble.clone() }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the thread does.
    fn hand_over(&self, destination: &mut dyn Destination, changed: &dyn Fn(&Losses)) {
        let mut is_flushed = true;
        loop {
            let mut queue = self.lock();
            // The record stays in the queue until it was taken: it counts as waiting.
            let record = loop {
                if let Some(record) = queue.records.front() {
                    break Some(record.clone());
                }
                if queue.lost > 0 {
                    break None;
                }
                if !is_flushed {
                    drop(queue);
                    is_flushed = true;
                    // What can't be flushed now is tried with the next record.
                    let _ = destination.flush();
                    queue = self.lock();
                    continue;
                }
                if queue.is_over {
                    queue.is_done = true;
                    self.changed.notify_all();
                    return;
                }
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            };
            let lost = queue.lost;
            drop(queue);
            let text = || format!("{lost} lines were lost here: {} did not take them in time", self.name);
            let record_of_loss = || Record::line(Stream::Kernel, text());
            let is_record = record.is_some();
            match destination.take(&record.unwrap_or_else(record_of_loss)) {
                Ok(()) => self.taken(is_record, lost, changed),
                Err(error) => self.failed(&error, changed),
            }
            is_flushed = false;
        }
    }

    fn taken(&self, is_record: bool, lost: u64, changed: &dyn Fn(&Losses)) {
        let mut queue = self.lock();
        if is_record {
            let cost = queue.records.pop_front().map_or(0, |record| RECORD_COST + record.text.len());
            queue.cost -= cost;
            // Room for a good many, so that one at a time does not pass between those that are dropped.
            if queue.cost < MOST_WAITING / 2 {
                queue.is_losing = false;
            }
        } else {
            queue.lost -= lost;
        }
        let told = (!is_record || queue.trouble.take().is_some()).then(|| queue.losses());
        drop(queue);
        self.changed.notify_all();
        if let Some(losses) = told {
            changed(&losses);
        }
    }

    fn failed(&self, error: &io::Error, changed: &dyn Fn(&Losses)) {
        let mut queue = self.lock();
        let trouble = Some(error.to_string());
        let told = (queue.trouble != trouble).then(|| {
            queue.trouble = trouble;
            queue.losses()
        });
        if let Some(losses) = told {
            drop(queue);
            changed(&losses);
            queue = self.lock();
        }
        // The end is not waited for longer than `end` does.
        let pause = self.changed.wait_timeout_while(queue, PAUSE, |queue| !queue.is_over);
        if pause.unwrap_or_else(PoisonError::into_inner).0.is_over {
            thread::sleep(PAUSE / 10);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes records once it is open.
    #[derive(Clone, Default)]
    struct Gate {
        is_open: Arc<Mutex<bool>>,
        taken: Arc<Mutex<Vec<String>>>,
    }

    impl Destination for Gate {
        fn take(&mut self, record: &Record) -> io::Result<()> {
            if !*self.is_open.lock().unwrap() {
                return Err(io::Error::other("closed"));
            }
            self.taken.lock().unwrap().push(String::from_utf8_lossy(&record.text).into_owned());
            Ok(())
        }
    }

    #[test]
    fn what_waits_is_taken_later() {
        let gate = Gate::default();
        let outlet = Outlet::start("gate", Box::new(gate.clone()), |_| {});
        (0..10).for_each(|n| outlet.push(Record::line(Stream::Stdout, n.to_string())));
        *gate.is_open.lock().unwrap() = true;
        assert_eq!(outlet.end().lost, 0);
        assert_eq!(*gate.taken.lock().unwrap(), (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_lost_is_counted_and_said() {
        let gate = Gate::default();
        let outlet = Outlet::with_patience("gate", Box::new(gate.clone()), |_| {}, Duration::ZERO);
        let text = vec![b'x'; MOST_WAITING];
        (0..5).for_each(|_| outlet.push(Record::line(Stream::Stdout, text.clone())));
        *gate.is_open.lock().unwrap() = true;
        assert_eq!(outlet.end().lost, 4);
        let taken = gate.taken.lock().unwrap();
        assert_eq!((taken.len(), taken[0].len()), (2, MOST_WAITING));
        assert!(taken[1].starts_with("4 lines were lost here: gate"), "{}", taken[1]);
    }
}
