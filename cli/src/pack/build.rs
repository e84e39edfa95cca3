//! `coracle build`: from a program's name to an image.

use std::fs;
use std::io::IsTerminal as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use coracle_image::User;
use coracle_image::write::{Builder, Node, Settings as Recorded};

use super::elf::Elf;
use super::files::Collector;
use super::ldso::{Family, Loaded, Missing, Resolver, musl_path_file};
use super::program::{self, Program};
use super::{image, skeleton};
use crate::args::BuildArgs;
use crate::error::{self, Error, Result, cannot, paint, warn};
use crate::kernel::Kernel;
use crate::output;
use crate::settings::{FILE_NAME, Settings};
use crate::size::Size;

/// `PATH` of guests that are not given another.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The name that stands for standard output in place of a file's.
const STDOUT: &str = "-";

/// An image in memory, and what there is to say about it.
pub struct Assembled {
    /// The bytes of the image.
    pub bytes: Vec<u8>,
    /// The program.
    pub program: PathBuf,
    /// What was put in, in lines for people.
    pub report: Vec<String>,
    /// A file in it that not everyone on this machine may read, if there is one.
    pub private: Option<String>,
}

/// Builds an image and writes it.
pub fn build(args: &BuildArgs) -> Result<()> {
    let settings = Settings::load(&args.content, args.program.is_some())?;
    let given = args.program.as_ref().or(settings.program.as_ref()).ok_or_else(no_program)?;
    let path = program::find(given)?;
    let assembled = assemble(&path, &args.args, &settings, args.verbose)?;
    let output = match args.output.as_ref().or(settings.output.as_ref()) {
        Some(output) => output.clone(),
        None => PathBuf::from(format!("{}.img", path.file_name().unwrap_or_default().to_string_lossy())),
    };
    let mut report = format!("{}: {}\n", output.display(), Size(assembled.bytes.len() as u64));
    if let Some(path) = &assembled.private {
        report += &format!("  only its owner may read it: others may not read `{path}`, which is in it\n");
    }
    for line in &assembled.report {
        report += &format!("  {line}\n");
    }
    if output == Path::new(STDOUT) {
        if std::io::stdout().is_terminal() {
            return Err(Error::new("an image is not written to a terminal")
                .help("send it to a file or a program: `coracle build … -o - > IMAGE`"));
        }
        output::write(&assembled.bytes)?;
        output::to_stderr(format_args!("{report}"));
        return Ok(());
    }
    write_image(&output, &assembled.bytes, assembled.private.is_some())?;
    output::write(report.as_bytes())
}

/// That neither the command line nor a settings file names a program.
pub fn no_program() -> Error {
    Error::new("no program is given")
        .why(format!("neither the command line nor a {FILE_NAME} in this directory names one"))
        .help(format!("write `coracle build PROGRAM`, or put `program = \"…\"` into {FILE_NAME}"))
}

/// Writes an image so that a half-written one is never seen, with the permissions that the user's umask leaves
/// (umask(2)); a private one for its owner only.
fn write_image(output: &Path, bytes: &[u8], private: bool) -> Result<()> {
    let fail = |error: std::io::Error| cannot("write", output, &error);
    if fs::metadata(output).is_ok_and(|meta| !meta.is_file()) {
        // A device or a pipe is written to as it is.
        return fs::write(output, bytes).map_err(fail);
    }
    let directory = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let permissions = fs::Permissions::from_mode(if private { 0o600 } else { 0o666 });
    let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(directory).map_err(fail)?;
    std::io::Write::write_all(&mut file, bytes).map_err(fail)?;
    file.persist(output).map_err(|error| fail(error.error))?;
    Ok(())
}

