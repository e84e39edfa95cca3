//! `coracle build`: from a program's name to an image.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{ErrorKind, IsTerminal as _, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use coracle_image::User;
use coracle_image::write::{Builder, Layout, Node, Settings as Recorded, WriteError};

use super::elf::Elf;
use super::exclude::Exclude;
use super::files::Collector;
use super::image::Outline;
use super::ldso::{Family, Loaded, Missing, Resolver, musl_path_file};
use super::program::{self, Found, Program};
use super::root::Root;
use super::{access, companions, cron, image, python, skeleton};
use crate::arch::Arch;
use crate::args::BuildArgs;
use crate::error::{Error, Result, cannot, paint, warn};
use crate::kernel::Kernel;
use crate::log::Server;
use crate::output;
use crate::settings::{FILE_NAME, Settings};
use crate::size::Size;
use crate::{bytes, environment};

/// `PATH` of guests that are not given another.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The file name that means standard output.
const STDOUT: &str = "-";

/// An image that is ready to be written, and what there is to say about it.
pub struct Assembled {
    /// The kernel, and where the archive goes.
    pub outline: Outline,
    archive: Builder<'static>,
    /// The program.
    pub program: PathBuf,
    /// What was put in, in lines for people.
    pub report: Vec<String>,
    /// A file in it that not everyone on this machine may read, if there is one.
    pub private: Option<String>,
}

impl Assembled {
    /// Writes the image from its start to its end, without having it in memory.
    pub fn write(&self, mut out: impl Write) -> Result<(), WriteError> {
        let mut archive = layout(&self.archive, self.outline.on_demand);
        archive.set_kernel(&self.outline.kernel);
        out.write_all(&self.outline.kernel).map_err(WriteError::Output)?;
        archive.write(out)
    }
}

/// Why an image was not written to `output`, for people.
pub fn cannot_write(output: &Path, error: &WriteError) -> Error {
    match error {
        WriteError::Input(path, error) => cannot("read", path, error),
        WriteError::Output(error) => cannot("write", output, error),
    }
}

/// Builds an image and writes it.
pub fn build(args: &BuildArgs) -> Result<()> {
    let mut settings = Settings::load(&args.content, args.program.is_some())?;
    if let Some(server) = &args.syslog {
        settings.run.syslog = Some(server.clone().into());
    }
    settings.run.tmpfs.extend(args.tmpfs.iter().cloned());
    let given = args.program.as_ref().or(settings.program.as_ref()).ok_or_else(no_program)?;
    let found = program::find(given, &Root::new(settings.root.as_deref())?)?;
    let assembled = assemble(given, &found, &args.args, &settings, args.verbose)?;
    let output = match args.output.as_ref().or(settings.output.as_ref()) {
        Some(output) => output.clone(),
        None => image_name(&found.path),
    };
    let mut report = format!("{}: {}\n", output.display(), Size(assembled.outline.len()));
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
        match assembled.write(std::io::stdout().lock()) {
            Ok(()) => {}
            // The reader wants no more of it.
            Err(WriteError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => return Err(cannot_write(Path::new("standard output"), &error)),
        }
        output::to_stderr(format_args!("{report}"));
        return Ok(());
    }
    write_image(&output, &assembled)?;
    output::write(report.as_bytes())
}

/// The name of the image of a program: its own, with an ending.
pub fn image_name(program: &Path) -> PathBuf {
    let mut name = program.file_name().unwrap_or_default().to_owned();
    name.push(".img");
    name.into()
}

/// That neither the command line nor a settings file names a program.
pub fn no_program() -> Error {
    Error::new("no program is given")
        .why(format!("neither the command line nor a {FILE_NAME} in this directory names one"))
        .help(format!("write `coracle build PROGRAM`, or put `program = \"…\"` into {FILE_NAME}"))
}

/// Writes an image so that a half-written one is never seen, with the permissions that the user's umask leaves
/// (umask(2)); a private one for its owner only.
fn write_image(output: &Path, image: &Assembled) -> Result<()> {
    let failed = |error: WriteError| cannot_write(output, &error);
    // Without the name of the unfinished file.
    let fail = |error: std::io::Error| cannot("write", output, &error.kind().into());
    if fs::metadata(output).is_ok_and(|meta| !meta.is_file()) {
        // A device or a pipe is written to as it is.
        let file = fs::OpenOptions::new().write(true).open(output).map_err(fail)?;
        return image.write(file).map_err(failed);
    }
    let directory = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let permissions = fs::Permissions::from_mode(if image.private.is_some() { 0o600 } else { 0o666 });
    let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(directory).map_err(fail)?;
    image.write(&mut file).map_err(failed)?;
    file.persist(output).map_err(|error| fail(error.error))?;
    Ok(())
}

