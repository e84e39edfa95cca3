//! Reading values from files.
use crate::families::{Family, Rule, Scale};
use crate::text::{Sample, Value};

/// Name and value.
pub type Label<'a> = (&'a str, &'a str);

/// The files of a guest.
pub trait Files {
    /// Calls `take` for each line of a file, without its end. None if the file is not there.
    fn lines(&mut self, path: &str, take: &mut dyn FnMut(&str));
    /// The number of names in a directory that are numbers.
    fn numbers(&mut self, path: &str) -> u64;
}

/// Names of the kinds of memory, as /proc/meminfo has them and as labels.
const MEMORY: [(&str, &str); 6] = [
    ("MemTotal:", "total"),
    ("MemFree:", "free"),
    ("MemAvailable:", "available"),
    ("Cached:", "cached"),
    ("Dirty:", "dirty"),
    ("AnonPages:", "anonymous"),
];

/// States of connections, by their number less one (`enum` of netinet/tcp.h).
const STATES: [&str; 11] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];

/// The columns of /proc/stat that are no idle time: all but idle and iowait, and the guest's, which count as user and nice.
const BUSY: [usize; 6] = [1, 2, 3, 6, 7, 8];
const IDLE: [usize; 2] = [4, 5];

fn number(word: &str) -> Option<u64> {
    word.parse().ok()
}

fn word(line: &str, index: usize) -> Option<&str> {
    line.split_ascii_whitespace().nth(index)
}

/// Calls `take` for each sample of a family.
pub fn samples(files: &mut dyn Files, family: &Family, take: &mut dyn FnMut(&Sample)) {
    if family.rule == Rule::Connections {
        return connections(files, family, take);
    }
    let scale = family.scale;
    let mut pass = |labels: &[Label], number: u64| take(&Sample { labels, value: Value { number, scale } });
    for path in family.files {
        if family.rule == Rule::Numbers {
            pass(&[], files.numbers(path));
            continue;
        }
        let mut is_first = true;
        // Of the protocol's line of names, which word it is.
        let mut column = None;
        files.lines(path, &mut |line| {
            // A line that is not of this form has no value.
            let _ = read(family, line, core::mem::take(&mut is_first), &mut column, &mut pass);
        });
    }
}

/// Reads what a line has of a family.
fn read(
    family: &Family,
    line: &str,
    is_first: bool,
    column: &mut Option<usize>,
    pass: &mut dyn FnMut(&[Label], u64),
) -> Option<()> {
    match family.rule {
        Rule::Line(name) if word(line, 0)? == name => pass(&[], number(word(line, 1)?)?),
        Rule::First if is_first => pass(&[], decimal(word(line, 0)?, family.scale)?),
        Rule::BehindSlash if is_first => {
            let (_, behind) = line.split_once('/')?;
            pass(&[], number(word(behind, 0)?)?);
        }
        Rule::Cpus => {
            let cpu = word(line, 0)?.strip_prefix("cpu").filter(|cpu| !cpu.is_empty())?;
            for (mode, columns) in [("busy", &BUSY[..]), ("idle", &IDLE[..])] {
                let ticks = columns.iter().filter_map(|&at| number(word(line, at)?)).sum();
                pass(&[("cpu", cpu), ("mode", mode)], ticks);
            }
        }
        Rule::Memory => {
            let name = word(line, 0)?;
            let (_, kind) = MEMORY.iter().find(|(known, _)| *known == name)?;
            pass(&[("kind", kind)], number(word(line, 1)?)?);
        }
        Rule::Interfaces(at) => {
            let (device, values) = line.split_once(':')?;
            pass(&[("device", device.trim())], number(word(values, at)?)?);
        }
        Rule::Disks(at) => {
            const NAME: usize = 2;
            pass(&[("device", word(line, NAME)?)], number(word(line, NAME + 1 + at)?)?);
        }
        Rule::Volumes(at) => pass(&[("path", word(line, 0)?)], number(word(line, at)?)?),
        Rule::Protocol(protocol, name) if word(line, 0)? == protocol => match *column {
            None => *column = line.split_ascii_whitespace().position(|word| word == name),
            Some(at) => pass(&[], number(word(line, at)?)?),
        },
        _ => {}
    }
    Some(())
}

/// A number with decimals, in the smallest of them.
fn decimal(word: &str, scale: Scale) -> Option<u64> {
    let Scale::Decimal(digits) = scale else { return number(word) };
    let (whole, fraction) = word.split_once('.').unwrap_or((word, ""));
    (0..digits as usize).try_fold(number(whole)?, |value, at| {
        let digit = fraction.as_bytes().get(at).map_or(Some(0), |byte| char::from(*byte).to_digit(10))?;
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

fn connections(files: &mut dyn Files, family: &Family, take: &mut dyn FnMut(&Sample)) {
    const STATE: usize = 3;
    let mut counts = [0u64; STATES.len()];
    for path in family.files {
        files.lines(path, &mut |line| {
            let state = word(line, STATE).and_then(|state| usize::from_str_radix(state, 16).ok());
            if let Some(count) = state.and_then(|state| counts.get_mut(state.checked_sub(1)?)) {
                *count += 1;
            }
        });
    }
    for (state, number) in STATES.into_iter().zip(counts) {
        let value = Value { number, scale: family.scale };
        take(&Sample { labels: &[("state", state)], value });
    }
}
