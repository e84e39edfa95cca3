//! `coracle top`: threads by the CPU time that they used since they were looked at last; on a terminal a picture with keys.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table};

use serde::Serialize;

use super::client::Client;
use super::process::{self, Stat};
use super::rates::Rates;
use super::stats::seconds;
use crate::args::TopArgs;
use crate::error::{Error, Result};
use crate::instances;
use crate::metrics::Values;
use crate::output;
use crate::size::Size;

/// A thread in the table.
struct Thread {
    /// Ticks of CPU time since the last look.
    used: u64,
    pid: u32,
    stat: Stat,
    /// Bytes of its process.
    resident: u64,
}

/// What was seen of a guest at a time.
struct Look {
    at: Instant,
    values: Values,
    threads: Vec<Thread>,
}

/// By what the threads are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    #[default]
    Cpu,
    Time,
    Memory,
    Name,
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Order::Cpu => "CPU",
            Order::Time => "CPU time",
            Order::Memory => "memory",
            Order::Name => "name",
        }
    }

    fn next(self) -> Order {
        match self {
            Order::Cpu => Order::Memory,
            Order::Memory => Order::Time,
            Order::Time => Order::Name,
            Order::Name => Order::Cpu,
        }
    }

    fn sort(self, threads: &mut [Thread]) {
        threads.sort_by(|a, b| {
            let by = match self {
                Order::Cpu => b.used.cmp(&a.used),
                Order::Time => b.stat.cpu_ticks.cmp(&a.stat.cpu_ticks),
                Order::Memory => b.resident.cmp(&a.resident),
                Order::Name => a.stat.name.cmp(&b.stat.name),
            };
            by.then_with(|| (a.pid, a.stat.id).cmp(&(b.pid, b.stat.id)))
        });
    }
}

/// Looks again and again.
struct Watch {
    client: Client,
    /// CPU time of each thread when it was looked at last.
    before: HashMap<u32, u64>,
    interval: Duration,
}

impl Watch {
    fn look(&mut self) -> Result<Look> {
        let (at, values) = (Instant::now(), Values::ask(&mut self.client)?);
        let mut threads = Vec::new();
        let mut seen = HashMap::new();
        for process in process::processes(&mut self.client, None)? {
            for stat in process::threads(&mut self.client, process.id)? {
                let used = self.before.get(&stat.id).map_or(0, |old| stat.cpu_ticks.saturating_sub(*old));
                seen.insert(stat.id, stat.cpu_ticks);
                threads.push(Thread { used, pid: process.id, stat, resident: process.resident });
            }
        }
        self.before = seen;
        Order::default().sort(&mut threads);
        Ok(Look { at, values, threads })
    }
}

/// The guest as a whole. `before`: the look before, for what happens in a second.
fn rates(name: &str, look: &Look, before: Option<&Look>) -> Rates {
    Rates::between(name, (&look.values, look.at), before.map(|before| (&before.values, before.at)))
}

/// A thread in `coracle top --json`.
#[derive(Serialize)]
struct Listed<'a> {
    pid: u32,
    tid: u32,
    name: &'a str,
    state: char,
    /// The share of one CPU.
    cpu_percent: f64,
    cpu_seconds: f64,
    /// Bytes of its process.
    resident_bytes: u64,
}

impl Listed<'_> {
    /// Of a thread; `interval`: seconds since it was looked at before.
    fn of(thread: &Thread, interval: f64) -> Listed<'_> {
        Listed {
            pid: thread.pid,
            tid: thread.stat.id,
            name: &thread.stat.name,
            state: thread.stat.state,
            cpu_percent: share(thread, interval),
            cpu_seconds: seconds(thread.stat.cpu_ticks),
            resident_bytes: thread.resident,
        }
    }
}

/// A look in `coracle top --json`.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    rates: Rates,
    threads: Vec<Listed<'a>>,
}

/// The share of one CPU that a thread used, in percent.
fn share(thread: &Thread, interval: f64) -> f64 {
    100.0 * seconds(thread.used) / interval.max(0.001)
}

/// Prints an object in a line for each interval between two looks.
fn print_json(watch: &mut Watch, mut before: Look, args: &TopArgs) -> Result<()> {
    for _ in 0..args.rounds.unwrap_or(1) {
        sleep(watch.interval);
        let look = watch.look()?;
        let interval = (look.at - before.at).as_secs_f64();
        let threads = look.threads.iter().map(|thread| Listed::of(thread, interval)).collect();
        let document = Document { rates: rates(watch.client.name(), &look, Some(&before)), threads };
        let text = serde_json::to_string(&document);
        output::line(text.map_err(|error| Error::new("cannot write JSON").why(error))?)?;
        if output::is_unread() {
            break;
        }
        before = look;
    }
    Ok(())
}

/// The guest that is meant if none is named: the only one that runs.
fn only_one() -> Result<String> {
    let mut names = instances::running()?;
    match (names.pop(), names.is_empty()) {
        (Some(name), true) => Ok(name),
        (None, _) => Err(Error::new("no guest with a name runs").help("`coracle run -d` starts one")),
        (Some(last), false) => {
            names.push(last);
            Err(Error::new("several guests run")
                .why(names.join(", "))
                .help("name one of them, or see all with `coracle stats`"))
        }
    }
}

