//! What an image costs of the host's memory. Guests of one image map its file, so that all share one copy of it; the image that
//! `coracle run PROGRAM` makes is in memory once. (`cli/tests/images.rs` bounds the memory of a build.)
//!
//! The command that measures: `cargo test --release -p coracle-tests --test memory -- --nocapture`.
use coracle_tests::guest::{LIMIT, Server};
use coracle_tests::paths;
use coracle_tests::trials::{self, Test, run};
use coracle_tests::wait::until;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::OnceLock;

/// Bytes of the large file in the images here. QEMU, the kernel and the program take a third to two thirds of it by themselves, the
/// more the slower the machine is: so a bound has to lie between one copy and two, with that much to spare.
const LARGE: usize = 128 << 20;
/// Reads the file from its first byte to its last, and stays.
const SCRIPT: &str = "cat /large | wc -c; exec sleep 1000";

const TESTS: &[(&str, Test)] = &[
    ("guests_of_an_image_share_it::microvm", || guests_of_an_image_share_it("microvm")),
    ("guests_of_an_image_share_it::q35", || guests_of_an_image_share_it("q35")),
    ("guests_of_an_image_share_it::pc", || guests_of_an_image_share_it("pc")),
    ("a_program_is_in_memory_once", a_program_is_in_memory_once),
];

/// A file of the host, without two pages that are alike; made once.
fn large() -> Result<PathBuf, String> {
    static PATH: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let make = || {
        let path = paths::work().join("memory-large");
        let mix = |word: u64| (word + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        let bytes: Vec<u8> = (0..LARGE as u64 / 8).flat_map(mix).collect();
        fs::write(&path, bytes).map(|()| path).map_err(|e| e.to_string())
    };
    PATH.get_or_init(make).clone()
}

/// Memory of a process (proc_pid_status(5), proc_pid_smaps(5)), in bytes.
#[derive(Debug)]
struct Memory {
    /// Of its own.
    anonymous: u64,
    /// Of files in memory that have no name.
    unnamed: u64,
    /// Its share of all that it maps.
    share: u64,
}

impl Memory {
    fn of(pid: i32) -> Result<Self, String> {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).map_err(|e| e.to_string());
        let (status, maps) = (read("status")?, read("smaps_rollup")?);
        let value = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            number.map(|kib| kib << 10).ok_or_else(|| format!("there is no {name} of {pid}"))
        };
        Ok(Memory {
            anonymous: value(&status, "RssAnon:")?,
            unnamed: value(&status, "RssShmem:")?,
            share: value(&maps, "Pss:")?,
        })
    }
}

/// A guest that has read the file.
struct Reader(Server);

impl Reader {
    fn start(command: &mut Command) -> Result<Self, String> {
        let server = Server::start(command.args(["--", "ash", "-c", SCRIPT]))?;
        match until(LIMIT, || server.log().contains(&format!("{LARGE}\n"))) {
            true => Ok(Reader(server)),
            false => Err(format!("it did not read the file: {}", server.log())),
        }
    }

    /// The memory of the command and of QEMU.
    fn memory(&self) -> Result<[Memory; 2], String> {
        let own = self.0.pid();
        let children =
            fs::read_to_string(format!("/proc/{own}/task/{own}/children")).map_err(|e| e.to_string())?;
        let qemu = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
        Ok([Memory::of(own)?, Memory::of(qemu.ok_or("there is no QEMU")?)?])
    }
}

fn coracle(words: &[&str]) -> Command {
    let mut command = Command::new(paths::coracle());
    command.args(words);
    command
}

/// Wants less than so much memory.
fn within(what: &str, bytes: u64, bound: usize) -> Result<(), String> {
    println!("{what}: {} MiB", bytes >> 20);
    if bytes < bound as u64 { Ok(()) } else { Err(format!("{what} is {bytes} bytes, of at most {bound}")) }
}

fn guests_of_an_image_share_it(machine: &str) -> Result<(), String> {
    let (file, image) = (large()?, paths::work().join(format!("memory-{machine}.img")));
    let add = format!("{}:/large", file.display());
    let built = run(coracle(&["build", "/bin/busybox", "--add", &add, "-o"]).arg(&image), b"")?;
    if built.status != 0 {
        return Err(built.evidence());
    }
    let start = || Reader::start(coracle(&["run", "--net", "none", "--machine", machine]).arg(&image));
    let guests = [start()?, start()?];
    let mut share = 0;
    for guest in &guests {
        let [command, qemu] = guest.memory()?;
        within("memory of the command", command.anonymous, LARGE / 8)?;
        within("memory of QEMU's own", qemu.anonymous, LARGE)?;
        share += command.share + qemu.share;
    }
    within("memory of two guests", share, 5 * LARGE / 2)?;
    drop(guests);
    fs::remove_file(image).map_err(|e| e.to_string())
}

fn a_program_is_in_memory_once() -> Result<(), String> {
    let add = format!("{}:/large", large()?.display());
    let guest = Reader::start(&mut coracle(&["run", "--net", "none", "--add", &add, "/bin/busybox"]))?;
    let [command, qemu] = guest.memory()?;
    within("memory of the command", command.anonymous, LARGE / 8)?;
    within("memory of QEMU, image and guest", qemu.anonymous + qemu.unnamed, 2 * LARGE)
}

fn main() -> ExitCode {
    trials::main("memory", TESTS.iter().copied())
}
