//! What `coracle run -v` and `coracle volume` promise.
use coracle_tests::guest::{LIMIT, Server};
use coracle_tests::outcome::Outcome;
use coracle_tests::trials::{self, Test, check, run};
use coracle_tests::{build, paths, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const TESTS: &[(&str, Test)] = &[
    ("what_one_guest_writes_another_reads", what_one_guest_writes_another_reads),
    ("an_image_is_a_volume", an_image_is_a_volume),
    ("what_is_refused", what_is_refused),
    ("one_guest_at_a_time", one_guest_at_a_time),
    ("a_late_end_writes_back", a_late_end_writes_back),
    ("a_full_volume_says_so", a_full_volume_says_so),
    ("commands_on_volumes", commands_on_volumes),
    ("settings_name_volumes", settings_name_volumes),
    ("changes_of_the_image_last", changes_of_the_image_last),
    ("a_killed_guest_keeps_its_root", a_killed_guest_keeps_its_root),
    ("files_are_as_on_linux", files_are_as_on_linux),
    ("directories_in_memory", directories_in_memory),
    ("a_full_file_system_says_so", a_full_file_system_says_so),
    ("a_full_host_is_no_success", a_full_host_is_no_success),
];

/// The status when `coracle` itself, or the kernel, could not do what was asked.
const FAILED: i32 = 125;
const KILLED: i32 = 137;

/// A home of its own for each test's volumes.
struct Home(PathBuf);

impl Home {
    fn new(test: &str) -> Result<Home, String> {
        let path = paths::work().join("volumes").join(test);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(|e| e.to_string())?;
        }
        fs::create_dir_all(&path).map_err(|e| e.to_string())?;
        Ok(Home(path))
    }

    fn coracle(&self, words: &[&str]) -> Command {
        let mut command = Command::new(paths::coracle());
        command.env("XDG_DATA_HOME", &self.0).current_dir(&self.0).args(words);
        command
    }

    /// A guest in which busybox's shell runs a script; `options` are those of `coracle run`, with blanks between them.
    fn guest(&self, options: &str, script: &str) -> Command {
        let mut command = self.coracle(&["run", "--net", "none"]);
        command.args(options.split_whitespace()).args(["busybox", "ash", "-c", script]);
        command
    }

    fn shell(&self, options: &str, script: &str) -> Result<Outcome, String> {
        run(&mut self.guest(options, script), b"")
    }

    fn volume(&self, words: &str) -> Result<Outcome, String> {
        run(self.coracle(&["volume"]).args(words.split_whitespace()), b"")
    }

    /// An empty file of so many bytes.
    fn image(&self, name: &str, bytes: u64) -> Result<PathBuf, String> {
        let path = self.0.join(name);
        fs::File::create(&path).and_then(|file| file.set_len(bytes)).map_err(|e| e.to_string())?;
        Ok(path)
    }
}

/// That a command failed, and said something.
fn refused(outcome: &Outcome, text: &str) -> Result<(), String> {
    if outcome.status == FAILED && outcome.log.contains(text) {
        return Ok(());
    }
    Err(format!("wanted an error with `{text}`, but: {}", outcome.evidence()))
}

fn what_one_guest_writes_another_reads() -> Result<(), String> {
    let home = Home::new("two_guests")?;
    let options = "-q -v one:/data -v two:/data/inner/deep --volume-size 64M";
    check(
        &home.shell(options, "echo outer > /data/a; echo inner > /data/inner/deep/b; id -u")?,
        0,
        "1000\n",
    )?;
    for machine in [
        "--machine q35 --cpus 2",
        "--machine pc --mode protected",
        "--machine microvm --cpus 2 --mode protected",
    ] {
        let options = format!("{options} {machine}");
        check(
            &home.shell(&options, "cat /data/a /data/inner/deep/b; ls /data")?,
            0,
            "outer\ninner\na\ninner\n",
        )?;
    }
    check(
        &home.shell("-q -v two:/x:ro", "cat /x/b; (echo y > /x/b) 2> /dev/null || ls /x")?,
        0,
        "inner\nb\n",
    )?;
    // Two may read at a time.
    let mut reader = Server::start(&mut home.guest("-q -v two:/x:ro", "cat /x/b; sleep 1000"))?;
    if !wait::until(LIMIT, || reader.log().contains("inner\n") || !reader.is_running()) {
        return Err(reader.log());
    }
    check(&home.shell("-q -v two:/x:ro", "cat /x/b")?, 0, "inner\n")?;
    refused(&home.shell("-q -v two:/x", "true")?, "the volume `two` is in use")
}

