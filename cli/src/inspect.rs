//! `coracle inspect`: what is in an image. `coracle kernel`: the kernel for gdb.

use std::os::unix::ffi::OsStrExt as _;

use coracle_image::archive::{Archive, Inode, InodeId};

use crate::args::{InspectArgs, KernelArgs};
use crate::error::{Error, Result, cannot};
use crate::observe::json;
use crate::output;
use crate::pack::Image;
use crate::size::Size;

/// Faults that are listed of a damaged image.
const SHOWN_FAULTS: usize = 20;

/// Shows an image on stdout.
pub fn inspect(args: &InspectArgs) -> Result<()> {
    let shown = args.image.display();
    let damaged = |why: coracle_image::Error| {
        Error::new(format!("`{shown}` is an image, but cannot be read")).why(why).help("build it once more")
    };
    let image = Image::open(&args.image)?.ok_or_else(|| {
        Error::new(format!("`{shown}` is not a Coracle image"))
            .help("`coracle build PROGRAM` makes one; `coracle run PROGRAM` needs none")
    })?;
    if let Some(path) = &args.cat {
        let inode = image.archive().and_then(|archive| archive.find(path.as_bytes())).map_err(damaged)?;
        let inode = inode.ok_or_else(|| Error::new(format!("`{}` is not in the image", path.display())))?;
        if !inode.is_file() {
            return Err(Error::new(format!("`{}` is not a file", path.display())));
        }
        return image.copy(&inode, output::write);
    }
    let faults = image.faults().map_err(damaged)?;
    if !faults.is_empty() {
        let more = if faults.len() > SHOWN_FAULTS { "; and more" } else { "" };
        let listed = faults[..faults.len().min(SHOWN_FAULTS)].join("; ");
        return Err(Error::new(format!("`{shown}` is damaged"))
            .why(format!("{listed}{more}"))
            .help("copy it once more from where it came, or build it once more"));
    }
    if args.json {
        let value = as_json(&image).map_err(damaged)?;
        return output::line(json(&value)?);
    }
    let text = describe(&image, args).map_err(damaged)?;
    output::write(text.as_bytes())
}

fn describe(image: &Image, args: &InspectArgs) -> Result<String, coracle_image::Error> {
    let archive = &image.archive()?;
    let config = archive.config();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut out = format!("{}: {}\n", args.image.display(), Size(image.len));
    let mut line = |name: &str, value: String| out += &format!("  {name:<10} {value}\n");
    line("program", text(config.program()));
    let argv: Vec<String> = config.args().map(crate::run::quoted).collect();
    line("arguments", argv.join(" "));
    config.env().for_each(|var| line("env", text(var)));
    line("directory", text(config.cwd()));
    line("for", image.arch.to_string());
    line("mode", config.mode().to_string());
    if let Some(port) = config.metrics_port() {
        line("metrics", format!("on port {port}"));
    }
    config.ntp().for_each(|server| line("ntp", server.to_string()));
    if let Some(server) = config.syslog() {
        line("syslog", server.to_string());
    }
    config.tmpfs().for_each(|(path, options)| line("tmpfs", format!("{}:{}", text(path), text(options))));
    line("control", config.access().to_string());
    line("user", config.user().to_string());
    if let Some(name) = config.hostname() {
        line("hostname", text(name));
    }
    for name in config.cron_names() {
        line("cron", text(name));
    }
    if let Some(checks) = config.health() {
        line("health", checks.to_owned());
    }
    if let Some(memory) = config.memory() {
        line("memory", Size(memory).to_string());
    }
    let version = config.kernel_version().unwrap_or("unknown");
    line("kernel", format!("{version}, {}; {} symbols", Size(image.kernel_len), archive.symbols().len()));
    line("checksums", format!("right, of the kernel and of {} pages", archive.pages()));
    if image.on_demand {
        line("demand", "the files stay on a disk, this file, and are read when they are used".to_owned());
    }
    line("needs", format!("{} of memory to be loaded", Size(image.end)));

    let mut files = Vec::new();
    walk(archive, InodeId::ROOT, &mut Vec::new(), &mut |path, inode, target| {
        files.push((text(path), *inode, target.map(text)));
    })?;
    let regular = || files.iter().filter(|(_, inode, _)| inode.is_file());
    let is_library = |path: &str| path.rsplit('/').next().is_some_and(|name| name.contains(".so"));
    let libraries: Vec<_> =
        regular().filter(|(path, _, _)| is_library(path) && !path.starts_with("/etc/")).collect();
    let total: u64 = regular().map(|(_, inode, _)| inode.size).sum();
    line("libraries", libraries.len().to_string());
    for (path, inode, _) in &libraries {
        line("", format!("{path} {}", Size(inode.size)));
    }
    line("files", format!("{}, {}", regular().count(), Size(total)));
    if args.files {
        for (path, inode, target) in &files {
            let kind = if inode.is_dir() {
                'd'
            } else if inode.is_symlink() {
                'l'
            } else {
                '-'
            };
            let size = if inode.is_file() { Size(inode.size).to_string() } else { String::new() };
            let arrow = target.as_ref().map(|target| format!(" -> {target}")).unwrap_or_default();
            line("", format!("{kind}{:04o} {size:>10} {path}{arrow}", inode.mode & 0o7777));
        }
    }
    Ok(out)
}

