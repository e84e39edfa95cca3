//! A file that is written to by way of a shared mapping, as LMDB and others keep their data: what msync(2) returned for is there.
use crate::Chance;
use crate::volume::{AT, Volume, kill};
use coracle_tests::guest::{LIMIT, Server};
use coracle_tests::{trials, wait};

/// The program: counts in the last page of a mapping, and says each number when it is durable.
const COUNT: &str = "
import mmap, os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
os.ftruncate(file, 1 << 16)
os.fsync(file)
memory = mmap.mmap(file, 1 << 16)
for number in range(int(sys.argv[2]), 1 << 30):
    memory[0xfff0:0xfff8] = number.to_bytes(8, 'little')
    memory.flush()
    print('durable', number, flush=True)
";
/// The program that says what is there.
const LOOK: &str = "
import sys
print(int.from_bytes(open(sys.argv[1], 'rb').read()[0xfff0:0xfff8], 'little'))
";
/// Numbers that are durable before the kill, at most.
const MOST: u32 = 30;

/// The last number that the log says is durable, or `known`.
fn durable(log: &str, known: u32) -> u32 {
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let number = |line: &str| line.strip_prefix("durable ")?.trim().parse().ok();
    whole.lines().filter_map(number).max().unwrap_or(known)
}

/// Guests that are killed while they count.
pub fn synced(kills: u32, chance: &mut Chance) -> Result<(), String> {
    let volume = Volume::new("mapping")?;
    let path = format!("{AT}/mapped");
    let mut known = 0;
    for round in 0..kills {
        let target = known + chance.between(1, MOST);
        let from = (known + 1).to_string();
        let mut guest =
            Server::start(volume.run(round).args(["/usr/bin/python3", "-c", COUNT, &path, &from]))?;
        if !wait::until(LIMIT, || durable(&guest.log(), known) >= target || !guest.is_running()) {
            return Err(format!("{target} did not become durable: {}", guest.log()));
        }
        kill(&mut guest)?;
        known = durable(&guest.log(), known);
        volume.check()?;
        let found = trials::run(volume.run(round + 1).args(["/usr/bin/python3", "-c", LOOK, &path]), b"")?;
        let last = found.text().trim().parse::<u32>().map_err(|_| found.evidence())?;
        if last < known {
            return Err(format!("{known} was durable, but {last} is there: {}", found.evidence()));
        }
        known = last;
    }
    volume.remove()
}
