//! The kernel's own thread: it waits for disks where no program's thread can.
//!
//! It is there on a machine with disks or shared directories only. At boot it looks at them before it starts the program. From then on it writes
//! back what has been dirty for a while, and sleeps while nothing is. At the end it writes what is left.
use crate::{boot, volumes};
use alloc::boxed::Box;
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::ipc::poll::{Events, PollSource, wait_until};
use coracle_core::lock::Mutex;
use coracle_core::task::later;
use coracle_core::task::process::Process;
use coracle_core::task::sched::{self, Wake};
use coracle_core::task::thread::{Thread, Work};
use coracle_fallible::try_box;
use coracle_fs::block::{file, registry};
use coracle_fs::cache::pool;
use coracle_fs::dev;
use coracle_fs::ext4::volume;
use coracle_fs::remote::session;
use coracle_hal::context::UserContext;
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::{AtomicU8, Ordering};
use coracle_hal::time;
use coracle_image::archive::Config;
use coracle_image::cmdline::CommandLine;

/// How long a page stays dirty before it is written back, if no call asks for it earlier.
const AGE_NS: u64 = 5_000_000_000;
/// How long the end of the machine waits for the disks.
const PATIENCE_NS: u64 = 30_000_000_000;

/// The thread.
static THREAD: Once<Arc<Thread>> = Once::new();

/// What the program is started from.
static PROGRAM: Mutex<Option<Box<Program>>> = Mutex::new(None);

struct Program {
    settings: Box<CommandLine>,
    config: Option<Config<'static>>,
}

/// How far the end is.
static END: AtomicU8 = AtomicU8::new(RUNNING);
static ENDED: PollSource = PollSource::new();
const RUNNING: u8 = 0;
const ASKED: u8 = 1;
const SYNCED: u8 = 2;

/// Starts the thread, a part of `process`, which starts the program. ENOMEM.
pub fn start(
    process: &Arc<Process>,
    settings: Box<CommandLine>,
    config: Option<Config<'static>>,
) -> Result<(), Errno> {
    let program = try_box(Program { settings, config })?;
    *PROGRAM.lock() = Some(program);
    let thread = Thread::new(process.clone(), 0, &UserContext::default(), 0, false)?;
    thread.set_name(b"storage");
    thread.work().set(Work::KERNEL);
    // No process has it in its list.
    THREAD.call_once(|| thread.clone());
    sched::start(thread);
    Ok(())
}

/// What the thread does.
pub fn main() -> ! {
    registry::explore();
    if let Err(error) = dev::add_block_devices() {
        log!("/dev lacks the disks (error {})", error.number());
    }
    boot::find_files();
    start_program();
    loop {
        later::settle();
        wait_until(&pool::DIRTIED, Events::IN, &mut || {
            pool::counts().1 > 0 || volume::has_changes() || session::has_changes() || is_asked()
        });
        if !is_asked() {
            let deadline_ns = time::now_ns() + AGE_NS;
            while !is_asked() && sched::park_aside(Some(deadline_ns)) != Wake::TimedOut {}
        }
        file::sync_all();
        volume::sync_all();
        session::sync_all();
        pool::balance();
        if is_asked() {
            volume::end_all();
            END.store(SYNCED, Ordering::SeqCst);
            ENDED.notify(Events::IN);
            // What comes now comes too late.
            sched::park_aside(None);
        }
    }
}

/// Apart, so that nothing of it stays on the stack.
#[inline(never)]
fn start_program() {
    // A statement of its own: the lock is let go at its end.
    let program = PROGRAM.lock().take();
    if let Some(program) = program {
        volumes::mount(&program.settings);
        boot::start_program(&program.settings, program.config.as_ref());
    }
}

fn is_asked() -> bool {
    END.load(Ordering::SeqCst) != RUNNING
}

/// Before the machine ends: has all that is dirty written to the disks, and waits for that.
pub fn end() {
    let Some(thread) = THREAD.get() else { return };
    if END.swap(ASKED, Ordering::SeqCst) != RUNNING {
        return;
    }
    sched::unpark(thread);
    if coracle_core::this::with(|this| Arc::ptr_eq(this, thread)) {
        // The program was not started, so that the disks have all that was written.
        return volume::end_all();
    }
    let deadline_ns = time::now_ns() + PATIENCE_NS;
    let is_synced = || END.load(Ordering::SeqCst) == SYNCED;
    let id = ENDED.subscribe_thread(coracle_core::this::with(Arc::clone), Events::IN).ok();
    while !is_synced() && id.is_some() {
        if sched::park_aside(Some(deadline_ns)) == Wake::TimedOut {
            break;
        }
    }
    if !is_synced() {
        log!("the disks have not taken all that was written: some of it is lost");
    }
    if let Some(id) = id {
        ENDED.unsubscribe(id);
    }
}
