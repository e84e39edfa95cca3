//! The command.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use coracle_control::{EventRecord, Request, event};

use super::super::client::Client;
use super::super::{errno, stack};
use super::decode::{Event, Fetched};
use super::json::Trace;
use super::own::OwnEvents;
use super::text::{Names, is_of_program, line, pid, tid};
use crate::args::TraceArgs;
use crate::error::{Error, Result, cannot, note, warn};
use crate::output;

/// How long to wait before events are fetched again.
const PAUSE: Duration = Duration::from_millis(20);

/// The kinds that the words name.
fn chosen(words: &[String]) -> Result<u32> {
    let names = [
        ("sched", event::bit::SCHED),
        ("timer", event::bit::TIMER),
        ("irq", event::bit::IRQ),
        ("fault", event::bit::FAULT),
        ("block", event::bit::BLOCK),
        ("tcp", event::bit::TCP),
        ("all", event::bit::ALL),
    ];
    words.iter().try_fold(0, |bits, word| {
        let found = names.iter().find(|(name, _)| name == word);
        found.map(|(_, bit)| bits | bit).ok_or_else(|| {
            Error::new(format!("`{word}` is no kind of event"))
                .help("kinds are sched, timer, irq, fault, block, tcp and all")
        })
    })
}

/// The bit of a record's kind.
fn bit(record: &EventRecord) -> u32 {
    match record.kind {
        event::SWITCH..=event::RESUME => event::bit::SCHED,
        event::TIMER_SET | event::TIMER_FIRED => event::bit::TIMER,
        event::INTERRUPT => event::bit::IRQ,
        event::FAULT => event::bit::FAULT,
        event::BLOCK_ISSUE | event::BLOCK_DONE => event::bit::BLOCK,
        _ => event::bit::TCP,
    }
}

/// Names threads that are not known yet.
fn name(events: &[Event], names: &mut Names, client: &mut Client) -> Result<()> {
    for record in events.iter().map(|event| &event.record) {
        let words = match record.kind {
            event::SWITCH => [record.a, record.b],
            event::PARK | event::TIMER_SET => [record.b, 0],
            event::WAKE | event::IDLE | event::RESUME | event::TIMER_FIRED => [record.a, 0],
            _ => continue,
        };
        for word in words {
            let (pid, tid) = (pid(word), tid(word));
            if is_of_program(word) && !names.contains_key(&tid) {
                let text = client.text(&format!("/proc/{pid}/task/{tid}/comm"))?;
                // One that has ended keeps its number.
                let name = if text.is_empty() { "ended".to_owned() } else { output::plain(text.trim_end()) };
                names.insert(tid, name);
            }
        }
    }
    Ok(())
}

/// `coracle trace --events`
pub fn trace(args: &TraceArgs) -> Result<()> {
    let bits = chosen(&args.events)?;
    // Threads have slices by their switches.
    let noted = if args.output.is_some() { bits | event::bit::SCHED } else { bits };
    let mut client = Client::connect(&args.name)?;
    client.ask(Request::EventsStart(noted))?.map_err(|error| {
        let why = match i32::from(error) {
            libc::EBUSY => "another command traces them".to_owned(),
            error => errno::describe(error),
        };
        Error::new(format!("the events of `{}` cannot be traced", args.name)).why(why)
    })?;
    // A file of this name stays as it is if nothing can be traced, and nothing is traced that there is no place for.
    let mut file = args.output.as_ref().map(|path| create(path)).transpose()?;
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ended))
            .map_err(|error| Error::new("cannot wait for signals").why(error))?;
    }
    let mut names = Names::new();
    for thread in stack::threads(&mut client)?.1 {
        names.insert(u32::try_from(thread.record.tid).unwrap_or_default(), thread.name);
    }
    let (mut trace, mut own, mut lost, mut count) = (Trace::default(), OwnEvents::default(), 0, 0usize);
    loop {
        let is_last = ended.load(Ordering::SeqCst) || output::is_unread();
        // A guest that ended is traced no more.
        let Ok(Ok(answer)) = client.ask(Request::EventsFetch) else { break };
        let mut fetched = Fetched::parse(&answer);
        fetched.events.retain(|event| bit(&event.record) & noted != 0);
        // The same for names.
        let _ = name(&fetched.events, &mut names, &mut client);
        count += fetched.events.len();
        lost += fetched.lost;
        if args.output.is_some() {
            fetched.events.iter().for_each(|event| trace.take(event, &names));
        } else {
            let others = fetched.events.iter().filter(|event| !own.is_own(event));
            let mut text: String = others.map(|event| line(event, &names)).collect();
            if fetched.lost > 0 {
                text += &format!("... {} events were lost\n", fetched.lost);
            }
            output::write(text.as_bytes())?;
        }
        if is_last {
            let _ = client.ask(Request::EventsStop)?;
            break;
        }
        sleep(PAUSE);
    }
    if let (Some(path), Some(file)) = (&args.output, &mut file) {
        let text = trace.finish(&args.name, &names).to_string();
        file.write_all(text.as_bytes()).map_err(|error| cannot("write", path, &error))?;
        note(format_args!("{count} events: {}", path.display()));
    }
    if lost > 0 {
        warn(format_args!("{lost} events were lost: choose fewer kinds"));
    }
    Ok(())
}

fn create(path: &Path) -> Result<File> {
    File::create(path).map_err(|error| cannot("write", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(chosen(&words(&["sched", "tcp"])).unwrap(), event::bit::SCHED | event::bit::TCP);
        assert_eq!(chosen(&words(&["all"])).unwrap(), event::bit::ALL);
        assert!(chosen(&words(&["disk"])).is_err());
    }
}
