//! What `--tmpfs` takes: a directory of the guest that is kept in memory, and options as docker has them.

use std::path::{Component, Path, PathBuf};

use coracle_image::cmdline::Tmpfs;

use super::attach::Attached;
use super::spec::path_bytes;
use crate::error::{Error, Result};

/// A directory of the guest in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec(pub Tmpfs);

/// Flags that hold where nothing else is said, as for docker.
const DEFAULTS: [&str; 3] = ["nosuid", "nodev", "noexec"];
/// Other flags that may be set.
const OTHERS: [&str; 3] = ["ro", "noatime", "nodiratime"];
/// The opposites of flags, which take them away.
const OPPOSITES: [(&str, &str); 5] =
    [("suid", "nosuid"), ("dev", "nodev"), ("exec", "noexec"), ("rw", "ro"), ("atime", "noatime")];

impl std::str::FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        const FORM: &str = "it is written /path or /path:size=64m,mode=1777,…";
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        let parts = Path::new(path).components();
        let clean: PathBuf = parts.clone().collect();
        let is_right = |part| matches!(part, Component::RootDir | Component::Normal(_));
        if !path.starts_with('/') || !parts.clone().all(is_right) || parts.count() < 2 {
            return Err(format!(
                "the guest's path begins with a slash, is not the root and has no `..`; {FORM}"
            ));
        }
        let mut chosen: Vec<String> = DEFAULTS.map(str::to_owned).to_vec();
        for option in options.split(',').filter(|option| !option.is_empty()) {
            if let Some((_, flag)) = OPPOSITES.iter().find(|(opposite, _)| *opposite == option) {
                chosen.retain(|other| other != flag);
            } else if DEFAULTS.contains(&option) || OTHERS.contains(&option) {
                chosen.push(option.to_owned());
            } else {
                setting(option).ok_or_else(|| format!("`{option}` is no option of it; {FORM}"))?;
                chosen.push(option.to_owned());
            }
        }
        chosen.sort();
        chosen.dedup();
        let path = path_bytes(clean.as_os_str());
        Ok(Spec(Tmpfs { path, options: chosen.join(",").into_bytes() }))
    }
}

/// Whether it is a setting with a value that the kernel takes (tmpfs(5)).
fn setting(option: &str) -> Option<()> {
    let (name, value) = option.split_once('=')?;
    match name {
        "mode" => u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777).map(drop),
        "uid" | "gid" => value.parse::<u32>().ok().map(drop),
        "size" | "nr_blocks" => {
            let digits = value.trim_end_matches(|c: char| "kKmMgG%".contains(c));
            let is_one_unit = value.len() - digits.len() <= 1;
            digits.parse::<u32>().ok().filter(|_| is_one_unit).map(drop)
        }
        _ => None,
    }
}

/// What the kernel is to mount: in the order of paths, so that what lies in another comes after it.
///
/// # Errors
/// If two are for one directory, or a volume is there.
pub fn in_order(specs: &[Spec], volumes: &[Attached]) -> Result<Vec<Tmpfs>> {
    let mut all: Vec<Tmpfs> = specs.iter().map(|spec| spec.0.clone()).collect();
    all.sort_by(|a, b| a.path.cmp(&b.path));
    let is_twice = |(index, tmpfs): &(usize, &Tmpfs)| {
        let is_volume = volumes.iter().any(|attached| attached.volume.path == tmpfs.path);
        is_volume || all.get(index + 1).is_some_and(|next| next.path == tmpfs.path)
    };
    match all.iter().enumerate().find(is_twice) {
        Some((_, tmpfs)) => {
            let path = String::from_utf8_lossy(&tmpfs.path);
            Err(Error::new(format!("{path} is to be in memory, and to be something else as well"))
                .help("give each a directory of its own"))
        }
        None => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_write_them() {
        let read = |text: &str| {
            text.parse::<Spec>().map(|spec| {
                (String::from_utf8(spec.0.path).unwrap(), String::from_utf8(spec.0.options).unwrap())
            })
        };
        assert_eq!(read("/run//x/").unwrap(), ("/run/x".to_owned(), "nodev,noexec,nosuid".to_owned()));
        assert_eq!(read("/t:exec,size=64m,mode=700").unwrap().1, "mode=700,nodev,nosuid,size=64m");
        assert_eq!(
            read("/t:ro,nr_blocks=5,uid=3,size=50%").unwrap().1,
            "nodev,noexec,nosuid,nr_blocks=5,ro,size=50%,uid=3"
        );
        for wrong in
            ["t", "/", "/a/../b", "/t:size", "/t:size=x", "/t:size=1mk", "/t:mode=9", "/t:other=1", ""]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let two = ["/t".parse().unwrap(), "/a".parse().unwrap(), "/t:ro".parse().unwrap()];
        assert!(in_order(&two, &[]).is_err());
        assert_eq!(in_order(&two[..2], &[]).unwrap()[0].path, b"/a");
    }
}
