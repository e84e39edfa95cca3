//! Volumes of ext4: made by Linux's tools, changed by guests, checked by e2fsck.
use crate::Case;
use crate::disks::{Q35, TWO, boot, disk, drive, expect, image_of};
use coracle_tests::bare;
use coracle_tests::build::Target;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A volume of so many bytes.
const BYTES: u64 = 64 << 20;
/// Guests that are killed.
const KILLS: usize = 4;

pub const CASES: &[Case] = &[
    Case { name: "volume_of_small_blocks", test: || survives("small", Q35, "1024"), tap: false },
    Case { name: "volume_of_large_blocks", test: || survives("large", TWO, "4096"), tap: false },
    Case { name: "volume_on_nvme", test: || survives("nvme", TWO, "4096"), tap: false },
    Case {
        name: "volume_past_the_cache",
        test: || direct("direct", TWO, "4096", "virtio-blk-pci"),
        tap: false,
    },
    Case {
        name: "volume_past_the_cache_small",
        test: || direct("direct_small", Q35, "1024", "virtio-blk-pci,seg-max-adjust=off"),
        tap: false,
    },
    Case {
        name: "volume_past_the_cache_nvme",
        test: || direct("nvme_direct", TWO, "4096", "nvme,serial=one"),
        tap: false,
    },
    Case { name: "volume_begun", test: || begun("begun", Q35, "4096", "virtio-blk-pci"), tap: false },
    Case {
        name: "volume_begun_2cpu",
        test: || begun("begun_2cpu", TWO, "1024", "virtio-blk-pci,num-queues=2"),
        tap: false,
    },
    Case {
        name: "volume_begun_nvme",
        test: || begun("nvme_begun", TWO, "4096", "nvme,serial=one"),
        tap: false,
    },
    Case { name: "volume_after_kills", test: kills, tap: false },
    Case { name: "volumes_of_the_command_line", test: words, tap: false },
    Case { name: "volume_under_pressure", test: || pressure(Q35), tap: false },
    Case { name: "volume_under_pressure_2cpu", test: || pressure(TWO), tap: false },
    Case { name: "volumes_refused", test: refusals, tap: false },
    Case { name: "volume_with_errors", test: errors, tap: false },
];

fn image(name: &str, arguments: &[&str]) -> Result<PathBuf, String> {
    image_of("volume.c", Target::Host, name, arguments)
}

fn tool(command: &mut Command) -> Result<(), String> {
    let done = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if done.status.success() {
        return Ok(());
    }
    let text = [done.stdout, done.stderr].concat();
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&text)))
}

/// A volume with a file that the host made.
fn volume(name: &str, block_bytes: &str) -> Result<PathBuf, String> {
    let file = disk(&format!("volume_{name}"))?;
    fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .and_then(|opened| opened.set_len(BYTES))
        .map_err(|e| e.to_string())?;
    let tree = file.with_extension("tree");
    let folder = tree.join("made/by");
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let bytes: Vec<u8> = (0..5000usize).map(|i| (i * 31 + (i >> 8) * 7 + (i >> 16)) as u8).collect();
    fs::write(folder.join("host"), bytes).map_err(|e| e.to_string())?;
    tool(Command::new("mkfs.ext4").args(["-q", "-F", "-b", block_bytes, "-d"]).arg(&tree).arg(&file))?;
    Ok(file)
}

/// The image is as e2fsck wants it.
fn check(file: &Path) -> Result<(), String> {
    tool(Command::new("e2fsck").arg("-fn").arg(file))
}

pub fn survives(name: &str, machine: &str, block_bytes: &str) -> Result<(), String> {
    let file = volume(name, block_bytes)?;
    let device = if name.starts_with("nvme") { "nvme,serial=one" } else { "virtio-blk-pci" };
    let image = |step| image_of("volume.c", bare::target(machine), name, &[step]);
    let with = |options| format!("{machine}{}", drive(0, &file, options, device));
    expect(&boot(&with(""), "", &image("change")?)?, &["changed"])?;
    check(&file)?;
    expect(&boot(&with(""), "", &image("verify")?)?, &["verified"])?;
    expect(&boot(&with(",read-only=on"), "", &image("verify_read_only")?)?, &["verified"])?;
    check(&file)?;
    fs::remove_file(&file).map_err(|e| e.to_string())
}

/// Files are read and written past the page cache, alone and while others take their blocks.
fn direct(name: &str, machine: &str, block_bytes: &str, device: &str) -> Result<(), String> {
    let file = volume(name, block_bytes)?;
    let machine = format!("{machine}{}", drive(0, &file, "", device));
    expect(&boot(&machine, "", &image(name, &["direct"])?)?, &["direct"])?;
    check(&file)?;
    fs::remove_file(&file).map_err(|e| e.to_string())
}

