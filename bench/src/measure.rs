//! Measures one case in one guest.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSymbol};

use crate::guest::{Guest, Hardware, Image, Shipyard};
use crate::load::Load;
use crate::results::{Metric, Results};
use crate::suite::{self, Case, Method};
use crate::vm::{Ready, Vm, Watch};

/// How long a guest may take to boot and serve, or to run to its end.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// The same where the smallest memory is looked for: a machine with too little may hang.
const SMALL_BOOT_LIMIT: Duration = Duration::from_secs(25);
/// Between the end of starting and the idle measurement.
const SETTLE: Duration = Duration::from_secs(1);
/// Doorbells and interrupts are recorded in a run of their own, so that recording does not disturb other figures.
const TRACED: Duration = Duration::from_secs(1);
/// The load under which the smallest memory must serve.
const SMALL_LOAD: Duration = Duration::from_secs(2);
/// Bounds of the search for the smallest memory, in MiB.
const SMALLEST: u32 = 1;
const LARGEST: u32 = 256;
/// The function that measuring programs call before and after each test.
const MARK_FUNCTION: &str = "bench_mark";

/// What every measurement needs.
pub struct Bench {
    /// Builds and starts guests.
    pub yard: Shipyard,
    /// The compiled plugin.
    pub plugin: PathBuf,
    /// QEMU's machine type.
    pub machine: String,
    /// How long each load runs.
    pub period: Duration,
    /// How long idleness is watched.
    pub idle: Duration,
    /// The name of a load or case, or part of names, if only some are wanted.
    pub only: Option<String>,
    /// Whether it is a whole name.
    pub only_exactly: bool,
    /// Whether to leave out what the short form leaves out.
    pub quick: bool,
}

impl Bench {
    /// Whether this load of this case is wanted.
    fn wants(&self, case: &Case, load: &str) -> bool {
        (!self.quick || suite::QUICK.contains(&load))
            && self.only.as_ref().is_none_or(|only| {
                load == only || case.name == *only || (!self.only_exactly && load.contains(only.as_str()))
            })
    }

    /// Whether anything of the case is wanted.
    pub fn wants_case(&self, case: &Case) -> bool {
        match &case.method {
            Method::Serve(loads) => loads.iter().any(|(name, _)| self.wants(case, name)),
            _ => self.wants(case, &case.name) || self.only.as_ref().is_some_and(|only| case.has(only)),
        }
    }

    /// Starts the image on `memory_mib`.
    fn start(&self, image: &Image, cpus: u32, memory_mib: u32, watch: &Watch) -> Result<Vm> {
        self.start_traced(image, cpus, memory_mib, watch, false)
    }

    /// The same, with its system calls traced if `is_traced`.
    fn start_traced(
        &self,
        image: &Image,
        cpus: u32,
        memory_mib: u32,
        watch: &Watch,
        is_traced: bool,
    ) -> Result<Vm> {
        let hardware = Hardware { machine: self.machine.clone(), memory_mib, cpus, is_traced };
        let _ = fs::remove_file(self.yard.out.join("console"));
        Vm::start(&self.yard.command(image, &hardware)?, &self.plugin, watch, &self.yard.out, memory_mib)
    }

    /// Boots the case's program and waits until it serves.
    pub fn boot(&self, image: &Image, cpus: u32, watch: &Watch) -> Result<Vm> {
        let mut vm = self.start(image, cpus, suite::MEMORY_MIB, watch)?;
        vm.wait(image.program().ready, BOOT_LIMIT)?;
        Ok(vm)
    }

    /// Measures the case in this guest and adds what came out.
    pub fn case(&self, case: &Case, guest: Guest, results: &mut Results) -> Result<()> {
        if case.is_traced && guest == Guest::Linux {
            return Ok(());
        }
        let image = self.yard.build(guest, &case.program)?;
        results.add(&case.name, Metric::ImageBytes, guest, image.bytes as f64);
        results.add(&case.name, Metric::KernelBytes, guest, image.kernel_bytes as f64);
        match &case.method {
            Method::Serve(loads) => self.serve(case, &image, loads, results),
            Method::Marks(_) => self.marks(&image, results),
            Method::Start => self.start_up(case, &image, results),
            Method::Difference { without, operations } => {
                let traces = case.program.disk.is_some() && !self.quick;
                let all = self.to_the_end(&image, case.is_traced, traces)?;
                // Its image takes the place of the other.
                let base = self.to_the_end(&self.yard.build(guest, without)?, case.is_traced, traces)?;
                for ((metric, with), (_, without)) in all.into_iter().zip(base) {
                    let per = with.saturating_sub(without) as f64 / *operations as f64;
                    results.add(&case.name, metric, guest, per);
                }
                Ok(())
            }
            Method::SmallestMemory(load) => {
                let smallest = self.smallest_memory(&image, load.as_ref())?;
                results.add(&case.name, Metric::SmallestMemory, guest, f64::from(smallest));
                Ok(())
            }
        }
    }