/// Collects everything for a program, and joins it with the kernel.
/// `given`: how the user named the program, `found`: where it was found.
pub fn assemble(
    given: &OsStr,
    found: &Found,
    args: &[OsString],
    settings: &Settings,
    verbose: bool,
) -> Result<Assembled> {
    let args = if args.is_empty() { &settings.args } else { args };
    if image::is_image(&found.file) {
        return Err(Error::new(format!("`{}` is a Coracle image already", found.file.display()))
            .help("run it with `coracle run`; to change it, build it from the program once more"));
    }
    let root = Root::new(settings.root.as_deref())?;
    let program = Program::read(found, &root, args)?;
    let arch = program.elf.arch;
    let kernel = Kernel::load(arch)?;
    if settings.demand && arch == Arch::Aarch64 {
        return Err(Error::new("--demand is for programs for x86-64 only")
            .why("loaders take an image for aarch64 into memory as a whole")
            .help("leave it out"));
    }
    let progress = progress_bar();
    let mut collector = Collector::new(Exclude::new(&settings.exclude)?, progress.clone());
    let is_whole = root.directory().is_some();
    match root.directory() {
        Some(directory) => {
            collector.add_root(directory)?;
            // A program of this machine.
            if root.locate(&found.path).is_none() {
                collector.add_as(&found.file, &found.path)?;
            }
        }
        None => {
            skeleton::root_links(&mut collector)?;
            for script in &program.scripts {
                collector.add_linked(script)?;
            }
            collector.add_linked(&program.path)?;
        }
    }

    let variable = |name: &str| settings.env.get(OsStr::new(name)).map(OsString::as_os_str);
    let family = program.elf.interpreter.as_deref().map_or(Family::Glibc, Family::of);
    let mut resolver = Resolver::new(family, arch, &root, variable("LD_LIBRARY_PATH"));
    let preload = variable("LD_PRELOAD").unwrap_or_default();
    let preload: Vec<OsString> = bytes::parts(preload, b": ").map(OsStr::to_owned).collect();
    let dynamic = program.elf.interpreter.is_some();
    let missing =
        if dynamic { resolver.add(&program.path, program.elf.clone(), &preload) } else { Vec::new() };
    if let Some(first) = missing.first() {
        return Err(missing_library(first, missing.len() - 1));
    }
    let jobs = settings.cron.iter().map(|job| job.compile(&root)).collect::<Result<Vec<_>>>()?;
    // A tree has its own programs already.
    let is_added = |file: &&PathBuf| !is_whole || root.locate(file).is_none();
    let job_files = jobs.iter().flat_map(|job| &job.files).filter(is_added).map(|file| file.as_os_str());
    for spec in settings.add.iter().map(OsString::as_os_str).chain(job_files) {
        collector.add(spec)?;
    }
    let python = match is_whole {
        true => None,
        false => add_python(&mut collector, &program.path, resolver.loaded())?,
    };
    collector.add_link_targets()?;
    let mut left_out = Vec::new();
    for object in std::mem::take(&mut collector.objects) {
        // What is no ELF file for this machine is data, as far as libraries go.
        let Ok(elf) = Elf::read(&object) else { continue };
        left_out.extend(resolver.add(&object, elf, &[]));
    }
    let libraries: Vec<Loaded> =
        resolver.loaded().iter().filter(|loaded| !loaded.name.is_empty()).cloned().collect();
    let mut companions = Vec::new();
    if !is_whole {
        for library in &libraries {
            collector.add_linked(&library.path)?;
        }
        finish_libraries(&mut collector, (family, arch), &libraries)?;
        companions = add_companions(&mut collector, &program.path, resolver.loaded())?;
        companions.extend(python);
    }
    // What is the ordinary user's, root may use, too.
    let user = settings.user.filter(|user| user.uid != User::ROOT.uid).unwrap_or(User::ORDINARY);
    skeleton::fill(&mut collector, user, settings.hostname.as_deref())?;
    let cwd = match &settings.cwd {
        Some(cwd) => Some(checked_directory(cwd, &collector)?),
        None => {
            current_directory(given, &found.file, &settings.add).filter(|cwd| is_directory(&collector, cwd))
        }
    };
    progress.finish_and_clear();

    for warning in missing_modules(&left_out, &collector, resolver.loaded()) {
        warn(warning);
    }
    for skipped in &collector.skipped {
        warn(format!("left out {skipped}"));
    }
    for pattern in collector.unused_patterns() {
        warn(format!("--exclude `{pattern}` matches no file"));
    }
    let user = settings.user.unwrap_or(User::ORDINARY);
    for warning in unreadable(&program, &libraries, cwd.as_deref(), &collector, user) {
        warn(warning);
    }
    let report = report(&program, &libraries, &companions, &collector, settings, &kernel, verbose);
    let private = private_file(&collector);
    let builder = Builder {
        settings: record(&program, settings, (cwd, jobs), &kernel),
        symbols: kernel.symbols,
        tree: std::mem::take(&mut collector.tree),
    };
    let outline = image::outline(&kernel.elf, &layout(&builder, settings.demand))?;
    Ok(Assembled { outline, archive: builder, program: found.path.clone(), report, private })
}

