//! What a guest's /proc says of its processes (proc(5)).

use crate::error::{Error, Result};
use crate::output;

use super::client::Client;

/// Ticks in a second, in which /proc counts time (`sysconf(_SC_CLK_TCK)`).
pub const TICKS_PER_SECOND: u64 = 100;
/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// A process or thread, from its `stat`.
#[derive(Clone, Debug, Default)]
pub struct Stat {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its state, a letter.
    pub state: char,
    /// CPU time, in ticks.
    pub cpu_ticks: u64,
    /// Threads of its process.
    pub threads: u32,
    /// Bytes of memory that are there.
    pub resident: u64,
}

impl Stat {
    /// From the text of the file.
    fn parse(text: &str) -> Option<Stat> {
        // The name may have any characters, parentheses too.
        let (head, rest) = text.rsplit_once(')')?;
        let (id, name) = head.split_once('(')?;
        // The first is field 3.
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok());
        Some(Stat {
            id: id.trim().parse().ok()?,
            name: output::plain(name),
            state: fields.first()?.chars().next()?,
            cpu_ticks: number(14)? + number(15)?,
            threads: u32::try_from(number(20)?).ok()?,
            resident: number(24)? * PAGE,
        })
    }
}

/// The processes of a guest, or the one that is asked for.
///
/// # Errors
/// If that is not there, or the guest can't be asked.
pub fn processes(client: &mut Client, only: Option<u32>) -> Result<Vec<Stat>> {
    let pids = match only {
        Some(pid) => vec![pid],
        None => client.numbers("/proc/")?,
    };
    let mut all = Vec::new();
    for pid in pids {
        all.extend(stat(client, &format!("/proc/{pid}/stat"))?);
    }
    match only {
        Some(pid) if all.is_empty() => Err(Error::new(format!("`{}` has no process {pid}", client.name()))
            .help(format!("`coracle top {} -n 1` lists them", client.name()))),
        _ => Ok(all),
    }
}

/// What a `stat` says; `None` if its process or thread has ended meanwhile.
fn stat(client: &mut Client, path: &str) -> Result<Option<Stat>> {
    let text = client.text(path)?;
    let stat = Stat::parse(&text);
    if stat.is_none() && !text.is_empty() {
        return Err(Error::new(format!(
            "`{}` writes {path} in another way than this command reads it",
            client.name()
        ))
        .why(format!("it says {:?}", text.trim_end()))
        .help("build the image anew"));
    }
    Ok(stat)
}

/// The threads of a process.
pub fn threads(client: &mut Client, pid: u32) -> Result<Vec<Stat>> {
    let mut all = Vec::new();
    for tid in client.numbers(&format!("/proc/{pid}/task"))? {
        all.extend(stat(client, &format!("/proc/{pid}/task/{tid}/stat"))?);
    }
    Ok(all)
}

/// The value of a line `NAME: VALUE …` in a text such as /proc/meminfo.
pub fn value(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The first number of a text such as /proc/uptime.
pub fn seconds(text: &str) -> f64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_parentheses() {
        let stat = Stat::parse("7 (a) b (c) S 1 7 7 0 -1 0 5 0 0 0 12 3 0 0 20 0 4 0 9 4096 2 0").unwrap();
        assert_eq!((stat.id, stat.name.as_str(), stat.state), (7, "a) b (c", 'S'));
        assert_eq!((stat.cpu_ticks, stat.threads, stat.resident), (15, 4, 8192));
        assert!(Stat::parse("").is_none());
        assert!(Stat::parse("7 (a").is_none());
    }

    #[test]
    fn values_of_lines() {
        let text = "MemTotal:  100 kB\nMemFree:   40 kB\n";
        assert_eq!((value(text, "MemFree"), value(text, "Mem")), (Some(40), None));
    }
}
