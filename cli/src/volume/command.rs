//! `coracle volume`.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use coracle_ext4::{Access, FileSystem, Options};
use coracle_image::User;
use serde::Serialize;

use super::disk::FileDisk;
use super::file::{self, DEFAULT_SIZE};
use super::holder::{self, Holder};
use super::place::{self, Source};
use super::{check, transfer};
use crate::args::VolumeCommand;
use crate::error::{Error, Result, cannot};
use crate::observe::json;
use crate::output;
use crate::size::Size;

/// Bytes of a block of st_blocks (stat(2)).
const STAT_BLOCK: u64 = 512;

/// Carries out a command on volumes.
///
/// # Errors
/// What keeps it from that.
pub fn run(command: &VolumeCommand) -> Result<()> {
    match command {
        VolumeCommand::Create { name, size, user } => {
            create(name, size.unwrap_or(DEFAULT_SIZE), user.unwrap_or(User::ROOT))
        }
        VolumeCommand::Ls { json } => list(*json),
        VolumeCommand::Inspect { volume, json } => inspect(volume, *json),
        VolumeCommand::Rm { names } => names.iter().try_for_each(|name| remove(name)),
        VolumeCommand::Resize { volume, size } => {
            let (path, file) = alone(volume)?;
            transfer::resize(volume, &path, &file, *size)
        }
        VolumeCommand::Import { name, file, size } => import(name, file, *size),
        VolumeCommand::Export { volume, file } => export(volume, file),
        VolumeCommand::Check { volume } => {
            let (path, file) = alone(volume)?;
            check::check(volume, &path, &file)
        }
    }
}

/// Opens a volume that nothing else uses.
fn alone(source: &Source) -> Result<(PathBuf, File)> {
    let path = existing(source)?;
    let file = holder::open(source, &path, false)?;
    Ok((path, file))
}

/// The file of a volume that there is.
fn existing(source: &Source) -> Result<PathBuf> {
    let path = source.file()?;
    match (path.metadata(), source) {
        (Ok(_), _) => Ok(path),
        (Err(error), Source::Named(name)) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new(format!("there is no volume `{name}`"))
                .help("`coracle volume ls` lists those that there are"))
        }
        (Err(error), _) => Err(cannot("use", &path, &error)),
    }
}

fn exists(name: &str) -> Error {
    Error::new(format!("there is a volume `{name}` already"))
        .help(format!("choose another name, or remove it with `coracle volume rm {name}`"))
}

fn create(name: &str, size: Size, owner: User) -> Result<()> {
    let source = Source::Named(name.to_owned());
    if !file::create(name, size, |made| file::format(&source, made, owner))? {
        return Err(exists(name));
    }
    output::line(name)
}

/// A volume in `coracle volume ls --json`.
#[derive(Serialize)]
struct Listed {
    name: String,
    file: PathBuf,
    size_bytes: u64,
    on_disk_bytes: u64,
    used_by: Option<String>,
}

fn list(as_json: bool) -> Result<()> {
    let mut all = Vec::new();
    for name in place::names()? {
        let path = Source::Named(name.clone()).file()?;
        // It may have been removed just now.
        let Ok(meta) = path.metadata() else { continue };
        let used_by = File::open(&path).ok().and_then(|file| holder::holder(&file)).map(shown);
        let (size_bytes, on_disk_bytes) = (meta.len(), meta.blocks() * STAT_BLOCK);
        all.push(Listed { name, file: path, size_bytes, on_disk_bytes, used_by });
    }
    if as_json {
        return output::line(json(&all)?);
    }
    output::line(format_args!("{:<24} {:>12} {:>12}  USED BY", "NAME", "SIZE", "ON DISK"))?;
    for Listed { name, size_bytes, on_disk_bytes, used_by, .. } in all {
        let (size, on_disk, user) = (Size(size_bytes), Size(on_disk_bytes), used_by.unwrap_or_default());
        output::line(format_args!("{name:<24} {size:>12} {on_disk:>12}  {user}"))?;
    }
    Ok(())
}

fn shown(holder: Holder) -> String {
    match holder {
        Holder::Guest(name) => name,
        Holder::Process(pid) => format!("process {pid}"),
    }
}