/// An archive as it is to be written.
fn layout<'b>(builder: &'b Builder<'_>, on_demand: bool) -> Layout<'b> {
    let mut layout = builder.layout();
    if on_demand {
        layout.set_on_disk();
    }
    layout
}

/// The first file that not everyone may read.
fn private_file(collector: &Collector) -> Option<String> {
    /// Read permission for users other than the owner and the group.
    const OTHERS_READ: u32 = 0o004;
    let mut private = None;
    collector.tree.visit(&mut |path, node| {
        if matches!(node, Node::File(meta, _) if meta.permissions & OTHERS_READ == 0) && private.is_none() {
            private = Some(String::from_utf8_lossy(path).into_owned());
        }
    });
    private
}

/// Adds the standard library of a Python interpreter; returns it in words.
fn add_python(collector: &mut Collector, program: &Path, loaded: &[Loaded]) -> Result<Option<&'static str>> {
    let libraries = loaded.iter().map(|loaded| loaded.path.as_path());
    let Some(directory) = python::library(program, libraries) else { return Ok(None) };
    // What the user put there comes first.
    let is_there = collector.tree.get(directory.as_os_str().as_bytes()).is_some();
    Ok((is_there || collector.add_if_there(&directory)?).then_some("Python's standard library"))
}

/// Adds the files that the programs and libraries read though they do not name them; returns those in words.
fn add_companions(collector: &mut Collector, program: &Path, loaded: &[Loaded]) -> Result<Vec<&'static str>> {
    // A static program loads nothing, itself included.
    let paths = std::iter::once(program).chain(loaded.iter().map(|loaded| loaded.path.as_path()));
    let mut names = Vec::new();
    for companion in companions::of_files(paths) {
        let mut any = false;
        for path in companion.paths.iter().map(Path::new) {
            // What the user put there comes first.
            let is_there = collector.tree.get(path.as_os_str().as_encoded_bytes()).is_some();
            any |= is_there || collector.add_if_there(path)?;
        }
        if any {
            names.push(companion.name);
        }
    }
    collector.add_link_targets()?;
    Ok(names)
}

/// The current directory, if something of it was added at its own path: the program, given by its path, or a file by --add.
fn current_directory(given: &OsStr, path: &Path, add: &[OsString]) -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let is_here = |path: &Path| {
        let path = path.canonicalize().ok();
        path.is_some_and(|path| path.starts_with(&here))
    };
    // Something at another path of the image, `HOST:GUEST`, is no file of that name on the host.
    let any = (bytes::is_path(given) && is_here(path)) || add.iter().any(|add| is_here(Path::new(add)));
    any.then_some(here)
}

/// The working directory that `--cwd` names, if the image has it.
fn checked_directory(given: &OsStr, collector: &Collector) -> Result<PathBuf> {
    let path = PathBuf::from(given);
    let error = Error::new(format!("`{}` cannot be the working directory", path.display()));
    if !path.is_absolute() {
        return Err(error
            .why("it is not an absolute path")
            .help("write --cwd /DIRECTORY, a path in the image"));
    }
    match access::find(&collector.tree, path.as_os_str().as_bytes()) {
        Some(Node::Directory(..)) => Ok(path),
        Some(_) => Err(error.why("it is in the image, but no directory")),
        None => Err(error.why("there is no such directory in the image").help(
            "add it (`--add HOST_DIRECTORY:GUEST_DIRECTORY`), or name one that every image has, such as /tmp",
        )),
    }
}

fn is_directory(collector: &Collector, path: &Path) -> bool {
    matches!(access::find(&collector.tree, path.as_os_str().as_bytes()), Some(Node::Directory(..)))
}

/// Libraries that added programs and modules need and that are nowhere in the image, one line each. One that is in the image,
/// though not where the dynamic linker looks, is loaded by its path: Java's modules find their machine so.
fn missing_modules(missing: &[Missing], collector: &Collector, loaded: &[Loaded]) -> Vec<String> {
    let names = loaded.iter().flat_map(Loaded::names);
    let mut present: BTreeSet<OsString> = names.map(OsStr::to_owned).collect();
    collector.tree.visit(&mut |path, node| {
        if !matches!(node, Node::Directory(..)) {
            present.extend(Path::new(OsStr::from_bytes(path)).file_name().map(OsStr::to_owned));
        }
    });
    let mut wanted: BTreeMap<&OsStr, Vec<&Path>> = BTreeMap::new();
    for missing in missing.iter().filter(|missing| !present.contains(&missing.name)) {
        wanted.entry(&missing.name).or_default().push(&missing.wanted_by);
    }
    let line = |(name, by): (&OsStr, Vec<&Path>)| {
        let others = match by.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        format!("`{}` was not found; `{}`{others} will not load", name.display(), by[0].display())
    };
    wanted.into_iter().map(line).collect()
}