/// The columns of a thread.
fn columns(thread: &Thread, interval: f64) -> [String; 7] {
    let share = share(thread, interval);
    [
        format!("{:>6}", thread.pid),
        format!("{:>6}", thread.stat.id),
        thread.stat.state.to_string(),
        format!("{share:>6.0}"),
        format!("{:>8.2} s", seconds(thread.stat.cpu_ticks)),
        format!("{:>10}", Size(thread.resident).to_string()),
        thread.stat.name.clone(),
    ]
}

const TITLES: [&str; 7] = ["   PID", "   TID", "S", " CPU %", "  CPU TIME", "    MEMORY", "NAME"];

/// `coracle top`
pub fn top(args: &TopArgs) -> Result<()> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => only_one()?,
    };
    let client = Client::connect(&name)?;
    let interval = Duration::from_secs_f64(args.delay.0.clamp(0.1, 3600.0));
    let mut watch = Watch { client, before: HashMap::new(), interval };
    // The first answer comes before the screen is taken.
    let first = watch.look()?;
    if args.json {
        return print_json(&mut watch, first, args);
    }
    if std::io::stdout().is_terminal() && std::io::stdin().is_terminal() {
        let mut terminal = ratatui::init();
        let shown = show(&mut terminal, &mut watch, first, args);
        ratatui::restore();
        return shown;
    }
    print(&mut watch, first, args)
}

/// Prints a text for each look.
fn print(watch: &mut Watch, mut look: Look, args: &TopArgs) -> Result<()> {
    let mut before = None;
    let mut round = 0;
    loop {
        let mut text = rates(watch.client.name(), &look, before.as_ref()).lines().join("\n") + "\n";
        text += &(TITLES.join(" ") + "\n");
        let interval = before.as_ref().map_or(watch.interval, |before: &Look| look.at - before.at);
        for thread in &look.threads {
            text += &(columns(thread, interval.as_secs_f64()).join(" ") + "\n");
        }
        output::write(text.as_bytes())?;
        round += 1;
        if args.rounds.is_some_and(|rounds| round >= rounds) || output::is_unread() {
            return Ok(());
        }
        sleep(watch.interval);
        before = Some(std::mem::replace(&mut look, watch.look()?));
    }
}

/// Shows the picture until a key ends it.
fn show(terminal: &mut DefaultTerminal, watch: &mut Watch, mut look: Look, args: &TopArgs) -> Result<()> {
    let fail = |error: std::io::Error| Error::new("cannot use the terminal").why(error);
    let (mut before, mut order, mut is_paused, mut round) = (None, Order::default(), false, 1);
    loop {
        order.sort(&mut look.threads);
        let lines = rates(watch.client.name(), &look, before.as_ref()).lines();
        draw(terminal, lines, &look, before.as_ref(), order, is_paused, watch.interval).map_err(fail)?;
        if args.rounds.is_some_and(|rounds| round >= rounds) {
            return Ok(());
        }
        let until = look.at + watch.interval;
        let mut is_changed = false;
        while !is_changed && (is_paused || Instant::now() < until) {
            let left =
                if is_paused { watch.interval } else { until.saturating_duration_since(Instant::now()) };
            if !event::poll(left).map_err(fail)? {
                continue;
            }
            match event::read().map_err(fail)? {
                Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) => match code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                    KeyCode::Char('p' | ' ') => (is_paused, is_changed) = (!is_paused, true),
                    KeyCode::Char('s') => (order, is_changed) = (order.next(), true),
                    _ => {}
                },
                Event::Resize(..) => is_changed = true,
                _ => {}
            }
        }
        if !is_changed {
            before = Some(std::mem::replace(&mut look, watch.look()?));
            round += 1;
        }
    }
}

fn draw(
    terminal: &mut DefaultTerminal,
    lines: Vec<String>,
    look: &Look,
    before: Option<&Look>,
    order: Order,
    is_paused: bool,
    interval: Duration,
) -> std::io::Result<()> {
    let elapsed = before.map_or(interval, |before| look.at - before.at).as_secs_f64();
    let keys = format!(
        "q quit   p {}   s sort: by {}",
        if is_paused { "go on (paused)" } else { "pause" },
        order.name()
    );
    terminal.draw(|frame| {
        let height = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        let parts = [Constraint::Length(height), Constraint::Min(1), Constraint::Length(1)];
        let [above, middle, below] = Layout::vertical(parts).areas(frame.area());
        let lines: Vec<Line<'_>> = lines.iter().map(|line| Line::from(line.as_str())).collect();
        frame.render_widget(Paragraph::new(lines), above);
        let rows = look.threads.iter().map(|thread| Row::new(columns(thread, elapsed)));
        let widths = [6, 6, 1, 6, 10, 10].map(Constraint::Length).into_iter().chain([Constraint::Min(4)]);
        let head = Row::new(TITLES).style(Style::new().add_modifier(Modifier::REVERSED));
        frame.render_widget(Table::new(rows, widths).header(head), middle);
        frame.render_widget(Paragraph::new(keys), below);
    })?;
    Ok(())
}
