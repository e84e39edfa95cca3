//! Guests that run a batch of programs: made, booted, watched to their end.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::edges::{self, Edges, Progress};
use crate::encode::{self, MARKS};
use crate::program::Program;
use crate::symbols::Symbols;

/// Addresses from here on are the kernel's (the upper half).
const KERNEL: u64 = 0xffff_8000_0000_0000;
/// Kernel and program lie at the same addresses in every guest, so that edges can be compared.
const ADDRESS_SEED: &str = "c0ac1e";
/// How often a guest is looked at.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// A guest that executes nothing of the kernel for so long has stopped: the executor's own deadlines are far shorter.
const FROZEN: Duration = Duration::from_secs(25);
/// Blocks of the kernel that a program may execute. Most need a ten-thousandth.
const BLOCK_LIMIT: u64 = 400_000_000;
/// Instructions that the kernel may execute without a look at what waits for its CPU: some milliseconds.
const LONGEST_RUN: u64 = 10_000_000;
/// What a guest is said to do whose kernel executed more.
const LONG_RUN: &str = "a call keeps its CPU for long";
/// How often the registers of a guest that hangs are looked at, and how long it runs between.
const LOOKS: usize = 6;
const BETWEEN_LOOKS: Duration = Duration::from_millis(40);
/// Output of the program that is kept.
const CONSOLE_KEPT: usize = 4000;

/// The machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Machine {
    /// CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Whether time is counted in instructions, so that a run can be repeated exactly.
    pub icount: bool,
}

/// How a batch went wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// One line that names it; equal for equal causes.
    pub title: String,
    /// The program that ran, as an index into the batch.
    pub program: Option<usize>,
    /// What is known about it.
    pub details: String,
}

/// How a batch went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Programs that were run, the one that failed included.
    pub programs: usize,
    /// For each program, the edges it was the first to take.
    pub found: Vec<u32>,
    /// Edges seen so far, in all batches.
    pub edges: u64,
    /// For each call: number, how often it was made, and how often it succeeded.
    pub calls: Vec<(u32, u64, u64)>,
    /// What went wrong.
    pub failure: Option<Failure>,
    /// The executor ended early, by no fault of the kernel.
    pub cut_short: Option<String>,
}

/// What is needed to boot guests.
pub struct Dock {
    coracle: PathBuf,
    executor: PathBuf,
    plugin: PathBuf,
    directory: PathBuf,
    symbols: Symbols,
}

impl Dock {
    /// Compiles the executor and the plugin into `directory`, where guests keep their files, too.
    ///
    /// # Errors
    /// If a tool is missing or fails.
    pub fn new(coracle: &Path, source: &Path, directory: &Path) -> Result<Self> {
        let executor = directory.join("executor");
        let plugin = directory.join("edges.so");
        let code = format!("-Wl,--section-start=.fuzzcode={:#x}", encode::CODE);
        let flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-static", "-no-pie", "-pthread", &code, "-o"];
        run(Command::new("cc").args(flags).arg(&executor).arg(source.join("guest/executor.c")))?;
        let text = fs::read_to_string(source.join("plugin/edges.c"))?;
        coracle_qemu_plugin::compile(&text, &plugin)?;
        let kernel = directory.join("kernel");
        run(Command::new(coracle).arg("kernel").arg("-o").arg(&kernel))?;
        Ok(Self {
            coracle: coracle.to_owned(),
            executor,
            plugin,
            directory: directory.to_owned(),
            symbols: Symbols::read(&kernel)?,
        })
    }

    /// The file of edges of machines of a kind; how many CPUs they have makes a difference to what is reached.
    fn map(&self, machine: Machine) -> PathBuf {
        self.directory.join(format!("edges-{}", machine.cpus))
    }

    /// Boots a guest that runs the programs, and watches it. `name` is unlike that of any guest that runs beside it.
    ///
    /// # Errors
    /// If the guest can't be started.
    pub fn run(&self, name: &str, machine: Machine, programs: &[Program]) -> Result<Outcome> {
        let directory = self.directory.join(name);
        fs::create_dir_all(&directory)?;
        let batch = directory.join("batch");
        fs::write(&batch, encode::batch(programs))?;
        let image = directory.join("image");
        run(Command::new(&self.coracle)
            .arg("build")
            .arg(&self.executor)
            .arg("-o")
            .arg(&image)
            .args(["--mode", "protected", "--user", "root", "--add"])
            .arg(format!("{}:/fuzz/batch", batch.display()))
            .arg("--add")
            .arg(format!("{}:/fuzz/executor", self.executor.display())))?;
        let mut guest = self.boot(&directory, machine, &image)?;
        let ended = guest.watch(programs.len(), &self.symbols)?;
        let mut outcome = self.judge(&directory, machine, &mut guest, ended, programs.len())?;
        outcome.found = guest.edges.found(programs.len())?;
        outcome.edges = guest.edges.progress()?.edges;
        Ok(outcome)
    }

