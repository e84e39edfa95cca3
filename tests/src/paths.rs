//! Where things are: the repository, the folders tests write to, the files given to programs, and the `coracle` command.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

/// The size of the generated file `pages.bin`: a few pages and a part of one.
const PAGES_LENGTH: usize = 5 * 4096 + 123;

/// The top of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository")
}

/// The sources of the test programs.
pub fn programs() -> PathBuf {
    repository().join("tests/programs")
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// The folder in which tests build programs and keep their scratch files.
pub fn work() -> PathBuf {
    target().join("coracle-tests")
}

/// The folder of files that test programs may ask for (`data: yes`), with the generated ones in it.
pub fn data() -> &'static Path {
    static DATA: OnceLock<PathBuf> = OnceLock::new();
    DATA.get_or_init(|| {
        // Of this runner's own: others may run beside it.
        let runner = env::current_exe().ok();
        let runner = runner.as_deref().and_then(Path::file_stem).unwrap_or_default();
        let to = work().join("data").join(runner);
        let _ = fs::remove_dir_all(&to);
        copy_tree(&programs().join("data"), &to);
        fs::write(to.join("pages.bin"), pattern(PAGES_LENGTH)).expect("pages.bin can be written");
        make_certificate(&to);
        to
    })
}

/// The deterministic bytes that `pattern` of `t.h` gives.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + (i >> 8) * 7 + (i >> 16)) as u8).collect()
}

/// A self-signed certificate for `localhost`, for the programs that speak TLS.
fn make_certificate(to: &Path) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "30",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout"])
        .arg(to.join("tls.key"))
        .arg("-out")
        .arg(to.join("tls.crt"))
        .output();
    assert!(made.is_ok_and(|m| m.status.success()), "openssl can't make a certificate; is it installed?");
}

/// Copies a folder with its files, folders and symbolic links.
///
/// # Panics
/// If it can't be read or written.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder can be read") {
        let entry = entry.expect("a folder can be read");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().expect("a file has a type");
        if kind.is_dir() {
            copy_tree(&source, &target);
        } else if kind.is_symlink() {
            let link = fs::read_link(&source).expect("a link can be read");
            std::os::unix::fs::symlink(link, target).expect("a link can be made");
        } else {
            fs::copy(&source, &target).expect("a file can be copied");
        }
    }
}

/// The `coracle` command: that of `CORACLE`, or the release build, which is made first.
///
/// # Panics
/// If it can't be built.
pub fn coracle() -> &'static Path {
    static COMMAND: OnceLock<PathBuf> = OnceLock::new();
    COMMAND.get_or_init(|| {
        if let Some(command) = env::var_os("CORACLE") {
            return command.into();
        }
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--release", "-p", "coracle"])
            .current_dir(repository())
            .status()
            .expect("cargo starts");
        assert!(built.success(), "the coracle command does not build");
        target().join("release/coracle")
    })
}

/// Whether a path names something in a tree that is the root of a guest.
pub fn is_in(root: &Path, path: &Path) -> bool {
    fs::symlink_metadata(root.join(path.strip_prefix("/").unwrap_or(path))).is_ok()
}

/// Whether only the Linux side is to run (`CORACLE_TEST_LINUX_ONLY`): for work on the test programs themselves.
pub fn linux_only() -> bool {
    env::var_os("CORACLE_TEST_LINUX_ONLY").is_some()
}

/// A program that serves a device of the guest: one that `scripts/deps.sh vhost` installed, or of PATH.
pub fn device_server(name: &str) -> Option<PathBuf> {
    let own = target().join("vhost/bin").join(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name));
    [own].into_iter().chain(found).find(|file| file.is_file())
}