/// Transfers go on when memory, files, contexts and processes go. The disk takes some milliseconds for each of them.
fn begun(name: &str, machine: &str, block_bytes: &str, device: &str) -> Result<(), String> {
    let file = volume(name, block_bytes)?;
    let machine = format!("{machine}{}", drive(0, &file, ",throttling.iops-total=500", device));
    expect(&boot(&machine, "", &image_of("begun.c", Target::Host, name, &["all"])?)?, &["begun"])?;
    check(&file)?;
    fs::remove_file(&file).map_err(|e| e.to_string())
}

/// A guest is killed when it has acknowledged some rounds; what it has acknowledged is there.
fn kills() -> Result<(), String> {
    let file = volume("kills", "4096")?;
    let machine = format!("{TWO} -m 64M -no-reboot{}", drive(0, &file, "", "virtio-blk-pci"));
    let first = image("kills", &["acknowledge"])?;
    for kill in 0..KILLS {
        let rounds = 3 + 4 * kill;
        let lines = bare::lines(&machine, "reboot=t", &first, rounds, |line| line.contains("acknowledged "))?;
        let last = lines
            .iter()
            .rev()
            .find_map(|(_, line)| line.trim().rsplit_once("acknowledged ")?.1.parse::<u32>().ok());
        let last = last.ok_or_else(|| format!("nothing was acknowledged: {lines:?}"))?;
        let second = image(&format!("kills_{last}"), &["expect", &last.to_string()])?;
        let machine = format!("{Q35}{}", drive(0, &file, "", "virtio-blk-pci"));
        expect(&boot(&machine, "", &second)?, &["as acknowledged"])?;
        check(&file)?;
    }
    fs::remove_file(&file).map_err(|e| e.to_string())
}

/// A file is cached and memory is used that do not fit into the machine's 64 MiB together.
fn pressure(machine: &str) -> Result<(), String> {
    let name = if machine == TWO { "pressure_2cpu" } else { "pressure" };
    let file = volume(name, "4096")?;
    let machine = format!("{machine}{}", drive(0, &file, "", "virtio-blk-pci"));
    expect(&boot(&machine, "", &image(name, &["pressure"])?)?, &["room was made"])?;
    check(&file)?;
    fs::remove_file(&file).map_err(|e| e.to_string())
}

/// What mount(2), umount(2) and their flags refuse, as on Linux.
fn refusals() -> Result<(), String> {
    let (file, other) = (volume("refused", "4096")?, disk("not_ext4")?);
    let drives = drive(0, &file, "", "virtio-blk-pci") + &drive(1, &other, "", "virtio-blk-pci");
    let outcome = boot(&format!("{Q35}{drives}"), "", &image("refused", &["refused"])?)?;
    let first = "mount(\"/dev/vda\", \"/volume\", \"ext4\", 0, NULL)";
    let again = "mount(NULL, \"/volume\", NULL, MS_REMOUNT | MS_RDONLY, NULL)";
    expect(
        &outcome,
        &[
            // ENOTBLK
            "mount(\"/dev/null\", \"/volume\", \"ext4\", 0, NULL) = -1 errno 15",
            "mount(\"/dev/vdb\", \"/volume\", \"ext4\", 0, NULL) = -1 EINVAL",
            &format!("{first} = 0"),
            &format!("{first} = -1 EBUSY"),
            "umount(\"/volume\") = -1 EBUSY",
            &format!("{again} = -1 EBUSY"),
            &format!("{again} = 0"),
            "open(\"/volume/new\", O_CREAT | O_WRONLY, 0644) = -1 EROFS",
            "umount(\"/volume\") = 0",
            "access(\"/volume/busy\", F_OK) = -1 ENOENT",
        ],
    )?;
    check(&file)
}

/// The kernel mounts what its command line says before it starts the program, or says why not and ends the machine.
fn words() -> Result<(), String> {
    let (file, other) = (volume("words", "4096")?, disk("not_ext4_either")?);
    let drives = drive(0, &file, "", "virtio-blk-pci,serial=first")
        + &drive(1, &other, "", "virtio-blk-pci,serial=second");
    let machine = format!("{Q35}{drives}");
    let image =
        bare::image("volume_words", Path::new("/bin/busybox"), &["ls", "/mnt/a b", "/mnt/a b/made/by"])?;
    expect(&boot(&machine, "volume=first:/mnt/a%20b:ro", &image)?, &["made", "host"])?;
    for (words, text) in [
        (
            "volume=third:/mnt/a%20b",
            "the volume third can't be mounted at /mnt/a b: no disk has this serial number",
        ),
        (
            "volume=second:/mnt",
            "the volume second can't be mounted at /mnt: there is no ext4 file system on the disk",
        ),
        (
            "volume=first:/bin/busybox/x",
            "the volume first can't be mounted at /bin/busybox/x: its directory can't be made",
        ),
    ] {
        let outcome = boot(&machine, words, &image)?;
        expect(&outcome, &[text])?;
        if outcome.text().contains("No such file") {
            return Err(format!("the program ran: {}", outcome.text()));
        }
    }
    // A machine without any disk.
    let outcome = boot(Q35, "volume=first:/mnt", &image)?;
    expect(&outcome, &["no disk has this serial number"])?;
    check(&file)
}