    fn boot(&self, directory: &Path, machine: Machine, image: &Path) -> Result<Guest> {
        let monitor = directory.join("monitor");
        let _ = fs::remove_file(&monitor);
        let file = |name: &str| directory.join(name).display().to_string();
        let map = self.map(machine);
        edges::forget_progress(&map)?;
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "qemu-system-x86_64",
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
        ]);
        command.args([
            "-display",
            "none",
            "-cpu",
            "max",
            "-global",
            "virtio-mmio.force-legacy=false",
            "-machine",
        ]);
        command.arg("microvm,acpi=off,rtc=on,pit=off,pic=off,isa-serial=on,auto-kernel-cmdline=on");
        let accelerator =
            if machine.cpus > 1 && !machine.icount { "tcg,thread=multi" } else { "tcg,thread=single" };
        command.args(["-accel", accelerator, "-smp", &machine.cpus.to_string()]);
        command.args(["-m", &format!("{}M", machine.memory_mib)]);
        if machine.icount {
            command.args(["-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01T00:00:00,clock=vm"]);
        }
        command.args(["-serial", &format!("file:{}", file("console"))]);
        command.args(["-chardev", &format!("file,id=control,path={}", file("control"))]);
        command.args(["-device", "isa-debugcon,iobase=0x502,chardev=control"]);
        command.args(["-device", "isa-debug-exit,iobase=0x501,iosize=1"]);
        command.args(["-monitor", &format!("unix:{},server=on,wait=off", monitor.display())]);
        command.arg("-plugin").arg(format!(
            "{},map={},marks={MARKS:#x},kernel={KERNEL:#x}",
            self.plugin.display(),
            map.display()
        ));
        command.arg("-kernel").arg(image).arg("-append").arg(format!(
            "ip=none mode=protected seed={ADDRESS_SEED} control=debugcon@0x502 poweroff=isa-debug-exit@0x501"
        ));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(directory.join("stdout"))?)
            .stderr(File::create(directory.join("stderr"))?)
            .spawn()
            .context("cannot run `setpriv` (package util-linux)")?;
        let mut guest = Guest { child, edges: Edges::open(Path::new("/dev/null"))?, monitor };
        let started = Instant::now();
        while !guest.monitor.exists() || !map.exists() {
            if guest.child.try_wait()?.is_some() || started.elapsed() > FROZEN {
                bail!(
                    "QEMU did not start: {}",
                    fs::read_to_string(directory.join("stderr")).unwrap_or_default().trim()
                );
            }
            sleep(Duration::from_millis(1));
        }
        guest.edges = Edges::open(&map)?;
        Ok(guest)
    }

    fn judge(
        &self,
        directory: &Path,
        machine: Machine,
        guest: &mut Guest,
        ended: Ended,
        programs: usize,
    ) -> Result<Outcome> {
        let text = |name: &str| {
            fs::read(directory.join(name))
                .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        let (control, console) = (text("control"), text("console"));
        let progress = guest.edges.progress()?;
        let ran = progress.program.map_or(programs, |program| (program + 1).min(programs));
        let mut outcome = Outcome { programs: ran, calls: calls(&console), ..Outcome::default() };
        let tail: String =
            console.chars().skip(console.chars().count().saturating_sub(CONSOLE_KEPT)).collect();
        let mut details = format!("control channel:\n{control}\nconsole ends:\n{tail}\n");
        let panic = control.lines().find_map(|line| line.strip_prefix("Pthe kernel panicked: "));
        let title = match (panic, ended) {
            (Some(message), _) => {
                let place =
                    control.lines().find_map(|line| line.strip_prefix("Pat ")).unwrap_or("an unknown place");
                Some(format!("panic at {place}: {}", without_numbers(message)))
            }
            (None, Ended::Hangs { how, registers }) => {
                details += &registers;
                let place = self.symbols.first_kernel_function(&registers).unwrap_or_default();
                Some(format!("{how} {place}"))
            }
            (None, Ended::Itself) if console.contains("fuzz: a process outlives SIGKILL") => {
                Some(String::from("a process outlives SIGKILL"))
            }
            (None, Ended::Itself) if console.contains("fuzz: done") => None,
            (None, Ended::Itself) => match control.lines().find_map(|line| line.strip_prefix('S')) {
                Some(status) => {
                    outcome.cut_short =
                        Some(format!("the executor ended with status {status}: {}", last_line(&console)));
                    None
                }
                None => Some(String::from("the machine was reset")),
            },
        };
        // A CPU that waits for another one runs for as long as the host lets that wait: this holds for one CPU.
        let is_long = machine.icount && progress.longest > LONGEST_RUN;
        details += &format!("longest run of the kernel without a look: {} instructions\n", progress.longest);
        let (title, program) = match title {
            None if is_long => (Some(String::from(LONG_RUN)), progress.longest_program),
            title => (title, progress.program),
        };
        outcome.failure = title.map(|title| Failure { title, program, details });
        Ok(outcome)
    }
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().next_back().unwrap_or_default()
}

