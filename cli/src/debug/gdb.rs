//! `coracle gdb`: a server of gdb's remote protocol for a process of a guest, on a socket of its own, and gdb connected with it.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::thread;

use gdbstub::stub::GdbStub;

use super::connection::Stream;
use super::kernel::Kernel;
use super::machine;
use super::mirror::Mirror;
use super::session::Session;
use super::target::{Loop, Process};
use crate::arch::Arch;
use crate::args::GdbArgs;
use crate::error::{Error, Result, cannot, warn};
use crate::kernel::debug_elf;

/// The debugger.
const GDB: &str = "gdb";
/// What a shell adds to the number of a signal.
const SIGNALLED: i32 = 128;

/// `coracle gdb`
///
/// # Errors
/// If the guest can't be debugged, or gdb does not start.
pub fn gdb(args: &GdbArgs) -> Result<u8> {
    let folder = tempfile::Builder::new().prefix("coracle-gdb-").tempdir();
    let folder = folder.map_err(|error| Error::new("cannot make a directory for gdb").why(error))?;
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(folder.path(), private)
        .map_err(|error| cannot("protect", folder.path(), &error))?;
    // Ctrl-C is gdb's: this command gets it as well, and goes on.
    let caught = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, caught)
        .map_err(|error| Error::new("cannot start gdb").why(error))?;
    let status =
        if args.kernel { machine::debug(args, folder.path())? } else { program(args, folder.path())? };
    Ok(exit_status(status))
}

fn exit_status(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let status = status.code().or(status.signal().map(|signal| SIGNALLED + signal));
    status.and_then(|status| u8::try_from(status).ok()).unwrap_or(crate::error::FAILED)
}

/// Debugs a program of the guest.
fn program(args: &GdbArgs, folder: &Path) -> Result<ExitStatus> {
    let root = folder.join("root");
    std::fs::create_dir(&root).map_err(|error| cannot("make the directory", &root, &error))?;
    let session = Session::attach(&args.name, args.pid)?;
    let kernel = Kernel::of(&args.name, args.pid)?;
    let slide = session.kernel_slide();
    let has_kernel = kernel.is_there();
    let mut process = Process::new(session, Mirror::new(root.clone(), args.pid), kernel)?;
    let program = Mirror::new(root.clone(), args.pid).program(&mut process.session.client, args.pid)?;
    let socket = folder.join("socket");
    let listener = UnixListener::bind(&socket).map_err(|error| cannot("listen on", &socket, &error))?;
    let mut command = start(&[format!("set sysroot {}", root.display())]);
    if let Some(program) = program {
        command.arg("-ex").arg(joined("file ", &program));
    }
    // Behind the program's, so that what both have is the program's.
    if has_kernel && !args.program {
        command.arg("-ex").arg(symbols(folder, slide)?);
    }
    connect(&mut command, &socket, &args.gdb);
    let mut child = spawn(&mut command)?;
    let (name, pid) = (args.name.clone(), args.pid);
    thread::spawn(move || {
        let mut process = Some(process);
        for connection in listener.incoming() {
            let Ok(connection) = connection else { continue };
            // gdb may detach, and attach again.
            let next = match process.take() {
                Some(process) => Ok(process),
                None => Session::attach(&name, pid).and_then(|session| {
                    Process::new(session, Mirror::new(root.clone(), pid), Kernel::of(&name, pid)?)
                }),
            };
            match next {
                Ok(mut process) => {
                    serve(connection, &mut process);
                    process.leave();
                }
                Err(error) => error.print(),
            }
        }
    });
    child.wait().map_err(|error| Error::new("cannot wait for gdb").why(error))
}

/// The command that loads the kernel's symbols, whose file is written into `folder`.
///
/// # Errors
/// If it can't be written.
pub fn symbols(folder: &Path, slide: u64) -> Result<OsString> {
    let kernel = folder.join("coracle-kernel");
    std::fs::write(&kernel, debug_elf(Arch::X86_64)?).map_err(|error| cannot("write", &kernel, &error))?;
    let mut command = joined("add-symbol-file ", &kernel);
    command.push(format!(" -o {slide:#x}"));
    Ok(command)
}

/// Bytes of the longest packet of gdb's remote protocol.
const PACKET_BYTES: usize = 4096;

fn serve(connection: UnixStream, process: &mut Process) {
    let mut packet = vec![0; PACKET_BYTES];
    let stub = GdbStub::builder(Stream::new(connection)).with_packet_buffer(&mut packet).build();
    let Ok(stub) = stub else { unreachable!("all that it needs was given") };
    match stub.run_blocking::<Loop>(process) {
        Ok(_) => {}
        // gdb has ended without a word.
        Err(error) if error.is_connection_error() => {}
        Err(error) => match error.into_target_error() {
            Some(error) => error.print(),
            None => warn("gdb speaks a protocol that is not understood"),
        },
    }
}

/// gdb, with commands that it carries out first.
pub fn start(commands: &[String]) -> Command {
    let mut command = Command::new(GDB);
    command.arg("-q");
    // A busy host can take longer than the 2 s that gdb waits for an answer.
    for line in ["set confirm off", "set print thread-events off", "set remotetimeout 60"]
        .into_iter()
        .chain(commands.iter().map(String::as_str))
    {
        command.args(["-ex", line]);
    }
    command
}

/// Has gdb connect to a server, and then do what the user wants.
pub fn connect(command: &mut Command, socket: &Path, own: &[OsString]) {
    command.arg("-ex").arg(joined("target remote ", socket));
    command.args(["-ex", "set confirm on", "-ex", "set print thread-events on"]).args(own);
}

/// A command with a path.
pub fn joined(word: &str, path: &Path) -> OsString {
    let mut all = OsString::from(word);
    all.push(path);
    all
}

/// Starts gdb.
pub fn spawn(command: &mut Command) -> Result<std::process::Child> {
    command.spawn().map_err(|error| {
        let failed = Error::new(format!("cannot start {GDB}")).why(&error);
        match error.kind() {
            std::io::ErrorKind::NotFound => failed.help("install gdb (Debian: `apt install gdb`)"),
            _ => failed,
        }
    })
}
