//! Directories of the host that a guest shares.

use std::path::PathBuf;

use coracle_image::cmdline::{Share, Tmpfs};

use super::attach::Attached;
use super::place::Source;
use super::spec::{Spec, path_bytes};
use crate::error::{Error, Result, cannot};

/// A directory of the host that a guest is to have.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The directory on the host.
    pub directory: PathBuf,
    /// Nothing may be changed.
    pub read_only: bool,
    /// The program virtiofsd serves it, and not QEMU by 9P.
    pub by_virtiofs: bool,
    /// What the kernel mounts.
    pub share: Share,
}

/// Takes the directories of the host out of what `-v` was given; the rest are volumes.
///
/// # Errors
/// If one can't be read, or has an option that its kind does not take.
pub fn split(specs: Vec<Spec>) -> Result<(Vec<Spec>, Vec<Shared>)> {
    let is_directory = |spec: &Spec| matches!(&spec.source, Source::File(path) if path.is_dir());
    let (mut directories, volumes): (Vec<Spec>, Vec<Spec>) = specs.into_iter().partition(is_directory);
    if let Some(Spec { source, .. }) = volumes.iter().find(|spec| spec.cache.is_some() || spec.by_virtiofs) {
        return Err(Error::new(format!("`{source}` is no directory of the host"))
            .why("`cache=` says how long a guest believes what it knows of one, and `virtiofs` how it is shared")
            .help("leave them out, or give a directory: -v ./directory:/path:cache=none"));
    }
    // What lies in another comes after it.
    directories.sort_by(|a, b| a.path.cmp(&b.path));
    let mut shared = Vec::new();
    for (index, spec) in directories.iter().enumerate() {
        let given = spec.source.file()?;
        std::fs::read_dir(&given).map_err(|error| cannot("read", &given, &error))?;
        let directory = given.canonicalize().map_err(|error| cannot("read", &given, &error))?;
        let cache = spec.cache.as_ref().map(|cache| format!("cache={cache}"));
        let options: Vec<String> = ["nodev".to_owned()]
            .into_iter()
            .chain(spec.read_only.then(|| "ro".to_owned()))
            .chain(cache)
            .collect();
        let share = Share {
            tag: format!("share{index}").into_bytes(),
            path: path_bytes(&spec.path),
            options: options.join(",").into_bytes(),
        };
        let (read_only, by_virtiofs) = (spec.read_only, spec.by_virtiofs);
        shared.push(Shared { directory, read_only, by_virtiofs, share });
    }
    Ok((volumes, shared))
}

/// Looks for two things at one path of the guest.
///
/// # Errors
/// If there are.
pub fn check_places(shares: &[Shared], volumes: &[Attached], in_memory: &[Tmpfs]) -> Result<()> {
    let paths = shares.iter().map(|shared| &shared.share.path);
    let mut others: Vec<&Vec<u8>> = volumes.iter().map(|attached| &attached.volume.path).collect();
    others.extend(in_memory.iter().map(|tmpfs| &tmpfs.path));
    for path in paths {
        if others.contains(&path) {
            let path = String::from_utf8_lossy(path);
            return Err(Error::new(format!("two things are to be at {path}"))
                .help("give each a directory of its own"));
        }
        others.push(path);
    }
    Ok(())
}