fn an_image_is_a_volume() -> Result<(), String> {
    let home = Home::new("image")?;
    home.image("blank.img", 32 << 20)?;
    check(&home.shell("-q -v ./blank.img:/data", "echo kept > /data/file")?, 0, "")?;
    check(&home.shell("-q -v ./blank.img:/data:ro", "cat /data/file")?, 0, "kept\n")?;
    // One that Linux made, with files in it.
    let (tree, made) = (home.0.join("tree"), home.image("made.img", 32 << 20)?);
    fs::create_dir_all(&tree)
        .and_then(|()| fs::write(tree.join("by"), "mkfs\n"))
        .map_err(|e| e.to_string())?;
    let done = Command::new("/usr/sbin/mkfs.ext4").args(["-q", "-F", "-d"]).args([&tree, &made]).output();
    if !done.as_ref().is_ok_and(|done| done.status.success()) {
        return Err(format!("{done:?}"));
    }
    check(
        &home.shell("-q --user root -v ./made.img:/data", "cat /data/by; echo guest > /data/too")?,
        0,
        "mkfs\n",
    )?;
    let checked = home.volume("check ./made.img")?;
    if checked.status == 0 { Ok(()) } else { Err(checked.evidence()) }
}

fn what_is_refused() -> Result<(), String> {
    let home = Home::new("refused")?;
    fs::write(home.0.join("text.img"), "x".repeat(16 << 20)).map_err(|e| e.to_string())?;
    home.image("tiny.img", 4 << 20)?;
    home.image("twice.img", 16 << 20)?;
    for (options, text) in [
        ("-v ./text.img:/data", "there is no ext4 file system"),
        ("-v ./tiny.img:/data", "is too small"),
        ("-v ./missing.img:/data", "there is no such file"),
        ("-v none:/data:ro", "there is no volume `none`"),
        ("-v a:/data -v b:/data", "two volumes are to be at /data"),
        ("-v ./twice.img:/a -v ./twice.img:/b:ro", "is given twice"),
        ("-v a:data", "the guest's path begins with a slash"),
        ("-v a:/", "with --root-volume it takes what is changed"),
        ("--root-volume ./", "the root's volume is an ext4 file system"),
    ] {
        refused(&home.shell(options, "echo ran")?, text).map_err(|error| format!("{options}: {error}"))?;
    }
    // Nothing was changed by that.
    let text = fs::read(home.0.join("text.img")).map_err(|e| e.to_string())?;
    if text.iter().any(|&byte| byte != b'x') {
        return Err("a file that is no volume was written to".into());
    }
    // A directory of the volume can't be made where a file is.
    let outcome = home.shell("-q -v a:/etc/passwd/data --volume-size 16M", "echo ran")?;
    refused(&outcome, "its directory can't be made")
}

fn one_guest_at_a_time() -> Result<(), String> {
    let home = Home::new("one")?;
    let name = format!("volumes-{}", std::process::id());
    let options = format!("-q --name {name} -v data:/data --volume-size 64M");
    let mut first = Server::start(&mut home.guest(&options, "echo up; sleep 1000"))?;
    if !wait::until(LIMIT, || first.log().contains("up\n") || !first.is_running()) {
        return Err(first.log());
    }
    let second = home.shell("-q -v data:/data", "echo ran")?;
    refused(&second, &format!("the guest `{name}` uses it"))?;
    refused(&home.volume("rm data")?, "is in use")?;
    refused(&home.volume("check data")?, "is in use")?;
    let listed = home.volume("ls")?;
    if !listed.text().lines().any(|line| line.starts_with("data ") && line.ends_with(&name)) {
        return Err(listed.evidence());
    }
    // The lock ends with the guest, however that ends.
    let command = Pid::from_raw(first.pid()).ok_or("no command")?;
    kill_process(command, Signal::KILL).map_err(|e| e.to_string())?;
    let mut third = home.shell("-q -v data:/data", "echo ran")?;
    // QEMU may take a moment to be gone.
    wait::until(LIMIT, || {
        if third.status != 0
            && let Ok(again) = home.shell("-q -v data:/data", "echo ran")
        {
            third = again;
        }
        third.status == 0
    });
    check(&third, 0, "ran\n")
}

