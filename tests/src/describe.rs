//! What a test program says about itself: in the comment at its top (C, C++), or in a TOML file (commands).
//!
//! A C program starts with `// ` lines: first what it shows, in words, then `key: value` lines:
//! `link` (static, static-pie, dynamic, musl, musl-dynamic), `flags`, `args`, `env`, `stdin` (with escapes), `memory`, `console`,
//! `demand` (yes: the image's files are paged in from a disk; also: it is booted so as well, as `NAME_on_demand`),
//! `fail-alloc` (which of its allocations in the kernel fails; 0: those it asks for), `data` (it gets the folder of files, named by `DATA`), `plugin` (a library built beside it), `modes`, `machines: all`
//! (each mode on 1 and on 2 CPUs), `arch: x86-64` (it is about that architecture, and boots on no other), `linux: no` (it can't run there), `stdout-has` (what it must print then), `report` (what
//! the guest's report of its death must say).
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

use crate::matrix::{Coverage, Mode};
use crate::paths;

/// What `arch` can say.
const X86_64: &str = "x86-64";

/// How a C program is linked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Against glibc's shared library, position independent.
    #[default]
    Dynamic,
    /// Against glibc's archive, at fixed addresses.
    Static,
    /// Against glibc's archive, position independent.
    StaticPie,
    /// Against musl's archive.
    Musl,
    /// Against musl's shared library.
    MuslDynamic,
}

/// Where a program comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A C or C++ file.
    C {
        /// The file.
        path: PathBuf,
        /// How it is linked.
        link: Link,
        /// More flags for the compiler.
        flags: Vec<String>,
        /// A library to build beside it, put among the data.
        plugin: Option<String>,
    },
    /// A binary of the Rust workspace.
    Rust {
        /// Its name.
        name: String,
    },
    /// A Go file.
    Go {
        /// The file.
        path: PathBuf,
    },
    /// A program of the machine.
    Installed {
        /// Where it is.
        path: PathBuf,
    },
}

/// A program, how it is run, and what is asked of it.
#[derive(Clone, Debug)]
pub struct Program {
    /// `family::name`.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
    /// Its arguments; `$DATA` in them stands for the folder of files.
    pub args: Vec<String>,
    /// Its environment, beyond what all have.
    pub env: Vec<(String, String)>,
    /// Its standard input.
    pub stdin: Vec<u8>,
    /// The guest's memory, as `coracle run -m` takes it.
    pub memory: Option<String>,
    /// The guest's console, as `coracle run --console` takes it.
    pub console: Option<String>,
    /// `--fail-alloc` of `coracle run`.
    pub fail_alloc: Option<String>,
    /// Whether the files of the image are paged in from a disk (`--demand` of `coracle run`).
    pub demand: bool,
    /// Whether it is given the folder of files.
    pub data: bool,
    /// More files for the image.
    pub add: Vec<String>,
    /// The modes it is for.
    pub modes: Vec<Mode>,
    /// On how many machines it is booted.
    pub coverage: Coverage,
    /// Whether it is about x86-64 alone.
    pub x86_only: bool,
    /// Whether it runs on Linux for comparison.
    pub linux: bool,
    /// Whether the order of its lines is left open.
    pub sort: bool,
    /// What it must print, where there is no Linux to compare with.
    pub stdout_has: Vec<String>,
    /// What the report of its death must contain.
    pub report: Vec<String>,
}

impl Program {
    fn new(name: String, source: Source) -> Self {
        Self {
            name,
            source,
            args: Vec::new(),
            env: Vec::new(),
            stdin: Vec::new(),
            memory: None,
            console: None,
            fail_alloc: None,
            demand: false,
            data: false,
            add: Vec::new(),
            modes: Mode::ALL.to_vec(),
            coverage: Coverage::default(),
            x86_only: false,
            linux: true,
            sort: false,
            stdout_has: Vec::new(),
            report: Vec::new(),
        }
    }
}

/// A TOML file of command lines of one installed program.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Commands {
    program: PathBuf,
    #[serde(default)]
    add: Vec<String>,
    memory: Option<String>,
    arch: Option<String>,
    #[serde(default)]
    demand: bool,
    command: Vec<CommandLine>,
}

/// One command line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandLine {
    name: String,
    args: Vec<String>,
    #[serde(default)]
    stdin: String,
    #[serde(default)]
    data: bool,
    #[serde(default)]
    sort: bool,
    #[serde(default)]
    add: Vec<String>,
    arch: Option<String>,
}

/// All test programs, by name.
///
/// # Panics
/// If one describes itself in a way that is not understood.
pub fn all() -> Vec<Program> {
    let root = paths::programs();
    let mut programs = Vec::new();
    for family in files(&root.join("c")).into_iter().filter(|f| f.is_dir() && !f.ends_with("plugins")) {
        for path in files(&family).into_iter().filter(|p| has_extension(p, &["c", "cpp"])) {
            programs.extend(c_program(&stem(&family), path));
        }
    }
    for path in files(&root.join("rust/src/bin")) {
        let name = stem(&path);
        if !name.ends_with("_server") {
            programs.push(Program::new(format!("rust::{name}"), Source::Rust { name }));
        }
    }
    for path in files(&root.join("go")).into_iter().filter(|p| has_extension(p, &["go"])) {
        let name = stem(&path);
        if name != "server" {
            programs.push(Program::new(format!("go::{name}"), Source::Go { path }));
        }
    }
    for path in files(&root.join("commands")) {
        programs.extend(commands(&path));
    }
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    programs
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.expect("a folder can be read").path())
        .collect();
    paths.sort();
    paths
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a file has a name").to_string_lossy().into_owned()
}