/// A volume whose disk fails at blocks of two files, and then at one of its journal.
fn errors() -> Result<(), String> {
    let file = disk("volume_errors")?;
    fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .and_then(|opened| opened.set_len(BYTES))
        .map_err(|e| e.to_string())?;
    let tree = file.with_extension("tree");
    fs::create_dir_all(&tree)
        .and_then(|()| fs::write(tree.join("bad"), [b'b'; 12288]))
        .and_then(|()| fs::write(tree.join("target"), [b't'; 12288]))
        .map_err(|e| e.to_string())?;
    tool(Command::new("mkfs.ext4").args(["-q", "-F", "-b", "4096", "-d"]).arg(&tree).arg(&file))?;
    let machine = |rules: &str| -> Result<String, String> {
        let place = file.with_extension("rules");
        fs::write(&place, rules).map_err(|e| e.to_string())?;
        let (file, rules) = (file.display(), place.display());
        Ok(format!(
            "{Q35} -drive if=none,id=d0,driver=blkdebug,config={rules},image.driver=raw,image.file.driver=file,image.file.filename={file},werror=report,rerror=report -device virtio-blk-pci,drive=d0"
        ))
    };
    let rule = |kind: &str, block: u64| {
        // In sectors of 512 bytes.
        let sector = block * 8;
        format!(
            "[inject-error]\nevent = \"none\"\niotype = \"{kind}\"\nerrno = \"5\"\nsector = \"{sector}\"\n"
        )
    };
    let rules = rule("read", block_of(&file, "/bad", 1)?) + &rule("write", block_of(&file, "/target", 1)?);
    let outcome = boot(&machine(&rules)?, "", &image("errors", &["errors"])?)?;
    in_order(
        &outcome.text(),
        &[
            "pread(bad, page, 4096, 0) = 4096",
            "pread(bad, page, 4096, 4096) = -1 EIO",
            "pread(bad, page, 4096, 8192) = 4096",
            "caught == SIGBUS = 1",
            "pwrite(fd, page, 4096, 4096) = 4096",
            "fsync(fd) = -1 EIO",
            "fsync(fd) = 0",
            "fdatasync(other) = -1 EIO",
            "fdatasync(other) = 0",
            "fsync(later) = 0",
            "pwrite(fd, page, 4096, 4096) = 4096",
            "fsync(later) = -1 EIO",
            "fsync(later) = 0",
            "pwrite(later, page, 4096, 0) = 4096",
            "fsync(later) = 0",
            "mkdir(\"directory\", 0755) = 0",
            "end of errors",
        ],
    )?;
    check(&file)?;
    tool(Command::new("debugfs").args(["-w", "-R", "rmdir /directory"]).arg(&file))?;
    let outcome =
        boot(&machine(&rule("write", block_of(&file, "<8>", 2)?))?, "", &image("aborted", &["aborted"])?)?;
    in_order(
        &outcome.text(),
        &[
            "mkdir(\"directory\", 0755) = 0",
            "ext4: vda has an error, and its file system is read-only from now on",
            "fsync(root) = -1 EIO",
            "fsync(root) = -1 EIO",
            "mkdir(\"other\", 0755) = -1 EROFS",
            "open(\"new\", O_CREAT | O_RDWR, 0644) = -1 EROFS",
            "unlink(\"bad\") = -1 EROFS",
            "pread(fd, &byte, 1, 0) = 1",
            "/dev/vda /volume ext4 ro,",
            "end of aborted",
        ],
    )?;
    // What was synced before is there; the journal is replayed or empty.
    let replayed = Command::new("e2fsck").arg("-fp").arg(&file).output().map_err(|e| e.to_string())?;
    match replayed.status.code() {
        Some(0 | 1) => check(&file)?,
        _ => return Err(String::from_utf8_lossy(&replayed.stdout).into_owned()),
    }
    fs::remove_file(&file).map_err(|e| e.to_string())
}

/// The block of the disk that a block of a file lies in.
fn block_of(image: &Path, file: &str, block: u32) -> Result<u64, String> {
    let request = format!("bmap {file} {block}");
    let done =
        Command::new("debugfs").args(["-R", &request]).arg(image).output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&done.stdout);
    text.trim().parse().map_err(|_| format!("debugfs says of {file}: {text}"))
}

/// The lines are there in this order.
fn in_order(text: &str, lines: &[&str]) -> Result<(), String> {
    let mut from = 0;
    for line in lines {
        let Some(found) = text[from..].find(line) else {
            return Err(format!("`{line}` is missing, or comes earlier, in: {text}"));
        };
        from += found + line.len();
    }
    Ok(())
}