/// A program that ignores SIGTERM, and has synced nothing.
fn a_late_end_writes_back() -> Result<(), String> {
    let home = Home::new("late")?;
    let name = format!("late-{}", std::process::id());
    let options = format!("-q --name {name} -v data:/data --volume-size 64M --mode protected --cpus 2");
    let script = "trap '' TERM; echo written > /data/file; echo up; while true; do sleep 1000; done";
    let mut guest = Server::start(&mut home.guest(&options, script))?;
    if !wait::until(LIMIT, || guest.log().contains("up\n") || !guest.is_running()) {
        return Err(guest.log());
    }
    let stopped = run(&mut home.coracle(&["stop", "-t", "0", &name]), b"")?;
    if stopped.status != 0 || !stopped.log.contains("did not end within 0 s of SIGTERM: killed") {
        return Err(stopped.evidence());
    }
    if guest.wait(LIMIT) != Some(KILLED) || !guest.log().contains("did not end within 0 s") {
        return Err(guest.log());
    }
    // The end was in order: nothing is left in the journal.
    let seen = home.volume("inspect data")?;
    if !seen.text().lines().any(|line| line.starts_with("state") && line.ends_with(" clean")) {
        return Err(seen.evidence());
    }
    check(&home.shell("-q -v data:/data:ro", "cat /data/file")?, 0, "written\n")
}

/// A write that finds no space fails with ENOSPC, what was written before it stays, and space that is given back can be used.
fn a_full_volume_says_so() -> Result<(), String> {
    let home = Home::new("full")?;
    let script = "cd /data; echo kept > kept; sync; dd if=/dev/zero of=all bs=64k 2>&1 | grep -o 'No space left on device'; \
                  echo more 2> /dev/null > more && cat more; rm all; dd if=/dev/zero of=again bs=64k count=64 2> /dev/null && cat kept";
    let full = home.shell("-q -v data:/data --volume-size 16M --mode protected --cpus 2", script)?;
    if full.status != 0
        || !full.text().starts_with("No space left on device\n")
        || !full.text().ends_with("kept\n")
    {
        return Err(full.evidence());
    }
    check(&home.shell("-q -v data:/data:ro", "cat /data/kept; wc -c < /data/again")?, 0, "kept\n4194304\n")?;
    let checked = home.volume("check data")?;
    if checked.status == 0 { Ok(()) } else { Err(checked.evidence()) }
}

fn commands_on_volumes() -> Result<(), String> {
    let home = Home::new("commands")?;
    check(&home.volume("create a --size 32M --user 7:8")?, 0, "a\n")?;
    refused(&home.volume("create a")?, "there is a volume `a` already")?;
    refused(&home.volume("create small --size 1M")?, "is too small")?;
    check(
        &home.shell("-q --user root -v a:/data", "stat -c %u:%g /data; echo kept > /data/file")?,
        0,
        "7:8\n",
    )?;
    check(&home.volume("export a copy.img")?, 0, "")?;
    refused(&home.volume("export a copy.img")?, "cannot write")?;
    check(&home.volume("import b copy.img --size 48M")?, 0, "b\n")?;
    check(&home.volume("resize b 64M")?, 0, "")?;
    let script = "cat /data/file; df -m /data | tail -1 | while read device size rest; do test $size -gt 48 && echo larger; done";
    check(&home.shell("-q -v b:/data:ro", script)?, 0, "kept\nlarger\n")?;
    let seen = home.volume("inspect b")?;
    for text in ["size         64.0 MiB", "state        clean", "label        a"] {
        if !seen.text().contains(text) {
            return Err(format!("no `{text}`: {}", seen.evidence()));
        }
    }
    check(&home.volume("rm a b")?, 0, "a\nb\n")?;
    refused(&home.volume("rm a")?, "there is no volume `a`")?;
    refused(&home.volume("inspect a")?, "there is no volume `a`")?;
    // Damage is found.
    let copy = home.0.join("copy.img");
    damage(&copy)?;
    let checked = home.volume("check ./copy.img")?;
    if checked.status == FAILED { Ok(()) } else { Err(checked.evidence()) }
}

/// Changes a byte of the superblock, whose checksum is wrong then.
fn damage(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::FileExt as _;
    const LABEL: u64 = 1024 + 0x78;
    let file = fs::File::options().write(true).open(path).map_err(|e| e.to_string())?;
    file.write_all_at(b"!", LABEL).map_err(|e| e.to_string())
}