/// What `coracle inspect --json` says of an image.
fn as_json(image: &Image) -> Result<serde_json::Value, coracle_image::Error> {
    let archive = &image.archive()?;
    let config = archive.config();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut files = Vec::new();
    walk(archive, InodeId::ROOT, &mut Vec::new(), &mut |path, inode, target| {
        files.push(serde_json::json!({
            "path": text(path),
            "mode": format!("{:04o}", inode.mode & 0o7777),
            "type": if inode.is_dir() { "directory" } else if inode.is_symlink() { "link" } else { "file" },
            "size_bytes": inode.is_file().then_some(inode.size),
            "target": target.map(text),
        }));
    })?;
    Ok(serde_json::json!({
        "size_bytes": image.len,
        "program": text(config.program()),
        "arguments": config.args().map(text).collect::<Vec<_>>(),
        "environment": config.env().map(text).collect::<Vec<_>>(),
        "directory": text(config.cwd()),
        "architecture": image.arch.name(),
        "mode": config.mode().to_string(),
        "control": config.access().to_string(),
        "user": config.user().to_string(),
        "hostname": config.hostname().map(text),
        "memory_bytes": config.memory(),
        "demand": image.on_demand,
        "health": config.health().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok()),
        "cron": config.cron_names().map(text).collect::<Vec<_>>(),
        "kernel_version": config.kernel_version(),
        "kernel_bytes": image.kernel_len,
        "loaded_bytes": image.end,
        "files": files,
    }))
}

/// Visits every file below a directory, parents first.
fn walk(
    archive: &Archive<'_>,
    id: InodeId,
    path: &mut Vec<u8>,
    visit: &mut impl FnMut(&[u8], &Inode, Option<&[u8]>),
) -> Result<(), coracle_image::Error> {
    /// Longest path that a program can name (`PATH_MAX`); ends the walk in damaged images whose directories form a ring.
    const LONGEST_PATH: usize = 4096;
    for entry in archive.entries(&archive.inode(id)?) {
        let entry = entry?;
        let length = path.len();
        path.push(b'/');
        path.extend_from_slice(entry.name);
        if path.len() > LONGEST_PATH {
            return Err(coracle_image::Error::Corrupt("directories"));
        }
        let inode = archive.inode(entry.inode)?;
        let target = if inode.is_symlink() { Some(archive.symlink(&inode)?) } else { None };
        visit(path, &inode, target);
        if inode.is_dir() {
            walk(archive, entry.inode, path, visit)?;
        }
        path.truncate(length);
    }
    Ok(())
}

/// Writes out the kernel with its symbols.
pub fn write_kernel(args: &KernelArgs) -> Result<()> {
    let elf = crate::kernel::debug_elf(args.arch)?;
    std::fs::write(&args.output, &elf).map_err(|error| cannot("write", &args.output, &error))?;
    output::line(format_args!("{}: {}", args.output.display(), Size(elf.len() as u64)))?;
    output::line("  `coracle gdb --kernel NAME` uses it for a guest that runs")
}
