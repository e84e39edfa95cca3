//! Debian's sqlite3: each transaction changes two tables and an index.
use crate::Chance;
use crate::volume::{AT, Volume, kill};
use coracle_tests::guest::{LIMIT, Server};
use coracle_tests::{trials, wait};
use std::io::Write as _;

/// Transactions that a guest is given, and those that are acknowledged before the kill, at most.
const GIVEN: u32 = 4000;
const MOST: u32 = 150;

/// The journal that is deleted at each commit. That the deletion is durable takes `EXTRA`, by which sqlite syncs the directory as well; with
/// `FULL` the last transaction may be undone when the power fails (its manual, PRAGMA synchronous).
pub fn rollback_journal(kills: u32, chance: &mut Chance) -> Result<(), String> {
    survives("sqlite_rollback_journal", ["DELETE", "EXTRA"], kills, chance)
}

/// The log from which the database is brought up to date now and then.
pub fn write_ahead_log(kills: u32, chance: &mut Chance) -> Result<(), String> {
    survives("sqlite_write_ahead_log", ["WAL", "FULL"], kills, chance)
}

fn database() -> String {
    format!("{AT}/database")
}

fn survives(
    test: &str,
    [journal, synchronous]: [&str; 2],
    kills: u32,
    chance: &mut Chance,
) -> Result<(), String> {
    let volume = Volume::new(test)?;
    let made = trials::run(
        volume.run(0).args(["sqlite3", &database()]),
        format!(
            "PRAGMA journal_mode={journal}; CREATE TABLE entry(number INTEGER PRIMARY KEY, text); CREATE INDEX by_text ON entry(text); \
             CREATE TABLE last(number); INSERT INTO last VALUES(0);"
        )
        .as_bytes(),
    )?;
    trials::check(&made, 0, &format!("{}\n", journal.to_lowercase()))?;
    let mut known = 0;
    for round in 0..kills {
        let target = known + chance.between(1, MOST);
        let last = write_until(&volume, round, synchronous, known, target)?;
        volume.check()?;
        known = check(&volume, round, last)?;
    }
    volume.remove()
}

/// Writes transactions from `known` on, and kills the guest when it has acknowledged the one of that number; returns the last one that it
/// acknowledged.
fn write_until(
    volume: &Volume,
    round: u32,
    synchronous: &str,
    known: u32,
    target: u32,
) -> Result<u32, String> {
    let mut input = format!("PRAGMA synchronous={synchronous}; PRAGMA wal_autocheckpoint=20;\n");
    for number in known + 1..=known + GIVEN {
        input += &format!(
            "BEGIN; INSERT INTO entry VALUES({number}, hex(randomblob(200))); UPDATE last SET number={number}; COMMIT; SELECT 'acknowledged {number}';\n"
        );
    }
    let mut guest = Server::start(volume.run(round).args(["sqlite3", &database()]))?;
    let mut stdin = guest.stdin().ok_or("the command has no standard input")?;
    // Ends with the guest.
    let feeder = std::thread::spawn(move || {
        let _ = stdin.write_all(input.as_bytes());
    });
    let acknowledged = |log: &str| {
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let number = |line: &str| line.strip_prefix("acknowledged ")?.trim().parse::<u32>().ok();
        whole.lines().filter_map(number).max().unwrap_or(known)
    };
    let came = wait::until(LIMIT, || acknowledged(&guest.log()) >= target || !guest.is_running());
    kill(&mut guest)?;
    let _ = feeder.join();
    match came {
        true => Ok(acknowledged(&guest.log())),
        false => Err(format!("transaction {target} was not acknowledged: {}", guest.log())),
    }
}

/// Returns the last transaction that is there, which may be one more than was acknowledged.
fn check(volume: &Volume, round: u32, acknowledged: u32) -> Result<u32, String> {
    let queries =
        "PRAGMA integrity_check; SELECT count(*), max(number), (SELECT number FROM last) FROM entry;";
    let found = trials::run(volume.run(round + 1).args(["sqlite3", &database(), queries]), b"")?;
    let text = found.text();
    let numbers: Vec<u32> =
        text.lines().nth(1).unwrap_or_default().split('|').filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [count, max, last]
            if text.starts_with("ok\n") && count == max && max == last && max >= acknowledged =>
        {
            Ok(last)
        }
        _ => Err(format!("{acknowledged} transactions were acknowledged, but: {}", found.evidence())),
    }
}