/// A message with its numbers taken out: they differ from run to run.
fn without_numbers(message: &str) -> String {
    let mut text = String::new();
    for c in message.chars() {
        let shown = if c.is_ascii_digit() { '#' } else { c };
        if shown != '#' || !text.ends_with('#') {
            text.push(shown);
        }
    }
    text
}

/// The executor's lines `fuzz: call N made M succeeded S`.
fn calls(console: &str) -> Vec<(u32, u64, u64)> {
    let read = |line: &str| {
        let words: Vec<&str> = line.trim().strip_prefix("fuzz: call ")?.split(' ').collect();
        Some((words.first()?.parse().ok()?, words.get(2)?.parse().ok()?, words.get(4)?.parse().ok()?))
    };
    console.lines().filter_map(read).collect()
}

/// How a guest came to its end.
enum Ended {
    /// QEMU ended.
    Itself,
    /// It does not come to an end.
    Hangs { how: &'static str, registers: String },
}

struct Guest {
    child: Child,
    edges: Edges,
    monitor: PathBuf,
}

impl Guest {
    fn watch(&mut self, programs: usize, symbols: &Symbols) -> Result<Ended> {
        let mut last = Progress::default();
        let mut moved = Instant::now();
        let mut began = 0;
        loop {
            if self.child.try_wait()?.is_some() {
                return Ok(Ended::Itself);
            }
            let now = self.edges.progress()?;
            if now.blocks != last.blocks {
                moved = Instant::now();
            }
            if now.program != last.program {
                began = now.blocks;
            }
            last = now;
            let how = if moved.elapsed() > FROZEN {
                "the guest executes nothing, stopped at"
            } else if now.blocks - began.min(now.blocks) > BLOCK_LIMIT {
                "the kernel does not come to an end of its work in"
            } else {
                sleep(LOOK_PAUSE);
                continue;
            };
            let registers = self.registers(programs, symbols);
            return Ok(Ended::Hangs { how, registers });
        }
    }

    /// What the CPUs execute, at several moments.
    fn registers(&self, programs: usize, symbols: &Symbols) -> String {
        let mut text = format!("registers, in a batch of {programs}:\n");
        for _ in 0..LOOKS {
            match self.ask("info registers -a") {
                Ok(answer) => text += &symbols.annotate(&answer),
                Err(error) => text += &format!("QEMU's monitor does not answer: {error}\n"),
            }
            sleep(BETWEEN_LOOKS);
        }
        text
    }

    fn ask(&self, question: &str) -> Result<String> {
        let mut socket = UnixStream::connect(&self.monitor)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut answer = String::new();
        let mut asked = false;
        let mut buffer = [0; 4096];
        loop {
            let len = socket.read(&mut buffer)?;
            if len == 0 {
                bail!("it was closed");
            }
            answer += &String::from_utf8_lossy(&buffer[..len]);
            let prompts = answer.matches("(qemu) ").count();
            if prompts > 0 && !asked {
                socket.write_all(format!("{question}\n").as_bytes())?;
                asked = true;
            }
            if prompts > 1 {
                return Ok(answer);
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end.
fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{command:?} failed ({}):\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