fn inspect(source: &Source, as_json: bool) -> Result<()> {
    let path = existing(source)?;
    let fail = |error: std::io::Error| cannot("read", &path, &error);
    let opened = File::open(&path).map_err(fail)?;
    let meta = opened.metadata().map_err(fail)?;
    let mut lines = vec![
        ("file", path.display().to_string()),
        ("size", Size(meta.len()).to_string()),
        ("on disk", Size(meta.blocks() * STAT_BLOCK).to_string()),
    ];
    let mut figures = serde_json::Map::new();
    figures.insert("size_bytes".to_owned(), meta.len().into());
    figures.insert("on_disk_bytes".to_owned(), (meta.blocks() * STAT_BLOCK).into());
    let user = holder::holder(&opened);
    let is_used = user.is_some();
    let disk = FileDisk::new(opened, true).map_err(fail)?;
    let options = Options { read_only: true, now: file::now(), ..Options::default() };
    match FileSystem::mount(std::sync::Arc::new(disk), &options) {
        Ok(mut fs) => {
            let uuid: String = fs.uuid().iter().map(|byte| format!("{byte:02x}")).collect();
            let cuts = [0..8, 8..12, 12..16, 16..20, 20..32];
            lines.push(("uuid", cuts.map(|cut| uuid[cut].to_owned()).join("-")));
            lines.push(("label", String::from_utf8_lossy(fs.label()).into_owned()));
            let found = fs.statistics().map_err(|error| file::damaged(source, error))?;
            let bytes = |blocks: u64| Size(blocks * u64::from(found.block_bytes));
            lines.push(("free", format!("{} of {}", bytes(found.free_blocks), bytes(found.blocks))));
            for (name, value) in [
                ("free_bytes", found.free_blocks * u64::from(found.block_bytes)),
                ("capacity_bytes", found.blocks * u64::from(found.block_bytes)),
                ("free_inodes", found.free_inodes.into()),
                ("inodes", found.inodes.into()),
            ] {
                figures.insert(name.to_owned(), value.into());
            }
            lines.push(("free inodes", format!("{} of {}", found.free_inodes, found.inodes)));
            if let Access::ReadOnly(reason) = fs.access()
                && reason != "it is mounted so"
                && reason != "the disk is"
            {
                lines.push(("read only", reason.to_owned()));
            }
            lines.push(("state", "clean".to_owned()));
        }
        Err(coracle_ext4::Error::ReadOnly) if is_used => lines.push(("state", "in use".to_owned())),
        Err(coracle_ext4::Error::ReadOnly) => {
            lines.push(("state", "a guest was killed: the next one replays the journal".to_owned()));
        }
        // What is being written may look like anything.
        Err(_) if is_used => lines.push(("state", "in use".to_owned())),
        Err(error) => return Err(file::damaged(source, error)),
    }
    if let Some(user) = user {
        lines.push(("used by", shown(user)));
    }
    if as_json {
        for (name, value) in lines {
            if !["size", "on disk", "free", "free inodes"].contains(&name) {
                figures.insert(name.replace(' ', "_"), value.into());
            }
        }
        return output::line(json(&figures)?);
    }
    lines.into_iter().try_for_each(|(name, value)| output::line(format_args!("{name:<12} {value}")))
}

fn remove(name: &str) -> Result<()> {
    let source = Source::Named(name.to_owned());
    let (path, _file) = alone(&source)?;
    fs::remove_file(&path).map_err(|error| cannot("remove", &path, &error))?;
    output::line(name)
}

fn import(name: &str, from: &Path, size: Option<Size>) -> Result<()> {
    let source = Source::File(from.to_owned());
    let file = holder::open(&source, from, true)?;
    let fail = |error: std::io::Error| cannot("read", from, &error);
    let disk = FileDisk::new(file.try_clone().map_err(fail)?, true).map_err(fail)?;
    if !coracle_ext4::probe(&disk).map_err(|error| file::damaged(&source, error))? {
        return Err(file::damaged(&source, coracle_ext4::Error::NotExt4));
    }
    let bytes = Size(file.metadata().map_err(fail)?.len());
    let new = Source::Named(name.to_owned()).file()?;
    if !file::create(name, bytes, |made| transfer::copy((&file, from), (made, &new)))? {
        return Err(exists(name));
    }
    if let Some(size) = size {
        let named = Source::Named(name.to_owned());
        let (path, file) = alone(&named)?;
        transfer::resize(&named, &path, &file, size)?;
    }
    output::line(name)
}

fn export(source: &Source, to: &Path) -> Result<()> {
    let (path, file) = alone(source)?;
    let read = |error: std::io::Error| cannot("read", &path, &error);
    let write = |error: std::io::Error| cannot("write", to, &error);
    // The copy has nothing left in its journal.
    let mut fs = file::mount(source, file.try_clone().map_err(read)?, false)?;
    fs.unmount().map_err(|error| file::damaged(source, error))?;
    let copy = File::options().write(true).create_new(true).mode(0o600).open(to).map_err(write)?;
    copy.set_len(file.metadata().map_err(read)?.len()).map_err(write)?;
    transfer::copy((&file, &path), (&copy, to))?;
    copy.sync_all().map_err(write)
}
