//! Programs that the kernel starts beside the main one: for `coracle exec`, and for whatever else runs a program in the guest
//! ([`start`]).
//!
//! Such a program is a child of the kernel (parent 0), which waits for it and for its orphans: the main program gets no child
//! that it did not make. It leads a session and a process group of its own. Its end does not end the machine; the main program's
//! end ends it.
use crate::boot;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::context::FsContext;
use coracle_core::fs::descriptors::DescriptorTable;
use coracle_core::fs::file::OpenFile;
use coracle_core::fs::open::open;
use coracle_core::fs::walk::Bounds;
use coracle_core::lock::Mutex;
use coracle_core::task::process::{self, Credentials, Process};
use coracle_core::task::signal::{Action, IGNORE};
use coracle_core::task::thread::Thread;
use coracle_core::task::{exec, limits, sched};
use coracle_fallible::try_arc;
use coracle_hal::context::UserContext;
use coracle_hal::frame::{self, Watermark};
use coracle_image::User;
use coracle_loader::Strings;
use coracle_system::drivers::pty::Terminal;
use linux_raw_sys::general::{O_DIRECTORY, O_PATH, SIGCHLD};

/// What the image's program was started with.
pub struct Defaults {
    /// Its user and group.
    pub user: User,
    /// Its working directory; empty: the root.
    pub directory: Vec<u8>,
    /// Its environment.
    pub environment: Strings,
}

static DEFAULTS: Mutex<Option<Arc<Defaults>>> = Mutex::new(None);

/// Remembers what the image's program is started with, for those that are started beside it.
pub fn remember(defaults: Defaults) {
    // Without memory for it, nothing is started beside it.
    *DEFAULTS.lock() = try_arc(defaults).ok();
}

/// What the image's program was started with; `None` if it was not remembered.
pub fn defaults() -> Option<Arc<Defaults>> {
    DEFAULTS.lock().clone()
}

/// A program to be started.
pub struct Launch<'a> {
    /// Its file.
    pub path: Vec<u8>,
    /// Its working directory; empty: the root.
    pub directory: &'a [u8],
    /// Its arguments, its name first.
    pub arguments: Strings,
    /// Its environment.
    pub environment: Strings,
    /// Its user and group. Root has all capabilities, as the main program has as root.
    pub user: User,
    /// Its supplementary groups.
    pub groups: Vec<u32>,
    /// Its standard input, output and error.
    pub streams: [Option<Arc<OpenFile>>; 3],
    /// Its controlling terminal.
    pub terminal: Option<&'a Terminal>,
}

/// Starts a program beside the main one, from any thread of the kernel that may wait (its file may lie on a disk). It begins with
/// the limits and capabilities that the main program began with. When it has ended, `exit_source` of the process has been
/// notified, `dead` is set, and `exiting` is its status; nothing has to wait for it. A signal to its group ends what it has started, too.
///
/// # Errors
/// ENOMEM; ENOENT, EACCES, ENOEXEC and others that execve(2) names; ENOTDIR, ENOENT or EACCES of the directory.
pub fn start(launch: Launch) -> Result<Arc<Process>, Errno> {
    if frame::is_below(Watermark::Low) {
        return Err(Errno::NOMEM);
    }
    let context = try_arc(FsContext::new())?;
    if !launch.directory.is_empty() {
        enter(&context, launch.directory)?;
    }
    let descriptors = try_arc(DescriptorTable::new())?;
    for (number, file) in (0..).zip(launch.streams) {
        if let Some(file) = file {
            descriptors.insert(file, false, number)?;
        }
    }
    let credentials = Credentials { groups: launch.groups, ..Credentials::of_user(launch.user) };
    let request = exec::Request {
        path: launch.path,
        file: None,
        arguments: launch.arguments,
        environment: launch.environment,
        credentials: credentials.ids(),
        is_hidden: false,
        no_new_privileges: false,
    };
    let loaded = exec::load(&context, request, limits::DEFAULT_STACK)?;
    let pid = process::new_id();
    let process = Process::new(pid, loaded.memory.clone(), descriptors, context)?;
    *process.credentials.lock() = credentials;
    exec::install(&process, &loaded);
    run(&process, &loaded.name, &loaded.context, launch.terminal)?;
    Ok(process)
}

/// Makes a directory the working directory.
fn enter(context: &FsContext, directory: &[u8]) -> Result<(), Errno> {
    let directory = open(context, None, directory, O_PATH | O_DIRECTORY, 0, Bounds::default())?;
    context.set_directory(directory.file.place().ok_or(Errno::NOTDIR)?.path.clone());
    Ok(())
}

/// Runs the first thread of a process. ENOMEM.
fn run(
    process: &Arc<Process>,
    name: &[u8],
    context: &UserContext,
    terminal: Option<&Terminal>,
) -> Result<(), Errno> {
    let kernel = boot::idle_process();
    // So that those that have ended go at once.
    kernel.signals.lock().set_action(SIGCHLD, Action { handler: IGNORE, ..Action::default() });
    let thread = Thread::new(process.clone(), process.pid, context, 0, false)?;
    thread.set_name(name);
    process.add_thread(&thread, &thread)?;
    if let Err(error) = process.publish(kernel) {
        process.remove_thread(&thread);
        return Err(error);
    }
    process.join_family(kernel.clone());
    if let Some(terminal) = terminal {
        terminal.control(process);
    }
    sched::start(thread);
    Ok(())
}
