//! `coracle pcap`: the packets of a guest as pcapng.

use std::fs::File;
use std::io::{ErrorKind, IsTerminal as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use coracle_bpf::Instruction;
use coracle_control::{PacketRecord, Request, link, packet};

use super::client::Client;
use super::{errno, filter, pcapng};
use crate::args::{Interface, PcapArgs};
use crate::error::{Error, Result, note, warn};

/// How long to wait for further packets when none came.
const PAUSE: Duration = Duration::from_millis(20);

/// Where the packets go.
struct Output {
    to: Box<dyn Write>,
    what: String,
}

impl Output {
    fn open(args: &PcapArgs) -> Result<Output> {
        match &args.file {
            Some(path) if path.as_os_str() != "-" => {
                let what = path.display().to_string();
                let file = File::create(path)
                    .map_err(|error| Error::new(format!("cannot write `{what}`")).why(error))?;
                Ok(Output { to: Box::new(file), what })
            }
            _ if std::io::stdout().is_terminal() => Err(Error::new("packets are no text for a terminal")
                .help("write them to a file with -w, or pipe them: `coracle pcap NAME | tshark -r -`")),
            _ => Ok(Output { to: Box::new(std::io::stdout()), what: "standard output".to_owned() }),
        }
    }

    /// Writes, at once; false: the reader has gone away.
    fn write(&mut self, bytes: &[u8]) -> Result<bool> {
        match self.to.write_all(bytes).and_then(|()| self.to.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Error::new(format!("cannot write {}", self.what)).why(error)),
        }
    }
}

/// What was captured.
#[derive(Default)]
struct Tally {
    packets: u64,
    lost: u64,
    last_ns: u64,
}

impl Tally {
    /// Makes blocks of what was fetched at once, of no more packets than are wanted.
    fn take(&mut self, mut bytes: &[u8], wanted: u64) -> Vec<u8> {
        let mut blocks = Vec::new();
        while let Some((record, own, rest)) = PacketRecord::decode(bytes) {
            bytes = rest;
            match record.kind {
                packet::LOST => self.lost += u64::from(record.len),
                _ if self.packets < wanted => {
                    self.packets += 1;
                    self.last_ns = record.time_ns;
                    blocks.extend(pcapng::packet(&record, own));
                }
                _ => break,
            }
        }
        blocks
    }
}

fn cannot_capture(name: &str, error: u16) -> Error {
    let error = i32::from(error);
    let own = Error::new(format!("the packets of `{name}` cannot be captured"));
    match error {
        libc::EBUSY => {
            own.why("another command captures them").help("end it, or try again in 5 s if it was killed")
        }
        error => own.why(errno::describe(error)),
    }
}

/// `coracle pcap`
pub fn pcap(args: &PcapArgs) -> Result<()> {
    /// Bytes of a filter that a request has room for.
    const FILTER_MAX: usize = 1000;
    let instructions = filter::compile(&args.filter.join(" "))?;
    let program: Vec<u8> = instructions.iter().flat_map(Instruction::encode).collect();
    if program.len() > FILTER_MAX {
        let (has, most) = (instructions.len(), FILTER_MAX / Instruction::BYTES);
        return Err(Error::new("the filter is too long")
            .why(format!("it takes {has} instructions, and a guest takes {most}"))
            .help("capture more, and filter what was captured: `tshark -r FILE -Y …`"));
    }
    let links = match args.interface {
        Interface::Any => link::DEVICE | link::LOOPBACK,
        Interface::Eth0 => link::DEVICE,
        Interface::Lo => link::LOOPBACK,
    };
    let mut client = Client::connect(&args.name)?;
    client
        .ask(Request::CaptureStart { links, snap_len: args.snap_len, filter: &program })?
        .map_err(|error| cannot_capture(&args.name, error))?;
    // A file of this name stays as it is if nothing can be captured.
    let mut output = Output::open(args)?;
    // Ctrl-C ends the capture; what was captured so far is written.
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ended))
            .map_err(|error| Error::new("cannot wait for signals").why(error))?;
    }
    let wanted = args.count.unwrap_or(u64::MAX);
    let mut tally = Tally::default();
    let mut is_read = output.write(&pcapng::header(args.snap_len))?;
    if is_read {
        note(format_args!("capturing the packets of `{}`", args.name));
    }
    while is_read {
        let is_last = ended.load(Ordering::SeqCst);
        let records = match client.ask(Request::CaptureFetch) {
            Ok(answer) => answer.map_err(|error| cannot_capture(&args.name, error))?,
            // What a guest that ended has sent is written.
            Err(_) if client.has_ended() => break,
            Err(error) => return Err(error),
        };
        is_read = output.write(&tally.take(&records, wanted))?;
        if is_last || tally.packets >= wanted {
            break;
        }
        if records.is_empty() {
            sleep(PAUSE);
        }
    }
    if !client.has_ended() {
        let _ = client.ask(Request::CaptureStop)?;
    }
    if tally.lost > 0 && is_read {
        output.write(&pcapng::lost(tally.last_ns, tally.lost))?;
    }
    note(format_args!("{} packets captured, {} lost", tally.packets, tally.lost));
    if tally.lost > 0 {
        warn(format_args!(
            "{} packets were lost: choose fewer with a filter, or keep less of each with -s",
            tally.lost
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_counted() {
        let record = |kind, len| {
            let captured = if kind == packet::LOST { 0 } else { 4 };
            let head = PacketRecord { captured, len, kind, reserved: 0, time_ns: 5 }.encode();
            [&head[..], &b"abcd"[..captured as usize]].concat()
        };
        let bytes = [
            record(packet::SENT, 60),
            record(packet::LOST, 7),
            record(packet::LOOPED, 60),
            record(packet::SENT, 60),
        ]
        .concat();
        let mut tally = Tally::default();
        let blocks = tally.take(&bytes, 2);
        assert_eq!((tally.packets, tally.lost), (2, 7));
        assert_eq!(blocks.len() % 4, 0);
        assert!(tally.take(&bytes[..10], 9).is_empty());
    }
}