fn settings_name_volumes() -> Result<(), String> {
    let home = Home::new("settings")?;
    let settings = "program = \"/bin/busybox\"\nargs = [\"ash\", \"-c\", \"cat /data/file; echo again >> /data/file\"]\n\
                    [run]\nvolumes = [\"data:/data\", \"./disk.img:/disk\"]\nvolume-size = \"32M\"\nnet = \"none\"\n";
    let file = home.0.join("Coracle.toml");
    home.image("disk.img", 16 << 20)?;
    fs::write(&file, settings).map_err(|e| e.to_string())?;
    let again = || {
        let mut command = home.coracle(&["run", "-q", "--config"]);
        // Another directory: paths are relative to the file.
        run(command.arg(&file).current_dir("/"), b"")
    };
    again()?;
    check(&again()?, 0, "again\n")?;
    let listed = home.volume("ls")?;
    if listed.text().contains("32.0 MiB") { Ok(()) } else { Err(listed.evidence()) }
}

fn main() -> ExitCode {
    trials::main("volumes", TESTS.iter().copied())
}

fn directories_in_memory() -> Result<(), String> {
    let home = Home::new("in_memory")?;
    // A bound, owner and permissions; docker's flags; a volume within, and another bound later.
    let script = "grep -c '/mem tmpfs rw,nosuid,nodev,noexec,' /proc/mounts; stat -c '%a %u' /mem
        df -k /mem | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2; echo kept > /mem/vol/file
        dd if=/dev/zero of=/mem/f bs=1k count=2000 2> /dev/null || stat -c %s /mem/f
        mount -o remount,size=4m none /mem && dd if=/dev/zero of=/mem/f bs=1k count=2000 2> /dev/null && stat -c %s /mem/f
        mount -o remount,size=1m none /mem 2> /dev/null || echo refused
        rm /mem/f; mount -o remount,size=1m none /mem && mount -t tmpfs -o size=8k none /mem/vol && df -k /mem/vol | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2";
    let options = "-q --user root --tmpfs /mem:size=1m,mode=750,uid=5 -v in:/mem/vol --volume-size 32M";
    check(&home.shell(options, script)?, 0, "1\n750 5\n1024\n1048576\n2048000\nrefused\n8\n")?;
    check(&home.shell("-q -v in:/x", "cat /x/file")?, 0, "kept\n")?;
    let settings = home.0.join("Coracle.toml");
    fs::write(&settings, "program = \"busybox\"\n[run]\ntmpfs = [\"/mem:ro\"]\n")
        .map_err(|e| e.to_string())?;
    let mut command =
        home.coracle(&["run", "-q", "--net", "none", "--", "grep", "-c", "/mem tmpfs ro", "/proc/mounts"]);
    check(&run(&mut command, b"")?, 0, "1\n")?;
    refused(&home.shell("--tmpfs /a -v in:/a", "true")?, "to be something else as well")?;
    refused(&home.shell("--tmpfs /a:other", "true")?, "`other` is no option")
}

/// Each kind of operation on a file system without room, beside Linux's ext4 and tmpfs.
fn a_full_file_system_says_so() -> Result<(), String> {
    let home = Home::new("no_room")?;
    let program = build::c_server(&paths::programs().join("servers/full.c"))?;
    let mounted = Mounted::of(&home, 16)?;
    let disk = run(Command::new(&program).arg("disk").env("SCRATCH", &mounted.0), b"")?;
    drop(mounted);
    let place = Mounted(home.0.join("mounted"));
    let mount = run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "none"]).arg(&place.0), b"")?;
    check(&mount, 0, "")?;
    let memory = run(Command::new(&program).env("SCRATCH", &place.0), b"")?;
    let guest = |options: &str, argument: Option<&str>| {
        let mut guest =
            home.coracle(&["run", "-q", "--net", "none", "--user", "root", "-e", "SCRATCH=/data"]);
        run(guest.args(options.split_whitespace()).arg(&program).args(argument), b"")
    };
    home.image("full.img", 16 << 20)?;
    check(&guest("-v ./full.img:/data --cpus 2", Some("disk"))?, 0, &disk.text())?;
    let checked = home.volume("check ./full.img")?;
    if checked.status != 0 {
        return Err(checked.evidence());
    }
    check(&guest("--tmpfs /data:size=2m --mode protected", None)?, 0, &memory.text())?;
    let charged = format!("{}xattr: ENOSPC\n", memory.text());
    check(&guest("--tmpfs /data:size=2m", Some("charged"))?, 0, &charged)?;
    // An image has directories in memory of its own, which a run may change.
    let build = ["build", "busybox", "--tmpfs", "/a:size=1m", "--tmpfs", "/b:size=1m", "-o", "own.img"];
    let built = run(&mut home.coracle(&build), b"")?;
    check(&built, 0, &built.text())?;
    let mut own = home.coracle(&["run", "-q", "--net", "none", "--tmpfs", "/b:size=2m", "./own.img", "--"]);
    let own = run(own.args(["df", "-k", "/a", "/b"]), b"")?;
    let sizes: Vec<_> = own
        .text()
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned))
        .collect();
    if sizes == ["1024", "2048"] { Ok(()) } else { Err(own.evidence()) }
}