/// Collects everything for a program, and joins it with the kernel.
pub fn assemble(path: &Path, args: &[String], settings: &Settings, verbose: bool) -> Result<Assembled> {
    let kernel = Kernel::load()?;
    let args = if args.is_empty() { &settings.args } else { args };
    if image::Image::parse(&error::read(path)?).ok().flatten().is_some() {
        return Err(Error::new(format!("`{}` is a Coracle image already", path.display()))
            .help("run it with `coracle run`; to change it, build it from the program once more"));
    }
    let program = Program::read(path, args)?;
    let progress = progress_bar();
    let mut collector = Collector::with_progress(progress.clone());
    skeleton::root_links(&mut collector)?;
    for script in &program.scripts {
        collector.add_linked(script)?;
    }
    collector.add_linked(&program.path)?;

    let variable = |name: &str| settings.env.get(name).map(String::as_str);
    let family = program.elf.interpreter.as_deref().map_or(Family::Glibc, Family::of);
    let mut resolver = Resolver::new(family, variable("LD_LIBRARY_PATH"));
    let preload: Vec<String> = variable("LD_PRELOAD")
        .unwrap_or_default()
        .split([':', ' '])
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let dynamic = program.elf.interpreter.is_some();
    let missing =
        if dynamic { resolver.add(&program.path, program.elf.clone(), &preload) } else { Vec::new() };
    if let Some(first) = missing.first() {
        return Err(missing_library(first, missing.len() - 1));
    }
    for spec in &settings.add {
        collector.add(spec)?;
    }
    collector.add_link_targets()?;
    let mut left_out = Vec::new();
    for object in std::mem::take(&mut collector.objects) {
        // What is no ELF file for this machine is data, as far as libraries go.
        let Ok(elf) = error::read(&object).map_or(Err(()), |bytes| Elf::parse(&bytes).map_err(drop)) else {
            continue;
        };
        left_out.extend(resolver.add(&object, elf, &[]));
    }
    let libraries: Vec<Loaded> =
        resolver.loaded().iter().filter(|loaded| !loaded.name.is_empty()).cloned().collect();
    for library in &libraries {
        collector.add_linked(&library.path)?;
    }
    finish_libraries(&mut collector, family, &libraries)?;
    // What is the ordinary user's, root may use, too.
    let user = settings.user.filter(|user| user.uid != User::ROOT.uid).unwrap_or(User::ORDINARY);
    let cwd = settings.cwd.as_deref().unwrap_or("");
    skeleton::fill(&mut collector, user, cwd, settings.hostname.as_deref())?;
    progress.finish_and_clear();

    for missing in &left_out {
        warn(format!("`{}` was not found; `{}` will not load", missing.name, missing.wanted_by.display()));
    }
    for skipped in &collector.skipped {
        warn(format!("left out {skipped}"));
    }
    let report = report(&program, &libraries, &collector, settings, &kernel, verbose);
    let private = private_file(&collector);
    let builder = Builder {
        settings: record(&program, settings, &kernel),
        symbols: kernel.symbols,
        tree: std::mem::take(&mut collector.tree),
    };
    let bytes = image::join(&kernel.elf, &builder.finish())?;
    Ok(Assembled { bytes, program: path.to_owned(), report, private })
}

/// The first file that not everyone may read.
fn private_file(collector: &Collector) -> Option<String> {
    /// Permission of users who are neither the owner nor in the group to read a file.
    const OTHERS_READ: u32 = 0o004;
    let mut private = None;
    collector.tree.visit(&mut |path, node| {
        if matches!(node, Node::File(meta, _) if meta.permissions & OTHERS_READ == 0) && private.is_none() {
            private = Some(String::from_utf8_lossy(path).into_owned());
        }
    });
    private
}

/// Gives the guest's dynamic linker what it finds libraries by.
fn finish_libraries(collector: &mut Collector, family: Family, libraries: &[Loaded]) -> Result<()> {
    match family {
        Family::Glibc => {
            const CACHE: &str = "/etc/ld.so.cache";
            let mut cache = super::cache::Cache::default();
            for library in libraries.iter().filter(|library| library.common) {
                cache.insert(&library.name, library.path.clone());
            }
            if !cache.is_empty() && collector.tree.get(CACHE.as_bytes()).is_none() {
                let meta = coracle_image::write::Meta::root(0o644);
                collector.insert(Path::new(CACHE), Node::File(meta, cache.to_bytes().into()))?;
            }
        }
        Family::Musl => {
            if musl_path_file().exists() {
                collector.add_linked(musl_path_file())?;
            }
        }
    }
    Ok(())
}

