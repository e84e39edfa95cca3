//! `coracle gdb --kernel`: gdb on the whole machine, by QEMU's own server. Its threads are the CPUs; all of them stop together.

use std::path::Path;
use std::process::ExitStatus;

use coracle_control::Request;

use super::gdb::{connect, spawn, start, symbols};
use super::mirror::Mirror;
use super::session::Session;
use crate::args::GdbArgs;
use crate::error::{Error, Result};
use crate::instances;
use crate::observe::{Client, Module, mapping, threads};

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
    client.is_known_to("gdb")?;
    let (moment, _) = threads(&mut client)?;
    let root = folder.join("root");
    let mut mirror = Mirror::new(root.clone(), args.pid);
    mirror.fill(&mut Session::observe(&args.name, args.pid)?)?;
    let mut command = start(&["set architecture i386:x86-64".to_owned()]);
    command.arg("-ex").arg(symbols(folder, moment.kernel_slide)?);
    for line in libraries(&mut client, args.pid, &root)? {
        command.args(["-ex", &line]);
    }
    connect(&mut command, &socket, &args.gdb);
    let mut child = spawn(&mut command)?;
    // If gdb ends without letting the machine go on, the other end does so after this connection.
    debugged(&mut client, true)?;
    let status = child.wait().map_err(|error| Error::new("cannot wait for gdb").why(error))?;
    if status.code().is_some() {
        debugged(&mut client, false)?;
    }
    Ok(status)
}

/// Says that a debugger has QEMU's server, or has left it.
///
/// # Errors
/// If the command that runs the guest does not answer, or does not allow it.
pub fn debugged(client: &mut Client, is: bool) -> Result<()> {
    client.ask(Request::MachineDebugged(is.into()))?.map(|_| ()).map_err(|error| {
        Error::new(format!("the machine of `{}` cannot be debugged", client.name()))
            .why(std::io::Error::from_raw_os_error(error.into()))
    })
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
