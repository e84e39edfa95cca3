//! What the command says when it is given something wrong: no test here starts a guest.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Exit status when the command itself failed, or its command line was not understood.
const FAILED: i32 = 125;
/// What `coracle run` was given is there, but can't be invoked; it is not there.
const NOT_INVOKED: i32 = 126;
const NOT_FOUND: i32 = 127;

/// A directory of its own for a test, with a stand-in for QEMU that must never be started.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Place(tempfile::tempdir().unwrap());
        let qemu = place.path("qemu");
        fs::write(&qemu, "#!/bin/sh\necho a guest was started\n").unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn coracle(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
        command.current_dir(self.0.path()).args(args).env("CORACLE_QEMU", self.path("qemu"));
        command
    }

    /// An image that is in order.
    fn image(&self) -> PathBuf {
        let output = self.coracle(&["build", "/bin/true", "-o", "true.img"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        self.path("true.img")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Checks that the command fails, says all of `parts` on stderr, says nothing on stdout and colours nothing.
#[track_caller]
fn fails(output: &Output, status: i32, parts: &[&str]) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "`{part}` is not in:\n{stderr}");
    }
    assert!(
        stderr.contains("error: ") && !stderr.contains('\x1b') && !stderr.contains("panicked"),
        "{stderr}"
    );
    assert_eq!(text(&output.stdout), "");
}

/// The header of an ELF file: class, machine and type.
fn elf_header(class: u8, machine: u16, kind: u16) -> Vec<u8> {
    let mut bytes = vec![0x7f, b'E', b'L', b'F', class, 1, 1];
    bytes.resize(16, 0);
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(&machine.to_le_bytes());
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.resize(if class == 1 { 52 } else { 64 }, 0);
    bytes
}

const ET_REL: u16 = 1;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_386: u16 = 3;
const EM_ARM: u16 = 40;
const EM_X86_64: u16 = 62;
const EM_RISCV: u16 = 243;

#[test]
fn a_file_that_is_no_elf() {
    let place = Place::new();
    place.file("text", "hello\n");
    fails(&place.coracle(&["build", "./text"]), FAILED, &["text` is not a program", "is text", "help: "]);
    place.file("picture", [0x89, b'P', b'N', b'G', 0, 1, 2]);
    fails(&place.coracle(&["run", "./picture"]), NOT_INVOKED, &["is not a program", "89 50 4e 47"]);
    place.file("nothing", "");
    fails(&place.coracle(&["build", "./nothing"]), FAILED, &["is empty"]);
}

#[test]
fn what_is_no_file() {
    let place = Place::new();
    let fifo = place.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().is_ok_and(|status| status.success()));
    let fifo = fifo.display().to_string();
    for odd in ["/dev/zero", &fifo] {
        fails(&place.coracle(&["run", odd]), NOT_INVOKED, &["is not a file", "give a program or an image"]);
        fails(&place.coracle(&["inspect", odd]), FAILED, &["is not a file, and so no image"]);
    }
    let endless = place.coracle(&["build", "--env-file", "/dev/zero", "-o", "x.img", "/bin/true"]);
    fails(&endless, FAILED, &["cannot read `/dev/zero`", "does not end within 64 MiB"]);
}

#[test]
fn a_program_for_another_machine() {
    let place = Place::new();
    place.file("riscv", elf_header(2, EM_RISCV, ET_EXEC));
    fails(
        &place.coracle(&["build", "./riscv"]),
        FAILED,
        &["is a program for RISC-V", "x86-64 and for aarch64", "arm64"],
    );
    place.file("arm", elf_header(1, EM_ARM, ET_EXEC));
    fails(&place.coracle(&["run", "./arm"]), NOT_INVOKED, &["is a program for 32-bit Arm"]);
    place.file("x86", elf_header(1, EM_386, ET_EXEC));
    fails(&place.coracle(&["build", "./x86"]), FAILED, &["is a 32-bit program"]);
}

#[test]
fn elf_files_that_are_no_programs() {
    let place = Place::new();
    place.file("lib.so", elf_header(2, EM_X86_64, ET_DYN));
    fails(&place.coracle(&["build", "./lib.so"]), FAILED, &["is a shared library, not a program"]);
    place.file("x.o", elf_header(2, EM_X86_64, ET_REL));
    fails(&place.coracle(&["build", "./x.o"]), FAILED, &["is an object file", "link it first"]);
    let mut damaged = elf_header(2, EM_X86_64, ET_EXEC);
    damaged[0x20] = 0xff; // e_phoff
    damaged[0x36] = 56; // e_phentsize
    damaged[0x38] = 9; // e_phnum
    place.file("cut", damaged);
    fails(&place.coracle(&["build", "./cut"]), FAILED, &["is damaged", "readelf"]);
}