fn has_extension(path: &Path, wanted: &[&str]) -> bool {
    path.extension().is_some_and(|e| wanted.iter().any(|w| e == *w))
}

/// A C program, once or twice.
fn c_program(family: &str, path: PathBuf) -> Vec<Program> {
    let text = fs::read_to_string(&path).expect("a source can be read");
    let source = Source::C { path: path.clone(), link: Link::default(), flags: Vec::new(), plugin: None };
    let mut program = Program::new(format!("{family}::{}", stem(&path)), source);
    let mut on_demand = None;
    // The first line says in words what the program shows.
    for line in text.lines().skip(1).map_while(|l| l.strip_prefix("// ")) {
        let Some((key, value)) = line.split_once(": ") else { continue };
        if (key, value) == ("demand", "also") {
            on_demand = Some(format!("{}_on_demand", program.name));
            continue;
        }
        set(&mut program, key, value).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    let twin = on_demand.map(|name| Program { name, demand: true, ..program.clone() });
    [program].into_iter().chain(twin).collect()
}

/// Takes one `key: value` line.
fn set(program: &mut Program, key: &str, value: &str) -> Result<(), String> {
    let Source::C { link, flags, plugin, .. } = &mut program.source else {
        unreachable!("only C programs have headers")
    };
    match key {
        "link" => {
            *link = match value {
                "dynamic" => Link::Dynamic,
                "static" => Link::Static,
                "static-pie" => Link::StaticPie,
                "musl" => Link::Musl,
                "musl-dynamic" => Link::MuslDynamic,
                other => return Err(format!("unknown way to link: {other}")),
            }
        }
        "flags" => flags.extend(value.split_whitespace().map(String::from)),
        "plugin" => *plugin = Some(value.into()),
        "args" => program.args = words(value)?,
        "env" => {
            let (name, value) = value.split_once('=').ok_or("env takes NAME=VALUE")?;
            program.env.push((name.into(), value.into()));
        }
        "stdin" => program.stdin = unescape(value)?,
        "memory" => program.memory = Some(value.into()),
        "console" => program.console = Some(value.into()),
        "fail-alloc" => program.fail_alloc = Some(value.into()),
        "demand" if value == "yes" => program.demand = true,
        "data" => program.data = value == "yes",
        "modes" => program.modes = value.split_whitespace().map(Mode::parse).collect::<Result<_, _>>()?,
        "machines" if value == "all" => program.coverage = Coverage::EveryCpuCount,
        "machines" => return Err(format!("machines can be `all`, not {value}")),
        "arch" if value == X86_64 => program.x86_only = true,
        "linux" => program.linux = value != "no",
        "stdout-has" => program.stdout_has.push(value.into()),
        "report" => program.report.push(value.into()),
        other => return Err(format!("unknown key in the header: {other}")),
    }
    Ok(())
}

/// Splits at blanks, keeping what is in double quotes together; a backslash takes the next character as it is.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut all, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => (quoted, any) = (!quoted, true),
            '\\' => word.push(characters.next().ok_or("a backslash at the end")?),
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    all.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if quoted {
        return Err("a quote that isn't closed".into());
    }
    if any || !word.is_empty() {
        all.push(word);
    }
    Ok(all)
}

/// Bytes with the escapes `\n`, `\t`, `\\` and `\xNN`.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        if b != b'\\' {
            bytes.push(b);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = std::str::from_utf8(&digits).map_err(|e| e.to_string())?;
                u8::from_str_radix(digits, 16).map_err(|e| format!("\\x{digits}: {e}"))?
            }
            _ => return Err("an escape that is not known".into()),
        });
    }
    Ok(bytes)
}

fn commands(path: &Path) -> Vec<Program> {
    let text = fs::read_to_string(path).expect("a description can be read");
    let file: Commands = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let family = stem(path);
    let is_about_x86 = |arch: &Option<String>| {
        assert!(
            arch.as_deref().is_none_or(|arch| arch == X86_64),
            "{}: arch can be {X86_64}",
            path.display()
        );
        arch.is_some()
    };
    file.command
        .into_iter()
        .map(|command| {
            let source = Source::Installed { path: file.program.clone() };
            let mut program = Program::new(format!("{family}::{}", command.name), source);
            program.args = command.args;
            program.stdin = command.stdin.into_bytes();
            program.memory = file.memory.clone();
            program.demand = file.demand;
            program.data = command.data;
            program.x86_only = is_about_x86(&file.arch) || is_about_x86(&command.arch);
            program.sort = command.sort;
            program.add = file.add.iter().cloned().chain(command.add).collect();
            program
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_quotes_together() {
        assert_eq!(words(r#"a "b c" "" d\ e "f'g" "h\\i""#).unwrap(), ["a", "b c", "", "d e", "f'g", "h\\i"]);
        assert!(words("\"open").is_err());
    }

    #[test]
    fn escapes_are_bytes() {
        assert_eq!(unescape(r"a\n\x00\xff\\").unwrap(), b"a\n\x00\xff\\");
        assert!(unescape(r"\q").is_err());
    }

    #[test]
    fn every_description_is_understood() {
        assert!(all().len() >= 90);
    }
}
