//! What was found, and the file that it is written to.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use inferno::flamegraph::{self, Options};

use super::resolve::Frame;
use super::{perf, pprof};
use crate::error::{Error, Result, cannot};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Looks at a CPU that computed.
    Samples,
    /// Instructions.
    Instructions,
    /// Nanoseconds that threads slept.
    Sleep,
}

impl Measure {
    /// The name of its events, and of their unit.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Measure::Samples => ("cpu-clock", "samples"),
            Measure::Instructions => ("instructions", "instructions"),
            Measure::Sleep => ("off-cpu", "nanoseconds"),
        }
    }
}

/// A stack that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The thread's process, its number and its name.
    pub thread: (u32, u32, String),
    /// The CPU.
    pub cpu: u64,
    /// When, in nanoseconds since the profile began.
    pub time_ns: u64,
    /// The frames, the innermost first.
    pub frames: Vec<Frame>,
    /// How much.
    pub weight: u64,
}

/// A profile.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The guest.
    pub guest: String,
    /// What was measured.
    pub measure: Measure,
    /// Samples per second, if it was sampled by time.
    pub frequency: u32,
    /// Instructions for each sample, if it was sampled by them.
    pub instructions: u64,
    /// How long, in nanoseconds.
    pub duration_ns: u64,
    /// The stacks.
    pub found: Vec<Found>,
}

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A flame graph.
    Svg,
    /// Stacks in a line each, with their weights, as flame graphs are made of.
    Folded,
    /// A profile of pprof, compressed.
    Pprof,
    /// What `perf script` prints.
    Perf,
}

impl Format {
    /// By a file's name.
    ///
    /// # Errors
    /// If it ends in no way that is known.
    pub fn of(path: &Path) -> Result<Format> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let formats = [
            (".svg", Format::Svg),
            (".pb.gz", Format::Pprof),
            (".folded", Format::Folded),
            (".txt", Format::Perf),
        ];
        formats.iter().find(|(end, _)| name.ends_with(end)).map(|(_, format)| *format).ok_or_else(|| {
            Error::new(format!("no profile is written to `{}`", path.display()))
                .why("the end of the name says the format")
                .help("`.svg` is a flame graph, `.pb.gz` for pprof, `.txt` as `perf script` prints it, `.folded` stacks in lines")
        })
    }
}

impl Format {
    /// Whether it shows lines of sources.
    pub fn has_lines(self) -> bool {
        self == Format::Pprof
    }
}

impl Profile {
    /// The sum of all weights.
    pub fn total(&self) -> u64 {
        self.found.iter().map(|found| found.weight).sum()
    }

    /// Stacks from the outside in, each once.
    pub fn folded(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for found in &self.found {
            let mut line = found.thread.2.replace(';', ":");
            for frame in found.frames.iter().rev() {
                line.push(';');
                line += &frame.function.replace(';', ":");
                if frame.is_kernel() {
                    line += "_[k]";
                }
            }
            *all.entry(line).or_default() += found.weight;
        }
        all
    }

    /// Writes it to a file.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn write(&self, path: &Path, format: Format) -> Result<()> {
        let bytes = match format {
            Format::Svg => self.flame_graph()?,
            Format::Folded => self.lines().concat().into_bytes(),
            Format::Perf => perf::script(self).into_bytes(),
            Format::Pprof => {
                let mut packed = GzEncoder::new(Vec::new(), Compression::default());
                let done = packed.write_all(&pprof::encode(self)).and_then(|()| packed.finish());
                done.map_err(|error| cannot("write", path, &error))?
            }
        };
        std::fs::write(path, bytes).map_err(|error| cannot("write", path, &error))
    }

    fn lines(&self) -> Vec<String> {
        self.folded().into_iter().map(|(stack, weight)| format!("{stack} {weight}\n")).collect()
    }

    fn flame_graph(&self) -> Result<Vec<u8>> {
        let (_, unit) = self.measure.words();
        let mut options = Options::default();
        options.title = match self.measure {
            Measure::Sleep => format!("{}: where threads sleep", self.guest),
            Measure::Instructions => format!("{}: where instructions are executed", self.guest),
            Measure::Samples => format!("{}: where time goes", self.guest),
        };
        options.count_name = unit.to_owned();
        if self.measure == Measure::Sleep {
            // Blue, as such graphs are elsewhere.
            options.colors = flamegraph::Palette::Basic(flamegraph::color::BasicPalette::Blue);
        }
        let (lines, mut svg) = (self.lines(), Vec::new());
        flamegraph::from_lines(&mut options, lines.iter().map(|line| line.trim_end()), &mut svg)
            .map_err(|error| Error::new("the flame graph cannot be drawn").why(error))?;
        Ok(svg)
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::resolve::{KERNEL, Source};
    use super::*;

    /// A profile of two stacks.
    pub fn example() -> Profile {
        let frame = |function: &str, file: &str, address| Frame {
            function: function.into(),
            file: file.into(),
            address,
            distance: 4,
            sources: Default::default(),
        };
        let source = |function: &str, line| Source { function: function.into(), file: "web.c".into(), line };
        let main = || Frame {
            sources: [source("inlined", 7), source("main", 20)].into(),
            ..frame("main", "web", 0x1004)
        };
        let found = |frames, weight| Found {
            thread: (1, 2, "worker;1".to_owned()),
            cpu: 0,
            time_ns: 1_500_000_000,
            frames,
            weight,
        };
        Profile {
            guest: "web".to_owned(),
            measure: Measure::Samples,
            frequency: 99,
            instructions: 0,
            duration_ns: 2_000_000_000,
            found: vec![
                found(vec![frame("read", KERNEL, 0x20), main()], 1),
                found(vec![main()], 2),
                found(vec![main()], 3),
            ],
        }
    }

    #[test]
    fn stacks_are_folded() {
        let lines = example().lines();
        assert_eq!(lines, ["worker:1;main 5\n", "worker:1;main;read_[k] 1\n"]);
    }

    #[test]
    fn names_say_the_format() {
        assert_eq!(Format::of(Path::new("a/x.pb.gz")).unwrap(), Format::Pprof);
        assert_eq!(Format::of(Path::new("x.svg")).unwrap(), Format::Svg);
        assert!(Format::of(Path::new("x.gz")).is_err());
    }

    #[test]
    fn a_flame_graph_has_the_functions() {
        let svg = String::from_utf8(example().flame_graph().unwrap()).unwrap();
        // What marks a function of the kernel becomes its colour.
        assert!(svg.contains("<title>main (6 samples") && svg.contains("<title>read (1 samples"), "{svg}");
    }
}