#[test]
fn a_file_that_is_not_there() {
    let place = Place::new();
    fails(&place.coracle(&["build", "/no/such/program"]), FAILED, &["/no/such/program", "does not exist"]);
    fails(&place.coracle(&["run", "no-such-program"]), NOT_FOUND, &["no-such-program", "PATH"]);
    fails(&place.coracle(&["run", "."]), NOT_INVOKED, &["is a directory"]);
    fails(
        &place.coracle(&["build", "/bin/true", "--add", "/no/such/file"]),
        FAILED,
        &["cannot add", "no such file"],
    );
    fails(&place.coracle(&["inspect", "no.img"]), FAILED, &["cannot read `no.img`", "no such file"]);
    fails(&place.coracle(&["build"]), FAILED, &["no program is given", "Coracle.toml"]);
}

/// Compiles a program; the tests that need it are not run where there is no C compiler.
fn compile(args: &[&str], directory: &Path) -> bool {
    match Command::new("cc").args(args).current_dir(directory).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", text(&output.stderr));
            true
        }
        Err(_) => {
            eprintln!("skipped: there is no C compiler");
            false
        }
    }
}

#[test]
fn a_library_that_is_missing() {
    let place = Place::new();
    place.file("lost.c", "int lost(void) { return 0; }");
    place.file("mid.c", "int lost(void); int mid(void) { return lost(); }");
    place.file("main.c", "int mid(void); int main(void) { return mid(); }");
    let dir = place.0.path();
    if !compile(&["-shared", "-fPIC", "lost.c", "-o", "liblost.so"], dir) {
        return;
    }
    compile(&["-shared", "-fPIC", "mid.c", "-o", "libmid.so", "-L.", "-llost"], dir);
    compile(
        &["main.c", "-o", "main", "-L.", "-lmid", "-Wl,-rpath,$ORIGIN", "-Wl,--allow-shlib-undefined"],
        dir,
    );
    fs::create_dir(place.path("elsewhere")).unwrap();
    fs::rename(place.path("liblost.so"), place.path("elsewhere/liblost.so")).unwrap();
    // Not found directly, nor by the RUNPATH of the program, which does not hold for libraries of libraries.
    let output = place.coracle(&["build", "./main"]);
    fails(
        &output,
        FAILED,
        &["`liblost.so` was not found", "libmid.so` needs it", "apt-file", "LD_LIBRARY_PATH"],
    );
    let path = format!("LD_LIBRARY_PATH={}", place.path("elsewhere").display());
    let output = place.coracle(&["build", "./main", "-o", "main.img", "-e", &path]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = place.coracle(&["inspect", "main.img"]);
    assert!(text(&output.stdout).contains("elsewhere/liblost.so"), "{}", text(&output.stdout));
}

#[test]
fn a_port_that_is_taken() {
    let place = Place::new();
    let image = place.image();
    let image = image.to_str().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let forward = format!("127.0.0.1:{port}:80");
    fails(
        &place.coracle(&["run", image, "-p", &forward]),
        FAILED,
        &[&format!("port {port}/tcp is taken"), "ss -tlnp"],
    );
    drop(listener);
    let twice = place.coracle(&["run", image, "-p", &forward, "-p", &forward]);
    fails(&twice, FAILED, &[&format!("port {port}/tcp is given twice")]);
    fails(
        &place.coracle(&["run", image, "-p", "192.0.2.1:8080:80"]),
        FAILED,
        &["192.0.2.1 is no address of this machine"],
    );
}

#[test]
fn ports_that_are_not_understood() {
    let place = Place::new();
    for (wrong, why) in
        [("80", "HOST:GUEST"), ("a:80", "not a port"), ("0:80", "not a port"), ("1:2/sctp", "sctp")]
    {
        fails(&place.coracle(&["run", "-p", wrong, "x"]), FAILED, &[wrong, why]);
    }
    fails(
        &place.coracle(&["run", "-p", "1:2", "--net", "none", "/bin/true"]),
        FAILED,
        &["-p works with the user network only"],
    );
}

#[test]
fn too_little_memory() {
    let place = Place::new();
    let image = place.image();
    let image = image.to_str().unwrap();
    fails(
        &place.coracle(&["run", image, "-m", "1M"]),
        FAILED,
        &["1.0 MiB is too little memory", "give at least -m "],
    );
    fails(&place.coracle(&["run", "-m", "1M", "/bin/true"]), FAILED, &["too little memory"]);
    fails(&place.coracle(&["run", image, "-m", "lots"]), FAILED, &["`lots` is not an amount"]);
}

#[test]
fn no_qemu() {
    let place = Place::new();
    let image = place.image();
    let run = |command: &mut Command| {
        command.env_remove("CORACLE_QEMU").env("PATH", place.0.path()).output().unwrap()
    };
    let output = run(&mut place.command(&["run", image.to_str().unwrap()]));
    fails(&output, FAILED, &["QEMU is not installed", "apt-get install qemu-system-x86"]);
    let output =
        place.command(&["run", image.to_str().unwrap()]).env("CORACLE_QEMU", "/no/qemu").output().unwrap();
    fails(&output, FAILED, &["/no/qemu"]);
}

#[test]
fn a_qemu_that_fails() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let image = place.image();
    let qemu = place.file("qemu", "#!/bin/sh\necho broken for a reason >&2\nexit 3\n");
    fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
    let output = place.coracle(&["run", image.to_str().unwrap(), "--net", "none"]);
    fails(
        &output,
        FAILED,
        &["without telling the program's exit status", "exit status: 3", "broken for a reason"],
    );
}

