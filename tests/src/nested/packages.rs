//! What the first level is made of: Debian's kernel with KVM, QEMU and its libraries, busybox.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::output;
use crate::paths;

/// The metapackage of Debian's kernel. The flavour for clouds has no KVM.
const METAPACKAGE: &str = "linux-image-amd64";
/// What the kernel's package is called.
const PACKAGE: &str = "linux-image-";

/// A kernel that was unpacked.
pub struct Kernel {
    /// The file to boot.
    pub image: PathBuf,
    /// The folder of its modules.
    pub modules: PathBuf,
}

/// Debian's kernel, from the cache or downloaded into it.
///
/// # Errors
/// If there is neither one in the cache nor a way to get it.
pub fn kernel() -> Result<Kernel, String> {
    let root = paths::work().join("kvm/kernel");
    if let Some(kernel) = find(&root) {
        return Ok(kernel);
    }
    let depends = output(Command::new("apt-cache").args(["depends", METAPACKAGE]))?;
    let package = depends
        .split_whitespace()
        .find(|word| word.starts_with(PACKAGE) && *word != METAPACKAGE)
        .ok_or_else(|| format!("apt knows no {METAPACKAGE}: run apt-get update"))?;
    let folder = root.with_extension("download");
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    eprintln!("downloading {package}");
    output(Command::new("apt-get").args(["-q", "download", package]).current_dir(&folder))?;
    let archive = fs::read_dir(&folder)
        .map_err(|e| e.to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|e| e == "deb"))
        .ok_or("apt-get downloaded nothing")?;
    // Under another name first: a run that is cut short leaves no half of a kernel.
    let new = root.with_extension("new");
    let _ = fs::remove_dir_all(&new);
    output(Command::new("dpkg").arg("-x").arg(&archive).arg(&new))?;
    let _ = fs::remove_dir_all(&root);
    fs::rename(&new, &root).map_err(|e| e.to_string())?;
    let _ = fs::remove_dir_all(&folder);
    find(&root).ok_or_else(|| format!("{} holds no kernel", archive.display()))
}

fn find(root: &Path) -> Option<Kernel> {
    let images = fs::read_dir(root.join("boot")).ok()?;
    let image = images
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"vmlinuz-")))?;
    let version = image.file_name()?.to_str()?.strip_prefix("vmlinuz-")?.to_owned();
    let modules = root.join("lib/modules").join(version);
    modules.is_dir().then_some(Kernel { image, modules })
}

/// A module of the kernel, anywhere below its folder.
///
/// # Errors
/// If it has none of that name.
pub fn module(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).map_err(|e| format!("{}: {e}", next.display()))? {
            let entry = entry.map_err(|e| e.to_string())?;
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if path.file_name().is_some_and(|found| found == format!("{name}.ko").as_str()) {
                return Ok(path);
            }
        }
    }
    Err(format!("the kernel has no module {name}"))
}

/// The shared libraries of a program, its loader among them.
///
/// # Errors
/// If `ldd` can't say.
pub fn libraries(program: &Path) -> Result<Vec<PathBuf>, String> {
    let text = output(Command::new("ldd").arg(program))?;
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}
