//! `coracle maps` and `coracle files`.

use super::client::Client;
use super::process;
use crate::args::ProcessArgs;
use crate::error::Result;
use crate::output;

/// `coracle maps`: the address spaces of processes, as /proc/PID/maps has them.
pub fn maps(args: &ProcessArgs) -> Result<()> {
    let mut client = Client::connect(&args.name)?;
    for process in process::processes(&mut client, args.pid)? {
        output::line(format_args!("process {} ({}):", process.id, process.name))?;
        output::write(client.text(&format!("/proc/{}/maps", process.id))?.as_bytes())?;
    }
    Ok(())
}

/// `coracle files`: the descriptors of processes.
pub fn files(args: &ProcessArgs) -> Result<()> {
    let mut client = Client::connect(&args.name)?;
    output::line(format_args!(
        "{:>6} {:<15} {:>4} {:<4} {:>12} FILE",
        "PID", "PROCESS", "FD", "MODE", "OFFSET"
    ))?;
    for process in process::processes(&mut client, args.pid)? {
        let base = format!("/proc/{}", process.id);
        for fd in client.numbers(&format!("{base}/fd"))? {
            // It may be closed meanwhile.
            let Some(target) = client.link(&format!("{base}/fd/{fd}"))? else { continue };
            let info = client.text(&format!("{base}/fdinfo/{fd}"))?;
            let (offset, mode) = (process::value(&info, "pos").unwrap_or_default(), mode(&info));
            let (pid, name) = (process.id, &process.name);
            output::line(format_args!("{pid:>6} {name:<15} {fd:>4} {mode:<4} {offset:>12} {target}"))?;
        }
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
