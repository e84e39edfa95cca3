//! `coracle maps` and `coracle files`.

use serde::Serialize;

use super::client::Client;
use super::process;
use super::stats::json;
use crate::args::ProcessArgs;
use crate::error::Result;
use crate::output;

/// A mapping in `coracle maps --json`, as proc_pid_maps(5) has it.
#[derive(Serialize)]
struct Mapping {
    pid: u32,
    process: String,
    start: String,
    end: String,
    access: String,
    offset: String,
    path: String,
}

impl Mapping {
    fn parse(process: &process::Stat, line: &str) -> Option<Self> {
        let mut words = line.splitn(6, ' ');
        let (start, end) = words.next()?.split_once('-')?;
        let (access, offset) = (words.next()?.to_owned(), words.next()?.to_owned());
        // Behind the device and the number of the file, blanks fill the line up to the path.
        let path = words.nth(2).unwrap_or_default().trim_start().to_owned();
        let (pid, process) = (process.id, process.name.clone());
        Some(Mapping { pid, process, start: start.to_owned(), end: end.to_owned(), access, offset, path })
    }
}

/// A descriptor in `coracle files --json`.
#[derive(Serialize)]
struct Descriptor {
    pid: u32,
    process: String,
    fd: u32,
    mode: String,
    offset: u64,
    file: String,
}

/// `coracle maps`: the address spaces of processes, as /proc/PID/maps has them.
pub fn maps(args: &ProcessArgs) -> Result<()> {
    let mut client = Client::connect(&args.name)?;
    if args.json {
        let mut all = Vec::new();
        for process in process::processes(&mut client, args.pid)? {
            let text = client.text(&format!("/proc/{}/maps", process.id))?;
            all.extend(text.lines().filter_map(|line| Mapping::parse(&process, line)));
        }
        return output::line(json(&all)?);
    }
    for process in process::processes(&mut client, args.pid)? {
        output::line(format_args!("process {} ({}):", process.id, process.name))?;
        for line in client.text(&format!("/proc/{}/maps", process.id))?.lines() {
            output::line(output::plain(line))?;
        }
    }
    Ok(())
}

/// `coracle files`: the descriptors of processes.
pub fn files(args: &ProcessArgs) -> Result<()> {
    let mut client = Client::connect(&args.name)?;
    let mut all = Vec::new();
    for process in process::processes(&mut client, args.pid)? {
        let base = format!("/proc/{}", process.id);
        for fd in client.numbers(&format!("{base}/fd"))? {
            // It may be closed meanwhile.
            let Some(file) = client.link(&format!("{base}/fd/{fd}"))? else { continue };
            let info = client.text(&format!("{base}/fdinfo/{fd}"))?;
            let (offset, mode) = (process::value(&info, "pos").unwrap_or_default(), mode(&info));
            all.push(Descriptor { pid: process.id, process: process.name.clone(), fd, mode, offset, file });
        }
    }
    if args.json {
        return output::line(json(&all)?);
    }
    output::line(format_args!(
        "{:>6} {:<15} {:>4} {:<4} {:>12} FILE",
        "PID", "PROCESS", "FD", "MODE", "OFFSET"
    ))?;
    for Descriptor { pid, process, fd, mode, offset, file } in &all {
        output::line(format_args!("{pid:>6} {process:<15} {fd:>4} {mode:<4} {offset:>12} {file}"))?;
    }
    Ok(())
}

/// How a descriptor was opened, from its `fdinfo`: for reading, for writing, to be closed by exec.
fn mode(info: &str) -> String {
    const CLOSED_BY_EXEC: u32 = 0o2_000_000;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).unwrap_or_default();
    let access = ["r", "w", "rw", "-"][(flags & 3) as usize];
    if flags & CLOSED_BY_EXEC != 0 { format!("{access}x") } else { access.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::mode;

    #[test]
    fn how_files_are_open() {
        assert_eq!(mode("pos:\t0\nflags:\t0100002\n"), "rw");
        assert_eq!(mode("pos:\t0\nflags:\t02000001\n"), "wx");
        assert_eq!(mode(""), "r");
    }
}