/// What the program's user cannot use of what the program needs, one line each.
fn unreadable(
    program: &Program,
    libraries: &[Loaded],
    cwd: Option<&Path>,
    collector: &Collector,
    user: User,
) -> Vec<String> {
    let readable = program.scripts.iter().chain(libraries.iter().map(|library| &library.path));
    let readable = readable.chain(&collector.added).map(|path| (path.as_path(), access::READ));
    let entered = std::iter::once(program.path.as_path()).chain(cwd).map(|path| (path, access::EXECUTE));
    entered
        .chain(readable)
        .filter_map(|(path, wanted)| {
            let bytes = path.as_os_str().as_encoded_bytes();
            let obstacle = access::obstacle(&collector.tree, bytes, user, wanted)?;
            Some(format!(
                "the program runs as {user} and cannot use `{}`: {obstacle} (--user runs it as another)",
                path.display()
            ))
        })
        .collect()
}

/// Gives the guest's dynamic linker what it finds libraries by.
fn finish_libraries(
    collector: &mut Collector,
    (family, arch): (Family, Arch),
    libraries: &[Loaded],
) -> Result<()> {
    match family {
        Family::Glibc => {
            const CACHE: &str = "/etc/ld.so.cache";
            let mut cache = super::cache::Cache::default();
            for library in libraries.iter().filter(|library| library.common) {
                cache.insert(&library.name, library.path.clone());
            }
            if !cache.is_empty() && collector.tree.get(CACHE.as_bytes()).is_none() {
                let meta = coracle_image::write::Meta::root(0o644);
                collector.insert(Path::new(CACHE), Node::File(meta, cache.to_bytes(arch).into()))?;
            }
        }
        Family::Musl => {
            let file = musl_path_file(arch);
            if file.exists() {
                collector.add_linked(&file)?;
            }
        }
    }
    Ok(())
}

pub(super) fn missing_library(missing: &Missing, others: usize) -> Error {
    let error = Error::new(format!("`{}` was not found", missing.name.display()))
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
fn record(
    program: &Program,
    settings: &Settings,
    (cwd, jobs): (Option<PathBuf>, Vec<cron::Compiled>),
    kernel: &Kernel,
) -> Recorded {
    let mut env: Vec<Vec<u8>> = settings.env.iter().map(environment::joined).collect();
    let root = settings.user.is_some_and(|user| user.uid == User::ROOT.uid);
    let home = if root { "/root" } else { skeleton::HOME };
    for (name, value) in [("PATH", DEFAULT_PATH), ("HOME", home)] {
        if !settings.env.contains_key(OsStr::new(name)) {
            env.push(format!("{name}={value}").into_bytes());
        }
    }
    Recorded {
        program: program.path.as_os_str().as_bytes().to_vec(),
        args: program.args.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
        more_fixed_args: u32::try_from(program.own_args).unwrap_or(1).saturating_sub(1),
        env,
        cwd: cwd.unwrap_or_default().into_os_string().into_vec(),
        mode: settings.mode.unwrap_or_default(),
        access: settings.control,
        cron: jobs.into_iter().map(|job| (job.name, job.bytes)).collect(),
        health: if settings.health.has_check() { settings.health.text() } else { String::new() },
        metrics_port: settings.metrics_port,
        ntp: settings.ntp.iter().map(|server| server.0.clone()).collect(),
        syslog: settings.run.syslog.as_ref().and_then(Server::of_guest),
        tmpfs: settings.run.tmpfs.iter().map(|spec| spec.0.clone()).collect(),
        user: settings.user,
        hostname: settings.hostname.clone().map(String::into_bytes),
        kernel_version: kernel.version.clone(),
        memory: settings.run.memory.map(|size| size.0),
    }
}

fn report(
    program: &Program,
    libraries: &[Loaded],
    companions: &[&str],
    collector: &Collector,
    settings: &Settings,
    kernel: &Kernel,
    verbose: bool,
) -> Vec<String> {
    let size_of = |path: &Path| match access::find(&collector.tree, path.as_os_str().as_bytes()) {
        Some(Node::File(_, data)) => Size(data.len() as u64),
        _ => Size(0),
    };
    let mut lines = vec![format!(
        "program    {} ({}, for {}, {} mode)",
        program.path.display(),
        size_of(&program.path),
        program.elf.arch,
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
    if !companions.is_empty() {
        lines.push(format!("also       {}", companions.join(", ")));
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