/// Programs of the files that a volume must hold as Linux' ext4 does: each prints the same on both.
const AS_ON_LINUX: [&str; 3] = ["xattr", "hints", "synced_appends"];

/// What a disk does not take because this machine has no room is reported, also where the program has ended by then.
fn a_full_host_is_no_success() -> Result<(), String> {
    let home = Home::new("full_host")?;
    let place = Mounted(home.0.join("mounted"));
    fs::create_dir(&place.0).map_err(|e| e.to_string())?;
    let mount = run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "none"]).arg(&place.0), b"")?;
    check(&mount, 0, "")?;
    home.image("mounted/disk.img", 64 << 20)?;
    let script = "dd if=/dev/zero of=/data/file bs=1M count=8 2> /dev/null; echo ended";
    let outcome = home.shell("-q -v ./mounted/disk.img:/data", script)?;
    refused(&outcome, "the volume at /data did not take all that was written to it")
}

fn files_are_as_on_linux() -> Result<(), String> {
    let home = Home::new("as_on_linux")?;
    let mounted = Mounted::new(&home)?;
    for name in AS_ON_LINUX {
        let program = build::c_server(&paths::programs().join(format!("c/files/{name}.c")))?;
        let native = run(Command::new(&program).env("SCRATCH", &mounted.0), b"")?;
        check(&native, 0, &native.text())?;
        let mut guest =
            home.coracle(&["run", "-q", "--net", "none", "--user", "root", "-e", "SCRATCH=/data"]);
        let outcome = run(guest.args(["-v", "linux:/data", "--volume-size", "64M"]).arg(&program), b"")?;
        check(&outcome, 0, &native.text())?;
    }
    let done = home.volume("check linux")?;
    if done.status == 0 { Ok(()) } else { Err(done.evidence()) }
}

/// The files of the image that `layers.c` changes.
fn layers(tree: &Path) -> Result<(), String> {
    let file = |path: String, bytes: &[u8]| {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap_or(tree))
            .and_then(|()| fs::write(path, bytes))
            .map_err(|e| e.to_string())
    };
    for name in ["conf", "other", "replaced", "moved", "swap1", "swap2", "untouched", "attributes"] {
        file(format!("etc/{name}"), format!("{name} of the image\n").as_bytes())?;
    }
    for name in ["mapped", "long", "cut", "gone"] {
        file(format!("etc/{name}"), format!("{name}\n").repeat(2000).as_bytes())?;
    }
    for name in ["one/x", "two/x", "two/y", "two/deep/er/x", "two/deep/y", "z"] {
        file(format!("tree/{name}"), name.as_bytes())?;
    }
    (0..100).try_for_each(|i| file(format!("many/{i}"), format!("{i}").as_bytes()))?;
    file("hard/a".into(), b"whole")?;
    std::os::unix::fs::symlink("conf", tree.join("etc/link")).map_err(|e| e.to_string())
}

