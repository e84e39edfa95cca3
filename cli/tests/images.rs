//! What gets into an image, and the QEMU command that runs it: no test here starts a guest.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
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
        self.coracle_with(args, &[]).0
    }

    /// What it prints on stdout and on stderr, with these environment variables.
    #[track_caller]
    fn coracle_with(&self, args: &[&str], env: &[(&str, &str)]) -> (String, String) {
        let output: Output = Command::new(env!("CARGO_BIN_EXE_coracle"))
            .current_dir(self.0.path())
            .args(args)
            .envs(env.iter().copied())
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        (String::from_utf8(output.stdout).unwrap(), stderr)
    }

    /// A shared library, built of C source text. `more`: arguments of the compiler.
    #[track_caller]
    fn library(&self, name: &str, source: &str, more: &[&str]) -> PathBuf {
        let path = self.0.path().join(name);
        self.compile(&path, source, &[&["-shared", "-fPIC"], more].concat());
        path
    }

    #[track_caller]
    fn compile(&self, to: &Path, source: &str, more: &[&str]) {
        let c = self.file("source.c", source);
        let status = Command::new("cc").arg("-o").arg(to).arg(c).args(more).status().unwrap();
        assert!(status.success());
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
fn qemu_is_confined() {
    let place = Place::new();
    place.coracle(&["build", "/bin/true", "-o", "t.img"]);
    let command = place.coracle(&["run", "t.img", "--gdb", "--dry-run"]);
    assert!(command.contains("-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny"), "{command}");
    // The program waits, for a debugger that the guest's own kernel serves; QEMU listens nowhere.
    assert!(command.contains("access=full") && command.contains("debug=wait"), "{command}");
    assert!(
        !command.contains("-gdb") && !command.contains("tcp::1234") && !command.contains(" -s "),
        "{command}"
    );
}

#[test]
fn options_end_at_the_program() {
    let place = Place::new();
    let arguments = |line: &str| {
        let command = place.coracle(&line.split_whitespace().collect::<Vec<_>>());
        let words =
            command.split("arg=").skip(1).map(|word| word.split([' ', '\'']).next().unwrap().to_owned());
        (words.collect::<Vec<_>>(), command.contains("-smp 3"))
    };
    place.coracle(&["build", "/bin/echo", "-o", "t.img", "--", "built", "in"]);
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    // An image may be followed by options, and arguments follow a `--`.
    assert_eq!(arguments("run --dry-run t.img --cpus 3"), (words(""), true));
    assert_eq!(arguments("run --dry-run t.img --cpus 3 -- -v --cpus 2"), (words("-v --cpus 2"), true));
    assert_eq!(arguments("run --dry-run --cpus 3 t.img word -v"), (words("word -v"), true));
    // What follows a program is the program's: it is in the image.
    let (_, notes) = place.coracle_with(&["run", "--dry-run", "/bin/echo", "--cpus", "3"], &[]);
    assert!(notes.contains("`--cpus` follows the program and is given to it"), "{notes}");
}

#[test]
fn variables_of_the_host_and_of_a_file() {
    let place = Place::new();
    place.file("vars", "# a comment\nFROM_FILE=two words\nFROM_HOST_BY_FILE\nBOTH=file\n");
    let words = [
        "build",
        "/bin/true",
        "-o",
        "t.img",
        "--env-file",
        "vars",
        "-e",
        "FROM_HOST",
        "-e",
        "NOT_SET",
        "-e",
        "BOTH=word",
    ];
    let (_, notes) = place.coracle_with(&words, &[("FROM_HOST", "a=b"), ("FROM_HOST_BY_FILE", "c")]);
    assert!(notes.contains("`NOT_SET` is not set here"), "{notes}");
    let shown = place.coracle(&["inspect", "t.img"]);
    for part in ["FROM_FILE=two words", "FROM_HOST=a=b", "FROM_HOST_BY_FILE=c", "BOTH=word"] {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
    assert!(!shown.contains("NOT_SET"), "{shown}");
}

#[test]
fn the_current_directory_if_it_was_added() {
    let place = Place::new();
    place.file("app.py", "print()");
    place.file("sub/other.py", "print()");
    let here = place.0.path().canonicalize().unwrap();
    let directory = |more: &[&str]| {
        place.coracle(&[&["build", "/bin/true", "-o", "t.img"], more].concat());
        let shown = place.coracle(&["inspect", "t.img"]);
        let line = shown.lines().find(|line| line.trim().starts_with("directory")).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(directory(&[]), "/");
    assert_eq!(directory(&["--add", "app.py:/app.py"]), "/");
    assert_eq!(directory(&["--add", "app.py"]), here.to_str().unwrap());
    assert_eq!(directory(&["--add", "sub"]), here.to_str().unwrap());
    assert_eq!(directory(&["--add", "app.py", "--cwd", "/var/tmp"]), "/var/tmp");
    assert_eq!(directory(&["--add", "app.py:/opt/app.py", "--cwd", "/opt"]), "/opt");
    fs::copy("/bin/true", place.0.path().join("mine")).unwrap();
    place.coracle(&["build", "./mine", "-o", "t.img"]);
    assert!(place.coracle(&["inspect", "t.img"]).contains(&format!("directory  {}", here.display())));
}

/// Names of files, arguments and variables are bytes: in no encoding, or in another than UTF-8.
#[test]
fn bytes_that_are_no_text() {
    let place = Place::new();
    let odd = OsStr::from_bytes(b"caf\xe9,1");
    let folder = place.0.path().canonicalize().unwrap().join(odd);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("lib.c"), "int one(void) { return 1; }").unwrap();
    fs::write(folder.join("app.c"), "int one(void); int main(void) { return one() - 1; }").unwrap();
    let compile = |words: &[&str]| {
        let status = Command::new("cc").current_dir(&folder).args(words).status().unwrap();
        assert!(status.success(), "{words:?}");
    };
    compile(&["-shared", "-fPIC", "-o", "libone.so", "lib.c"]);
    compile(&["-o", "app", "app.c", "-L.", "-lone", "-Wl,-rpath,$ORIGIN"]);
    let script = [b"#!", folder.as_os_str().as_bytes(), b"/app opt\xefon\n"].concat();
    fs::write(folder.join("script"), script).unwrap();
    fs::write(folder.join("vars"), b"FILE=\xfc\n").unwrap();
    let coracle = |words: &[&[u8]]| {
        let words = words.iter().map(|word| OsStr::from_bytes(word));
        let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
        let output =
            command.current_dir(&folder).args(words).env("HOST", OsStr::from_bytes(b"\xfd")).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let here = folder.as_os_str().as_bytes();
    let words: [&[u8]; 19] = [
        b"build",
        b"./script",
        b"-o",
        b"\xff.img",
        b"-e",
        b"WORD=\xfe",
        b"-e",
        b"HOST",
        b"--env-file",
        b"vars",
        b"--add",
        b"app.c:/srv/\xe4/app.c",
        b"--add",
        b".",
        b"--exclude",
        b"*\xe9,1/lib.?",
        b"--cwd",
        b"/srv/\xe4",
        b"--",
    ];
    coracle(&[&words[..], &[b"\xf0"]].concat());
    let bytes = fs::read(folder.join(OsStr::from_bytes(b"\xff.img"))).unwrap();
    let start = bytes.windows(8).rposition(|window| window == coracle_image::MAGIC).unwrap();
    let archive = coracle_image::archive::Archive::parse(&bytes[start..]).unwrap();
    let config = archive.config();
    let path = |name: &str| [here, b"/", name.as_bytes()].concat();
    assert_eq!(config.program(), path("app"));
    let expected = [path("app"), b"opt\xefon".to_vec(), path("script"), b"\xf0".to_vec()];
    assert_eq!(config.args().collect::<Vec<_>>(), expected);
    let variables: Vec<&[u8]> = config.env().collect();
    for variable in [&b"WORD=\xfe"[..], b"HOST=\xfd", b"FILE=\xfc"] {
        assert!(variables.contains(&variable), "{variables:?}");
    }
    assert_eq!(config.cwd(), b"/srv/\xe4");
    for name in ["libone.so", "script", "vars"] {
        assert!(archive.find(&path(name)).unwrap().is_some(), "{name}");
    }
    assert!(archive.find(b"/srv/\xe4/app.c").unwrap().is_some());
    let shown = String::from_utf8(coracle(&[b"inspect", b"\xff.img"])).unwrap();
    assert!(shown.contains(r"$'opt\357on'") && shown.contains("/libone.so"), "{shown}");
    assert!(coracle(&[b"inspect", b"--cat", b"/srv/\xe4/app.c", b"\xff.img"]).starts_with(b"int one"));
    let command = coracle(&[b"run", b"--dry-run", b"\xff.img", b"--", b"\xf1"]);
    let command = String::from_utf8(command).unwrap();
    assert!(command.contains(r"caf\351,1/\377.img'") && command.contains("arg=%F1"), "{command}");
}

/// An interpreter of a version that there is not, so that it has no library on the machine of the test.
#[test]
fn python_brings_its_library() {
    let place = Place::new();
    for name in ["lib/python9.87/os.py", "lib/python9.87/json/tool.py", "lib/python9.8/os.py"] {
        place.file(name, "pass");
    }
    place.file("bin/app.py", "import json");
    let path = |name: &str| place.0.path().canonicalize().unwrap().join(name);
    let start = "int Py_Initialize(void) { return 0; }\n";
    let main = "int main(void) { return Py_Initialize(); }\n";
    place.library("lib/libpython9.87.so", start, &[]);
    // The interpreter itself, a program that has one in a library, and one that has none.
    place.compile(&path("bin/python9.87"), &format!("{start}{main}"), &["-rdynamic"]);
    let library = [
        path("lib/libpython9.87.so").to_str().unwrap().to_owned(),
        "-Wno-implicit-function-declaration".into(),
    ];
    place.compile(&path("bin/embeds"), main, &library.each_ref().map(String::as_str));
    fs::copy("/bin/true", path("bin/python9.8")).unwrap();
    let files = |words: &[&str]| {
        place.coracle(&[&["build", "-o", "t.img"], words].concat());
        place.coracle(&["inspect", "--files", "t.img"])
    };
    for program in ["bin/python9.87", "bin/embeds"] {
        let files = files(&[program]);
        assert!(files.contains("/lib/python9.87/json/tool.py") && !files.contains("python9.8/"), "{files}");
        assert!(!files.contains("app.py"), "{files}");
    }
    assert!(!files(&["bin/python9.8"]).contains("os.py"));
    let whole = path("lib/python9.87");
    let left_out = files(&["bin/python9.87", "--exclude", whole.to_str().unwrap()]);
    assert!(!left_out.contains("os.py"), "{left_out}");
    let left_out = files(&["bin/python9.87", "--exclude", "json"]);
    assert!(left_out.contains("os.py") && !left_out.contains("json"), "{left_out}");
}

#[test]
fn files_that_are_left_out() {
    let place = Place::new();
    for name in [
        "site/keep.txt",
        "site/a.pyc",
        "site/deep/b.pyc",
        "site/.git/config",
        "site/docs/x.md",
        "site/docs/deep/y.md",
    ] {
        place.file(name, "x");
    }
    let words = [
        "build",
        "/bin/true",
        "-o",
        "t.img",
        "--add",
        "site:/srv",
        "--exclude",
        "*.pyc",
        "--exclude",
        ".git",
    ];
    let more = ["--exclude", "docs/*.md", "--exclude", "nothing-like-it"];
    let (_, notes) = place.coracle_with(&[&words[..], &more].concat(), &[]);
    assert!(
        notes.contains("`nothing-like-it` matches no file") && notes.matches("warning").count() == 1,
        "{notes}"
    );
    let files = place.coracle(&["inspect", "--files", "t.img"]);
    let added: Vec<&str> = files.lines().filter_map(|line| Some(line.split_once(" /srv/")?.1)).collect();
    assert_eq!(added, ["deep", "docs", "docs/deep", "docs/deep/y.md", "keep.txt"]);
}

#[test]
fn owners_are_kept() {
    let place = Place::new();
    let file = place.file("dir/file", "x");
    // Only root may give files away; others see their own numbers.
    let root = rustix::process::getuid().is_root();
    if root {
        std::os::unix::fs::chown(&file, Some(7), Some(8)).unwrap();
        std::os::unix::fs::chown(file.parent().unwrap(), Some(9), Some(10)).unwrap();
    }
    place.coracle(&["build", "/bin/true", "-o", "t.img", "--add", "dir:/srv"]);
    let bytes = fs::read(place.0.path().join("t.img")).unwrap();
    let start = bytes.windows(8).rposition(|window| window == coracle_image::MAGIC).unwrap();
    let archive = coracle_image::archive::Archive::parse(&bytes[start..]).unwrap();
    let owner = |path: &str| {
        let inode = archive.find(path.as_bytes()).unwrap().unwrap();
        (inode.uid, inode.gid)
    };
    let of_host = |path: &Path| {
        let meta = fs::metadata(path).unwrap();
        (meta.uid(), meta.gid())
    };
    assert_eq!((owner("/srv/file"), owner("/srv")), (of_host(&file), of_host(file.parent().unwrap())));
    assert_eq!(root, owner("/srv/file") == (7, 8));
    let program = Path::new("/bin/true").canonicalize().unwrap();
    assert_eq!(owner(program.to_str().unwrap()), of_host(&program));
}

#[test]
fn a_library_that_the_user_cannot_read_is_named() {
    let place = Place::new();
    fs::create_dir(place.0.path().join("shut")).unwrap();
    let library = place.library("shut/libanswer.so", "int answer(void) { return 42; }", &[]);
    let program = place.0.path().join("asks");
    let run_path = format!("-Wl,-rpath,{}", library.parent().unwrap().display());
    let source = "int answer(void); int main(void) { return answer() != 42; }";
    place.compile(&program, source, &[library.to_str().unwrap(), &run_path]);
    let open = |mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(library.parent().unwrap(), permissions.clone()).unwrap();
        fs::set_permissions(place.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let warnings = |user: &str| {
        let words = ["build", "./asks", "-o", "t.img", "--user", user];
        place.coracle_with(&words, &[]).1
    };
    open(0o700);
    let seen = warnings("4321:4321");
    let part = format!(
        "the program runs as 4321:4321 and cannot use `{}`: `{}`",
        library.display(),
        library.parent().unwrap().display()
    );
    assert!(seen.contains(&part) && seen.contains("mode 0700"), "`{part}` is not in:\n{seen}");
    assert_eq!(warnings("root"), "");
    open(0o755);
    assert_eq!(warnings("4321:4321"), "");
}

#[test]
fn a_library_that_is_in_the_image_is_not_missed() {
    let place = Place::new();
    for name in ["app/lib/inner", "app/modules"] {
        fs::create_dir_all(place.0.path().join(name)).unwrap();
    }
    // As in a Java runtime: modules need a library that the program loads by its path, before it loads them.
    let inner = place.library("app/lib/inner/libmachine.so", "int machine;", &["-Wl,-soname,libmachine.so"]);
    let absent = place.library("libabsent.so", "int absent;", &["-Wl,-soname,libabsent.so"]);
    let module = |name: &str, needs: &Path| {
        place.library(name, "int module;", &["-Wl,--no-as-needed", needs.to_str().unwrap()]);
    };
    module("app/modules/one.so", &inner);
    module("app/modules/two.so", &inner);
    module("app/modules/three.so", &absent);
    module("app/modules/four.so", &absent);
    fs::remove_file(&absent).unwrap();
    let (_, notes) = place.coracle_with(&["build", "/bin/true", "-o", "t.img", "--add", "app:/srv/app"], &[]);
    assert_eq!(notes.matches("was not found").count(), 1, "{notes}");
    assert!(
        notes.contains("`libabsent.so` was not found;") && notes.contains("and 1 more will not load"),
        "{notes}"
    );
}

#[test]
fn time_zones_and_certificates_come_along() {
    const ZONE: &str = "/usr/share/zoneinfo/Europe/Berlin";
    const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
    let place = Place::new();
    let has = |program: &str, more: &[&str], path: &str| {
        place.coracle(&[&["build", program, "-o", "t.img"], more].concat());
        let files = place.coracle(&["inspect", "--files", "t.img"]);
        files.lines().any(|line| line.ends_with(path) && !line.contains(" -> "))
    };
    let reads =
        "#include <time.h>\nint main(void) { time_t now = 0; return localtime(&now)->tm_year != 70; }";
    let asks = "#include <time.h>\nint main(void) { return time(0) == 0; }";
    for (name, source, links) in
        [("reads", reads, &[][..]), ("static", reads, &["-static"]), ("asks", asks, &[])]
    {
        place.compile(&place.0.path().join(name), source, links);
        let wanted = name != "asks" && Path::new(ZONE).exists();
        assert_eq!(has(&format!("./{name}"), &[], ZONE), wanted, "{name}");
    }
    // A program that holds the path, as Go's do; and a module that has the TLS library read it.
    place.compile(
        &place.0.path().join("holds"),
        &format!("const char *path = \"{CERTIFICATES}\"; int main(void) {{ return !path; }}"),
        &[],
    );
    assert_eq!(has("./holds", &[], CERTIFICATES), Path::new(CERTIFICATES).exists());
    let module = place.library("tls.so", "void SSL_CTX_set_default_verify_paths(void *); void f(void) { SSL_CTX_set_default_verify_paths(0); }", &[]);
    assert_eq!(
        has("/bin/true", &["--add", module.to_str().unwrap()], CERTIFICATES),
        Path::new(CERTIFICATES).exists()
    );
    assert!(!has("/bin/true", &[], CERTIFICATES));
    assert!(!has("./holds", &["--exclude", "/etc/ssl/certs"], CERTIFICATES));
}

/// A build holds neither the files nor the image: it must do with less address space than one large file.
#[test]
fn a_build_streams_its_files() {
    const FILE: u64 = 128 << 20;
    const LIMIT_KIB: u64 = 64 << 10;
    let place = Place::new();
    let large = fs::File::create(place.0.path().join("large")).unwrap();
    large.set_len(FILE).unwrap();
    for (output, to) in [("t.img", "/dev/null"), ("-", "piped.img")] {
        let script = format!(
            "ulimit -v {LIMIT_KIB}; exec \"$0\" build /bin/true -o {output} --add large:/large > {to}"
        );
        let mut shell = Command::new("sh");
        shell.current_dir(place.0.path()).arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_coracle"));
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let read = |name: &str| fs::read(place.0.path().join(name)).unwrap();
    let image = read("t.img");
    assert!(image.len() as u64 > FILE && image == read("piped.img"));
}

/// Nor does a look at one: its checksums, and a file in it.
#[test]
fn inspect_streams_an_image() {
    const FILE: u64 = 128 << 20;
    const LIMIT_KIB: u64 = 64 << 10;
    let place = Place::new();
    fs::File::create(place.0.path().join("large")).unwrap().set_len(FILE).unwrap();
    place.coracle(&["build", "/bin/true", "-o", "t.img", "--add", "large:/large"]);
    for (options, bytes) in [("", None), ("--cat /large", Some(FILE))] {
        let script = format!("ulimit -v {LIMIT_KIB}; \"$0\" inspect t.img {options} > out");
        let mut shell = Command::new("sh");
        shell.current_dir(place.0.path()).arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_coracle"));
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let written = fs::metadata(place.0.path().join("out")).unwrap().len();
        assert!(bytes.is_none_or(|bytes| bytes == written), "{written}");
    }
}

/// Files whose length the file system does not know come along with what they hold.
#[test]
fn files_without_a_length_are_read() {
    let place = Place::new();
    place.coracle(&["build", "/bin/true", "-o", "t.img", "--add", "/proc/self/status:/status"]);
    assert!(place.coracle(&["inspect", "t.img", "--cat", "/status"]).starts_with("Name:"));
}
