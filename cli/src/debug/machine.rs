//! `coracle gdb --kernel`: gdb on the whole machine, by QEMU's own server. Its threads are the CPUs; all of them stop together.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use super::gdb::{connect, spawn, start};
use super::mirror::Mirror;
use super::session::Session;
use crate::args::GdbArgs;
use crate::error::{Error, Result, cannot};
use crate::instances;
use crate::kernel::debug_elf;
use crate::observe::{Client, Module, mapping, threads};

/// How long QEMU may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Debugs the machine of a guest.
///
/// # Errors
/// If the guest can't be debugged, or gdb does not start.
pub fn debug(args: &GdbArgs, folder: &Path) -> Result<ExitStatus> {
    let socket = instances::machine_socket(&args.name)?;
    if !socket.exists() {
        return Err(Error::new(format!("the machine of `{}` cannot be debugged", args.name))
            .why("QEMU was started without a server for gdb, as it is for guests without a name and without `--control full`")
            .help("run it with `--control full`"));
    }
    let mut client = Client::connect(&args.name)?;
    let (moment, _) = threads(&mut client)?;
    let elf = debug_elf()?;
    let kernel = folder.join("coracle-kernel");
    std::fs::write(&kernel, elf).map_err(|error| cannot("write", &kernel, &error))?;
    let root = folder.join("root");
    let mut mirror = Mirror::new(root.clone(), args.pid);
    mirror.fill(&mut Session::observe(&args.name, args.pid)?)?;
    let mut commands = vec![
        "set architecture i386:x86-64".to_owned(),
        format!("add-symbol-file {} -o {:#x}", kernel.display(), moment.kernel_slide),
    ];
    commands.extend(libraries(&mut client, args.pid, &root)?);
    let mut command = start(&commands);
    connect(&mut command, &socket, &args.gdb);
    let mut child = spawn(&mut command)?;
    let status = child.wait().map_err(|error| Error::new("cannot wait for gdb").why(error))?;
    if status.code().is_none() {
        release(&socket);
    }
    Ok(status)
}

/// Lets the machine go on after gdb, which ended without doing so.
fn release(socket: &Path) {
    /// The packet that detaches from process 1, the machine, with its checksum (GDB manual, "Packets").
    const DETACH: &[u8] = b"$D;1#b0";
    // QEMU takes one connection at a time, and has ended if it takes none.
    if let Ok(mut qemu) = UnixStream::connect(socket)
        && qemu.write_all(DETACH).is_ok()
    {
        let _ = qemu.set_read_timeout(Some(PATIENCE));
        // QEMU acknowledges the packet before it obeys.
        let (mut said, mut byte) = (Vec::new(), [0]);
        while !said.ends_with(b"OK#") && qemu.read_exact(&mut byte).is_ok() {
            said.push(byte[0]);
        }
    }
}

/// Commands that load the symbols of a process's files where they are mapped.
fn libraries(client: &mut Client, pid: u32, root: &Path) -> Result<Vec<String>> {
    let maps = client.text(&format!("/proc/{pid}/maps"))?;
    let mut commands: Vec<String> = Vec::new();
    let mut last = String::new();
    for mapping in maps.lines().filter_map(mapping) {
        let file = root.join(mapping.name.trim_start_matches('/'));
        if mapping.name == last || !mapping.name.starts_with('/') {
            continue;
        }
        last.clone_from(&mapping.name);
        let Some(module) = Module::load(&file) else { continue };
        let Some(linked) = module.linked_address(mapping.offset) else { continue };
        let slide = mapping.start.wrapping_sub(linked);
        commands.push(format!("add-symbol-file {} -o {slide:#x}", file.display()));
    }
    Ok(commands)
}