/// A guest with a root volume answers as Linux's overlayfs, and has the same files when it is started again.
fn changes_of_the_image_last() -> Result<(), String> {
    let home = Home::new("root")?;
    let mounted = Mounted::new(&home)?;
    let place = |name: &str| mounted.0.join(name);
    layers(&place("lower"))?;
    for name in ["upper", "work", "merged"] {
        fs::create_dir(place(name)).map_err(|e| e.to_string())?;
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={},redirect_dir=on,index=on",
        place("lower").display(),
        place("upper").display(),
        place("work").display()
    );
    let mut mount = Command::new("mount");
    check(&run(mount.args(["-t", "overlay", "-o", &options, "none"]).arg(place("merged")), b"")?, 0, "")?;
    let program = build::c_server(&paths::programs().join("servers/layers.c"))?;
    let native = || run(Command::new(&program).env("SCRATCH", place("merged")), b"");
    let (first, second) = (native()?, native()?);
    check(&run(Command::new("umount").arg(place("merged")), b"")?, 0, "")?;
    let add = format!("{}:/layers", place("lower").display());
    for (outcome, options) in [(first, "--cpus 2"), (second, "--mode protected")] {
        let mut guest =
            home.coracle(&["run", "-q", "--net", "none", "--user", "root", "-e", "SCRATCH=/layers"]);
        guest.args(["--root-volume", "changes", "--volume-size", "64M", "--add", &add]);
        guest.args(options.split_whitespace());
        check(&run(guest.arg(&program), b"")?, 0, &outcome.text())?;
        let done = home.volume("check changes")?;
        if done.status != 0 {
            return Err(done.evidence());
        }
    }
    // Another image over the same volume; a directory of the image that is gone stays so.
    let script = "cd /layers; cat etc/gone new/2/x; ls tree 2> /dev/null; echo more > /layers/more; \
                  grep -c '^overlay / overlay .*upperdir=/volume/upper' /proc/mounts";
    let options = format!("-q --user root --root-volume changes --add {add}");
    check(&home.shell(&options, script)?, 0, "back\nchanged\n1\n")
}

/// What was synced is there after the guest was killed, as is what was deleted; a file is whole in one layer or the other.
fn a_killed_guest_keeps_its_root() -> Result<(), String> {
    let home = Home::new("killed_root")?;
    layers(&home.0.join("tree"))?;
    let options = "-q --user root --root-volume ./root.img --add ./tree:/layers --mode protected --cpus 2";
    home.image("root.img", 64 << 20)?;
    let script = "cd /layers; rm etc/gone; rm -r tree; mkdir tree; echo new > tree/new; mv hard moved; echo more >> etc/conf
        echo installed > etc/.new; mv etc/.new etc/replaced; sync; echo up
        while true; do for f in many/*; do echo x >> $f; mv $f $f.moved; rm $f.moved; done; done";
    let mut guest = Server::start(&mut home.guest(options, script))?;
    if !wait::until(LIMIT, || guest.log().contains("up\n") || !guest.is_running()) {
        return Err(guest.log());
    }
    let command = Pid::from_raw(guest.pid()).ok_or("no command")?;
    kill_process(command, Signal::KILL).map_err(|e| e.to_string())?;
    guest.wait(LIMIT);
    let script = "cd /layers; ls etc/gone 2> /dev/null; ls tree moved; tail -n 1 etc/conf; cat tree/new etc/replaced moved/a
        for f in many/*; do case $(cat $f) in *[0-9]|*[0-9]x) ;; *) echo torn $f ;; esac; done";
    let wanted = "moved:\na\n\ntree:\nnew\nmore\nnew\ninstalled\nwhole";
    let mut seen = home.shell(options, script)?;
    // QEMU may take a moment to be gone.
    wait::until(LIMIT, || {
        if seen.status == FAILED
            && let Ok(again) = home.shell(options, script)
        {
            seen = again;
        }
        seen.status != FAILED
    });
    check(&seen, 0, wanted)?;
    let checked = home.volume("check ./root.img")?;
    if checked.status == 0 { Ok(()) } else { Err(checked.evidence()) }
}

/// A file system of Linux', in a file.
struct Mounted(PathBuf);

impl Mounted {
    fn new(home: &Home) -> Result<Mounted, String> {
        Self::of(home, 64)
    }

    /// One of so many MiB.
    fn of(home: &Home, size: u64) -> Result<Mounted, String> {
        let (image, place) = (home.image("linux.img", size << 20)?, home.0.join("mounted"));
        fs::create_dir_all(&place).map_err(|e| e.to_string())?;
        let made =
            run(Command::new("/usr/sbin/mkfs.ext4").args(["-q", "-F", "-b", "4096"]).arg(&image), b"")?;
        check(&made, 0, "")?;
        let mounted = run(Command::new("mount").args(["-o", "loop"]).args([&image, &place]), b"")?;
        check(&mounted, 0, "")?;
        Ok(Mounted(place))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What stays mounted is no failure of what was tested.
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