#[test]
fn settings_that_are_not_understood() {
    let place = Place::new();
    for (content, why) in [
        ("program = ", "Coracle.toml"),
        ("programme = \"x\"", "programme"),
        ("program = \"/bin/true\"\nmode = \"ring0\"", "`unikernel` or `protected`"),
        ("program = \"/bin/true\"\n[run]\nports = [\"80\"]", "HOST:GUEST"),
        ("program = \"/bin/true\"\n[run]\ncpus = 0", "1 to 64"),
    ] {
        place.file("Coracle.toml", content);
        fails(&place.coracle(&["build"]), FAILED, &["the settings in `Coracle.toml` cannot be used", why]);
    }
    fails(&place.coracle(&["build", "--config", "other.toml"]), FAILED, &["cannot read `other.toml`"]);
    for wrong in ["", "=V"] {
        fails(&place.coracle(&["build", "/bin/true", "-e", wrong]), FAILED, &["NAME=VALUE"]);
    }
    place.file("vars", "A=1\nexport B=2\n");
    let lines = ["the variables in `vars` cannot be used", "line 2 is `export B=2`"];
    fails(&place.coracle(&["build", "/bin/true", "--env-file", "vars"]), FAILED, &lines);
    fails(&place.coracle(&["build", "/bin/true", "--exclude", "[a"]), FAILED, &["`[a` is not a pattern"]);
    fails(
        &place.coracle(&["build", "/bin/true", "--mode", "ring0"]),
        FAILED,
        &["`unikernel` or `protected`"],
    );
}

#[test]
fn images_that_are_none_or_damaged() {
    let place = Place::new();
    fails(&place.coracle(&["inspect", "/bin/true"]), FAILED, &["is not a Coracle image", "coracle build"]);
    let image = place.image();
    let name = image.to_str().unwrap();
    fails(&place.coracle(&["build", name]), FAILED, &["is a Coracle image already"]);
    fails(
        &place.coracle(&["run", name, "--exclude", "x"]),
        FAILED,
        &["--exclude cannot be used with an image"],
    );
    fails(
        &place.coracle(&["run", name, "--add", "/bin/sh"]),
        FAILED,
        &["--add cannot be used with an image"],
    );
    let bytes = fs::read(&image).unwrap();
    // On a page: the kernel has the magic in it, too.
    let start = (0..bytes.len()).step_by(4096).find(|&at| bytes[at..].starts_with(b"CORACLE1")).unwrap();
    let mut damaged = bytes.clone();
    damaged[start + 40] ^= 1;
    place.file("damaged.img", damaged);
    fails(
        &place.coracle(&["run", "./damaged.img"]),
        FAILED,
        &["cannot be run", "checksum", "build it once more"],
    );
    place.file("cut.img", &bytes[..bytes.len() - 1]);
    fails(&place.coracle(&["inspect", "cut.img"]), FAILED, &["cannot be read", "cut short"]);
    let mut newer = bytes;
    newer[start + 8] = 99;
    place.file("newer.img", newer);
    fails(&place.coracle(&["inspect", "newer.img"]), FAILED, &["version 99"]);
}

