//! Volumes of ext4: made by Linux's tools, changed by guests, checked by e2fsck.
use crate::Case;
use crate::disks::{Q35, TWO, boot, disk, drive, expect};
use coracle_tests::{bare, build, paths};
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
    Case { name: "volume_after_kills", test: kills, tap: false },
    Case { name: "volumes_of_the_command_line", test: words, tap: false },
    Case { name: "volume_under_pressure", test: || pressure(Q35), tap: false },
    Case { name: "volume_under_pressure_2cpu", test: || pressure(TWO), tap: false },
    Case { name: "volumes_refused", test: refusals, tap: false },
];

fn image(name: &str, arguments: &[&str]) -> Result<PathBuf, String> {
    let program = build::c_server(&paths::programs().join("disks/volume.c"))?;
    let options = |command: &mut Command| {
        command.args(["--user", "root"]);
    };
    bare::image_with(&format!("volume_{name}_{}", arguments[0]), &program, arguments, options)
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

fn survives(name: &str, machine: &str, block_bytes: &str) -> Result<(), String> {
    let file = volume(name, block_bytes)?;
    let with = |options| format!("{machine}{}", drive(0, &file, options, "virtio-blk-pci"));
    expect(&boot(&with(""), "", &image(name, &["change"])?)?, &["changed"])?;
    check(&file)?;
    expect(&boot(&with(""), "", &image(name, &["verify"])?)?, &["verified"])?;
    expect(&boot(&with(",read-only=on"), "", &image(name, &["verify_read_only"])?)?, &["verified"])?;
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