    fn serve(
        &self,
        case: &Case,
        image: &Image,
        loads: &[(String, Load)],
        results: &mut Results,
    ) -> Result<()> {
        let guest = image.guest();
        let mut vm =
            self.start_traced(image, case.cpus, suite::MEMORY_MIB, &Watch::default(), case.is_traced)?;
        let startup = vm.wait(image.program().ready, BOOT_LIMIT)?;
        results.add(&case.name, Metric::ReadyInstructions, guest, startup.insns as f64);
        results.add(&case.name, Metric::ReadySeconds, guest, startup.seconds);
        std::thread::sleep(SETTLE);
        if loads.iter().all(|(_, load)| load.is_counted()) {
            results.add(&case.name, Metric::Idle, guest, vm.idle_rate(self.idle)?);
        }
        let (all, ram) = vm.host_memory()?;
        results.add(&case.name, Metric::HostMemory, guest, all as f64 / 1024.0);
        results.add(&case.name, Metric::GuestRam, guest, ram as f64 / 1024.0);
        for (name, load) in loads.iter().filter(|(name, _)| self.wants(case, name)) {
            if let Err(error) = self.one_load(&vm, name, load, guest, results) {
                results.failures.push(format!(
                    "{name} in {}: {error:#}{}",
                    guest.name(),
                    if vm.alive() { String::new() } else { format!("\n{}", vm.console_tail()) }
                ));
                if !vm.alive() {
                    bail!("the guest died under {name}\n{}", vm.console_tail());
                }
            }
        }
        Ok(())
    }

    fn one_load(&self, vm: &Vm, name: &str, load: &Load, guest: Guest, results: &mut Results) -> Result<()> {
        let _idle = load.prepare()?;
        let before = vm.count()?;
        let sample = load.run(self.period)?;
        let after = vm.count()?;
        if sample.operations == 0 {
            bail!("not one operation was done");
        }
        let per = |value: u64| value as f64 / sample.operations as f64;
        if load.is_counted() {
            results.add(name, Metric::Instructions, guest, per(after.insns - before.insns));
            results.add(name, Metric::Repetitions, guest, per(after.rep - before.rep));
        }
        results.add(name, Metric::Rate, guest, sample.rate);
        for (metric, value) in [(Metric::P50, sample.p50), (Metric::P99, sample.p99)] {
            if let Some(value) = value {
                results.add(name, metric, guest, value);
            }
        }
        if !self.quick {
            vm.trace_start()?;
            let traced = load.run(TRACED);
            let (doorbells, interrupts) = vm.trace_stop()?;
            let operations = traced?.operations.max(1) as f64;
            results.add(name, Metric::Doorbells, guest, doorbells as f64 / operations);
            results.add(name, Metric::Interrupts, guest, interrupts as f64 / operations);
        }
        Ok(())
    }

    /// What is executed from the start to the end of the program and the machine; in a second run, if `traces`, the doorbells and
    /// interrupts.
    fn to_the_end(&self, image: &Image, is_traced: bool, traces: bool) -> Result<Vec<(Metric, u64)>> {
        let start = || self.start_traced(image, 1, suite::MEMORY_MIB, &Watch::default(), is_traced);
        let mut vm = start()?;
        vm.wait(Ready::Exit, BOOT_LIMIT)?;
        let count = vm.count()?;
        drop(vm);
        let mut all = vec![(Metric::Instructions, count.insns), (Metric::Repetitions, count.rep)];
        if traces {
            let mut vm = start()?;
            vm.trace_start()?;
            vm.wait(Ready::Exit, BOOT_LIMIT)?;
            let (doorbells, interrupts) = vm.traced()?;
            all.extend([(Metric::Doorbells, doorbells), (Metric::Interrupts, interrupts)]);
        }
        Ok(all)
    }