#[test]
fn scripts_without_an_interpreter() {
    let place = Place::new();
    place.file("script", "#!/no/such/interpreter\n");
    fails(&place.coracle(&["build", "./script"]), FAILED, &["cannot be run", "/no/such/interpreter"]);
    place.file("relative", "#!interpreter\n");
    fails(&place.coracle(&["build", "./relative"]), FAILED, &["`interpreter`, which is not there"]);
    let own = place.path("loop");
    place.file("loop", format!("#!{}\n", own.display()));
    fails(&place.coracle(&["build", "./loop"]), FAILED, &["its interpreter is a script"]);
}

#[test]
fn networks_that_are_not_there() {
    let place = Place::new();
    let image = place.image();
    let image = image.to_str().unwrap();
    fails(
        &place.coracle(&["run", image, "--net", "tap:coracle-none"]),
        FAILED,
        &["`coracle-none` cannot be used", "ip tuntap add"],
    );
    fails(&place.coracle(&["run", image, "--net", "bridge"]), FAILED, &["`user`, `tap:NAME` or `none`"]);
    fails(&place.coracle(&["run", image, "--ip", "10.0.0.1"]), FAILED, &["192.168.1.5/24"]);
}

#[test]
fn an_image_that_cannot_be_written() {
    let place = Place::new();
    fails(
        &place.coracle(&["build", "/bin/true", "-o", "no/such/dir/x.img"]),
        FAILED,
        &["cannot write `no/such/dir/x.img`"],
    );
    fails(
        &place.coracle(&["build", "/bin/true", "--add", "/etc/hostname:relative"]),
        FAILED,
        &["not an absolute path"],
    );
}

#[test]
fn working_directories_that_cannot_be() {
    let place = Place::new();
    for (directory, why) in [
        ("/nonexistent", "there is no such directory in the image"),
        ("/etc/passwd", "no directory"),
        ("/etc/passwd/x", "there is no such directory in the image"),
        ("here", "not an absolute path"),
        ("", "not an absolute path"),
    ] {
        for command in ["build", "run"] {
            let output = place.coracle(&[command, "--cwd", directory, "/bin/true"]);
            fails(&output, FAILED, &[&format!("`{directory}` cannot be the working directory"), why]);
        }
    }
    // One that the program's user may not enter is there, and named.
    let output = place.coracle(&["build", "--cwd", "/root/..//root", "/bin/true"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("`/root` belongs to 0:0 and has mode 0700"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_log_that_cannot_be_written() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let image = place.image();
    let qemu = place.file("qemu", "#!/bin/sh\nexit 3\n");
    fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |log: &str| {
        let words = ["run", "--net", "none", "--log-file", log, image.to_str().unwrap()];
        place.coracle(&words)
    };
    let output = run("log");
    fails(&output, FAILED, &["exit status: 3"]);
    let machine = "true.img (unikernel mode) on microvm";
    assert!(!text(&output.stderr).contains(machine), "{}", text(&output.stderr));
    assert!(fs::read_to_string(place.path("log")).unwrap().contains(machine));
    // A device that is always full: full(4).
    let output = run("/dev/full");
    fails(&output, FAILED, &["warning: cannot write `/dev/full`: No space left on device", machine]);
    assert_eq!(text(&output.stderr).matches("warning").count(), 1, "{}", text(&output.stderr));
    fails(&run("no/such/directory/log"), FAILED, &["cannot write `no/such/directory/log`"]);
}

#[test]
fn guests_that_are_not_there() {
    let place = Place::new();
    let coracle =
        |args: &[&str]| place.command(args).env("XDG_RUNTIME_DIR", place.0.path()).output().unwrap();
    for command in ["stop", "logs"] {
        fails(&coracle(&[command, "nobody"]), FAILED, &["there is no guest `nobody`", "coracle ps --all"]);
    }
    fails(&coracle(&["run", "--name", "../up", "/bin/true"]), FAILED, &["letters, digits"]);
    assert_eq!(text(&coracle(&["ps"]).stdout).lines().count(), 1);
}
