//! What gets into an image, and the QEMU command that runs it: no test here starts a guest.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    #[track_caller]
    fn coracle(&self, args: &[&str]) -> String {
        let output: Output = Command::new(env!("CARGO_BIN_EXE_coracle"))
            .current_dir(self.0.path())
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn directories_are_added_with_their_links() {
    let place = Place::new();
    place.file("site/index.html", "hello");
    place.file("site/deep/er/page", "page");
    std::os::unix::fs::symlink("index.html", place.0.path().join("site/link")).unwrap();
    // A link that leads out of the directory brings its file along.
    let outside = place.file("outside", "outside");
    std::os::unix::fs::symlink(&outside, place.0.path().join("site/out")).unwrap();
    place.coracle(&[
        "build",
        "/bin/true",
        "-o",
        "t.img",
        "--add",
        "site:/srv/www",
        "--add",
        "site/index.html:/lib/x",
    ]);
    let files = place.coracle(&["inspect", "--files", "t.img"]);
    for part in ["/srv/www/deep/er/page", "/srv/www/link -> index.html", "/etc/passwd", "/proc", "1777"] {
        assert!(files.contains(part), "{part} is not in:\n{files}");
    }
    assert_eq!(place.coracle(&["inspect", "--cat", "/srv/www/index.html", "t.img"]), "hello");
    assert_eq!(place.coracle(&["inspect", "--cat", outside.to_str().unwrap(), "t.img"]), "outside");
    // A path below a link of the image's root lands where the link leads.
    let merged = fs::read_link("/lib").is_ok();
    assert_eq!(files.contains(" /usr/lib/x\n"), merged, "{files}");
}

#[test]
fn a_file_of_the_user_comes_before_one_of_ours() {
    let place = Place::new();
    place.file("passwd", "me:x:1:1::/:\n");
    place.coracle(&["build", "/bin/true", "-o", "t.img", "--add", "passwd:/etc/passwd"]);
    assert_eq!(place.coracle(&["inspect", "--cat", "/etc/passwd", "t.img"]), "me:x:1:1::/:\n");
}

/// glibc loads its unwinder by itself when a thread is cancelled: no ELF file names it.
#[test]
fn the_unwinder_of_glibc_is_there() {
    const UNWINDER: &str = "/lib/x86_64-linux-gnu/libgcc_s.so.1";
    let place = Place::new();
    place.coracle(&["build", "/bin/true", "-o", "t.img"]);
    let shown = place.coracle(&["inspect", "t.img"]);
    assert!(shown.contains("libc.so.6"), "{shown}");
    assert_eq!(shown.contains(UNWINDER), fs::metadata(UNWINDER).is_ok(), "{shown}");
}

#[test]
fn settings_of_a_project() {
    let place = Place::new();
    place.file("sub/data/x", "x");
    place.file(
        "sub/Coracle.toml",
        "program = \"/bin/true\"\nargs = [\"one\", \"two words\"]\nadd = [\"data:/data\"]\nmode = \"protected\"\n\
         user = \"root\"\nhostname = \"boat\"\noutput = \"out.img\"\ncwd = \"/data\"\n[env]\nA = \"1\"\n\
         [run]\nports = [\"8080:80\", \"5353:53/udp\"]\nmemory = \"48M\"\ncpus = 2\n",
    );
    place.coracle(&["build", "--config", "sub/Coracle.toml", "-e", "B=2"]);
    let shown = place.coracle(&["inspect", "-f", "sub/out.img"]);
    for part in [
        "/bin/true one 'two words'",
        "A=1",
        "B=2",
        "protected",
        "boat",
        "/data/x",
        "48.0 MiB",
        "user       0:0",
        "HOME=/root",
        "directory  /data",
    ] {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
    let command = place.coracle(&["run", "--config", "sub/Coracle.toml", "--dry-run", "--", "three"]);
    for part in ["-m 48M", "-smp 2", "tcp:0.0.0.0:8080-10.0.2.15:80", "udp:0.0.0.0:5353-10.0.2.15:53"] {
        assert!(command.contains(part), "{part} is not in:\n{command}");
    }
}

#[test]
fn scripts_bring_their_interpreter() {
    let place = Place::new();
    let script = place.file("hello.sh", "#!/usr/bin/env -S sh -e\necho hello\n");
    place.coracle(&["build", script.to_str().unwrap(), "-o", "s.img", "--", "x"]);
    let shown = place.coracle(&["inspect", "s.img"]);
    let line = shown.lines().find(|line| line.contains("arguments")).unwrap();
    assert!(line.ends_with(&format!("sh -e {} x", script.display())), "{shown}");
    let command = place.coracle(&["run", "s.img", "--dry-run", "--", "y"]);
    assert!(command.contains(&format!("arg=-e arg={} arg=y", script.display())), "{command}");
    assert!(place.coracle(&["inspect", "--cat", script.to_str().unwrap(), "s.img"]).contains("echo hello"));
}

#[test]
fn the_qemu_command() {
    let place = Place::new();
    place.coracle(&["build", "/bin/true", "-o", "t.img"]);
    let command = place.coracle(&[
        "run",
        "t.img",
        "--dry-run",
        "-p",
        "127.0.0.1:8080:80",
        "-m",
        "100M",
        "--accel",
        "tcg",
        "-e",
        "A=it's b",
        "--mode",
        "protected",
        "--user",
        "7:8",
        "--",
        "-x",
        "two words",
        "",
    ]);
    assert_eq!(command.lines().count(), 1);
    for part in [
        "-machine microvm,",
        "-accel tcg -cpu max -smp 1 -m 100M",
        "hostfwd=tcp:127.0.0.1:8080-10.0.2.15:80",
        "ip=10.0.2.15/24 gw=10.0.2.2 dns=10.0.2.3",
        "env=A=it%27s%20b",
        "arg=-x arg=two%20words arg= mode=protected user=7:8",
    ] {
        assert!(command.contains(part), "{part} is not in:\n{command}");
    }
    let command =
        place.coracle(&["run", "t.img", "--dry-run", "--machine", "q35", "--net", "none", "--accel", "tcg"]);
    assert!(command.contains("virtio-rng-pci,disable-legacy=on") && command.contains("ip=none"), "{command}");
    assert!(!command.contains("virtio-net"), "{command}");
    let command = place.coracle(&["run", "t.img", "--dry-run", "--ip", "10.9.0.7/16", "-p", "1:2"]);
    assert!(command.contains("net=10.9.0.0/16") && command.contains("-10.9.0.7:2"), "{command}");
    assert!(command.contains("ip=10.9.0.7/16 gw=10.9.0.2 dns=10.9.0.3"), "{command}");
}

#[test]
fn the_same_image_twice() {
    let place = Place::new();
    place.coracle(&["build", "/bin/true", "-o", "a.img"]);
    place.coracle(&["build", "/bin/true", "-o", "b.img"]);
    assert_eq!(
        fs::read(place.0.path().join("a.img")).unwrap(),
        fs::read(place.0.path().join("b.img")).unwrap()
    );
}

/// The permission bits of a file.
fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_image_is_as_readable_as_its_files() {
    let place = Place::new();
    let secret = place.file("secret", "only for me");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let build = |umask: &str, more: &[&str]| {
        let script = format!("umask {umask}; exec \"$0\" build /bin/true -o t.img \"$@\"");
        let mut shell = Command::new("sh");
        shell.current_dir(place.0.path()).arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_coracle")).args(more);
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report = String::from_utf8(output.stdout).unwrap();
        (mode(&place.0.path().join("t.img")), report.contains("only its owner may read it"))
    };
    assert_eq!(build("022", &[]), (0o644, false));
    assert_eq!(build("027", &[]), (0o640, false));
    assert_eq!(build("022", &["--add", "secret"]), (0o600, true));
}

#[test]
fn an_image_on_stdout() {
    let place = Place::new();
    place.coracle(&["build", "/bin/true", "-o", "t.img"]);
    let output = Command::new(env!("CARGO_BIN_EXE_coracle"))
        .current_dir(place.0.path())
        .args(["build", "/bin/true", "-o", "-"])
        .output()
        .unwrap();
    assert_eq!(output.stdout, fs::read(place.0.path().join("t.img")).unwrap());
    assert!(String::from_utf8_lossy(&output.stderr).contains("program    /bin/true"));
    assert!(!place.0.path().join("-").exists());
}

#[test]
fn a_reader_that_has_gone_away() {
    let place = Place::new();
    place.coracle(&["build", "/bin/true", "-o", "t.img"]);
    let runtime = place.0.path().join("runtime");
    fs::create_dir(&runtime).unwrap();
    for words in [
        &["build", "/bin/true", "-o", "u.img"][..],
        &["build", "/bin/true", "-o", "-"],
        &["inspect", "t.img", "--files"],
        &["inspect", "t.img", "--cat", "/etc/passwd"],
        &["run", "t.img", "--dry-run"],
        &["ps", "--all"],
        &["kernel"],
        &["--help"],
        &["run", "--help"],
        &["--version"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_coracle"))
            .current_dir(place.0.path())
            .env("XDG_RUNTIME_DIR", &runtime)
            .args(words)
            .stdout(writer)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !stderr.contains("panicked"), "{words:?}: {stderr}");
    }
    assert!(place.0.path().join("u.img").exists());
    assert_eq!(mode(&runtime.join("coracle")), 0o700);
}

#[test]
fn qemu_is_confined_and_gdb_private() {
    let place = Place::new();
    place.coracle(&["build", "/bin/true", "-o", "t.img"]);
    let command = place.coracle(&["run", "t.img", "--gdb", "--dry-run"]);
    assert!(command.contains("-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny"), "{command}");
    let socket = command.split("socket,id=gdb,path=").nth(1).unwrap().split(',').next().unwrap();
    assert_eq!(mode(Path::new(socket).parent().unwrap()), 0o700);
    assert!(!command.contains("tcp::1234") && !command.contains(" -s "), "{command}");
}