    fn start_up(&self, case: &Case, image: &Image, results: &mut Results) -> Result<()> {
        let guest = image.guest();
        let main = symbol(image, "main")?;
        let mut vm = self.start(image, 1, suite::MEMORY_MIB, &Watch { marks: vec![main], profile: false })?;
        let end = vm.wait(Ready::Exit, BOOT_LIMIT)?;
        let marks = vm.counters().marks()?;
        let first = marks
            .first()
            .with_context(|| format!("{} never came to main\n{}", case.program.name, vm.console_tail()))?;
        results.add(&case.name, Metric::MainInstructions, guest, first.insns as f64);
        results.add(&case.name, Metric::MainSeconds, guest, first.nanos as f64 / 1e9);
        results.add(&case.name, Metric::ReadyInstructions, guest, end.insns as f64);
        results.add(&case.name, Metric::ReadySeconds, guest, end.seconds);
        Ok(())
    }

    fn marks(&self, image: &Image, results: &mut Results) -> Result<()> {
        let watch = Watch { marks: vec![symbol(image, MARK_FUNCTION)?], profile: false };
        let mut vm = self.start(image, 1, suite::MEMORY_MIB, &watch)?;
        let ended = vm.wait(Ready::Exit, BOOT_LIMIT);
        let marks = vm.counters().marks()?;
        let console = vm.console();
        let mut pairs = marks.chunks_exact(2);
        for line in console.lines() {
            if let Some((name, operations)) = micro_line(line) {
                let operations = operations as f64;
                let [begin, end] = pairs.next().context("fewer marks than tests")? else { continue };
                let guest = image.guest();
                results.add(name, Metric::Instructions, guest, (end.insns - begin.insns) as f64 / operations);
                results.add(name, Metric::Repetitions, guest, (end.rep - begin.rep) as f64 / operations);
                let seconds = (end.nanos - begin.nanos) as f64 / 1e9;
                results.add(name, Metric::Rate, guest, operations / seconds);
            }
        }
        ended.map(drop)
    }

    fn smallest_memory(&self, image: &Image, load: Option<&Load>) -> Result<u32> {
        let (mut too_small, mut enough) = (SMALLEST - 1, LARGEST);
        while enough - too_small > 1 {
            // Small sizes are the likely ones for one guest, large ones for the other: halve in proportion.
            let middle = (f64::from(too_small.max(1)) * f64::from(enough)).sqrt().round() as u32;
            let middle = middle.clamp(too_small + 1, enough - 1);
            if self.works_with(image, load, middle) {
                enough = middle;
            } else {
                too_small = middle;
            }
        }
        if enough == LARGEST && !self.works_with(image, load, LARGEST) {
            bail!("it does not work with {LARGEST} MiB either");
        }
        Ok(enough)
    }

    fn works_with(&self, image: &Image, load: Option<&Load>, memory_mib: u32) -> bool {
        let attempt = || -> Result<()> {
            // The program must have said what it says: a machine that dies early also ends.
            let mut vm = self.start(image, 1, memory_mib, &Watch::default())?;
            vm.wait(image.program().ready, SMALL_BOOT_LIMIT)?;
            match load {
                None if vm.console().contains("hello from the guest") => Ok(()),
                None => bail!("no output"),
                Some(load) => {
                    let _idle = load.prepare()?;
                    load.run(SMALL_LOAD).map(drop)
                }
            }
        };
        attempt().is_ok()
    }
}

/// Test and operations, if this is a line that programs/micro.c prints.
pub fn micro_line(line: &str) -> Option<(&str, u64)> {
    let mut words = line.split_whitespace();
    (words.next() == Some("micro")).then_some(())?;
    Some((words.next()?, words.next()?.parse().ok()?))
}

/// The address of a function of a statically linked program.
fn symbol(image: &Image, name: &str) -> Result<u64> {
    let path = &image.program().host;
    let bytes = fs::read(path)?;
    let elf = object::File::parse(&*bytes)?;
    elf.symbols()
        .find(|symbol| symbol.name() == Ok(name))
        .map(|symbol| symbol.address())
        .with_context(|| format!("{} has no function {name}", path.display()))
}