fn missing_library(missing: &Missing, others: usize) -> Error {
    let error = Error::new(format!("`{}` was not found", missing.name))
        .why(format!("`{}` needs it", missing.wanted_by.display()));
    let error = if missing.searched.is_empty() {
        error
    } else {
        let places: Vec<String> = missing.searched.iter().map(|dir| dir.display().to_string()).collect();
        error.why(format!("it is in none of {}", places.join(", ")))
    };
    let error = if others > 0 { error.why(format!("{others} more are missing")) } else { error };
    error
        .help("install the package that has it (on Debian, `apt-file search` tells which)")
        .help("or name its directory with -e LD_LIBRARY_PATH=DIR")
}

/// What the kernel reads of the settings.
fn record(program: &Program, settings: &Settings, kernel: &Kernel) -> Recorded {
    let mut env: Vec<String> = settings.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let root = settings.user.is_some_and(|user| user.uid == User::ROOT.uid);
    let home = if root { "/root" } else { skeleton::HOME };
    for (name, value) in [("PATH", DEFAULT_PATH), ("HOME", home)] {
        if !settings.env.contains_key(name) {
            env.push(format!("{name}={value}"));
        }
    }
    Recorded {
        program: program.path.to_string_lossy().into_owned().into_bytes(),
        args: program.args.iter().map(|arg| arg.clone().into_bytes()).collect(),
        more_fixed_args: u32::try_from(program.own_args).unwrap_or(1).saturating_sub(1),
        env: env.into_iter().map(String::into_bytes).collect(),
        cwd: settings.cwd.clone().unwrap_or_default().into_bytes(),
        mode: settings.mode.unwrap_or_default(),
        user: settings.user,
        hostname: settings.hostname.clone().map(String::into_bytes),
        kernel_version: kernel.version.clone(),
        memory: settings.run.memory.map(|size| size.0),
    }
}

fn report(
    program: &Program,
    libraries: &[Loaded],
    collector: &Collector,
    settings: &Settings,
    kernel: &Kernel,
    verbose: bool,
) -> Vec<String> {
    let size_of = |path: &Path| Size(fs::metadata(path).map_or(0, |meta| meta.len()));
    let mut lines = vec![format!(
        "program    {} ({}, {} mode)",
        program.path.display(),
        size_of(&program.path),
        settings.mode.unwrap_or_default()
    )];
    for script in &program.scripts {
        lines.push(format!("script     {}", script.display()));
    }
    let total: u64 = libraries.iter().map(|library| size_of(&library.path).0).sum();
    if libraries.is_empty() {
        lines.push("libraries  none (statically linked)".to_owned());
    } else {
        lines.push(format!("libraries  {}, {}", libraries.len(), Size(total)));
        lines.extend(
            libraries
                .iter()
                .map(|library| format!("           {} {}", library.path.display(), size_of(&library.path))),
        );
    }
    let (mut count, mut bytes) = (0_u64, 0_u64);
    let mut names = Vec::new();
    collector.tree.visit(&mut |path, node| {
        if let Node::File(_, data) = node {
            count += 1;
            bytes += data.len() as u64;
            if verbose {
                names.push(format!(
                    "           {} {}",
                    String::from_utf8_lossy(path),
                    Size(data.len() as u64)
                ));
            }
        }
    });
    lines.push(format!("files      {count} in all, {}", Size(bytes)));
    lines.extend(names);
    lines.push(format!(
        "kernel     {}, {}; {} symbols",
        kernel.version,
        Size(kernel.elf.len() as u64),
        kernel.symbols.len()
    ));
    lines
}

/// A spinner that names files, on a terminal only.
fn progress_bar() -> indicatif::ProgressBar {
    if std::io::stderr().is_terminal() {
        let style = indicatif::ProgressStyle::with_template("{spinner} {pos} files {wide_msg}");
        let bar = indicatif::ProgressBar::new_spinner();
        bar.set_prefix(paint().dim("reading"));
        style.map_or(bar.clone(), |style| bar.with_style(style))
    } else {
        indicatif::ProgressBar::hidden()
    }
}
