//! Databases whose guest is killed under load: what they acknowledged is there afterwards, and the file system is whole.
//!
//! QEMU is ended by SIGKILL when a chosen number of writes was acknowledged. What the guest had in its memory is lost then; what it
//! had flushed is in the host's page cache, and is there. `e2fsck -fn` finds nothing after each kill.
//!
//! `CORACLE_KILLS` says how many guests are killed in all (10); `make test-crash` kills 200. `CORACLE_SEED` sets where chance starts.
mod mapping;
mod postgres;
mod redis;
mod sqlite;
mod volume;

use coracle_tests::known;
use libtest_mimic::{Arguments, Trial};
use std::env;
use std::path::Path;
use std::process::ExitCode;

/// Guests that are killed unless `CORACLE_KILLS` says otherwise.
const KILLS: u32 = 10;

/// A database under a kind of load.
struct Case {
    name: &'static str,
    /// A program without which the host can't drive or run it.
    needs: &'static str,
    /// Its share of ten guests that are killed.
    share: u32,
    test: fn(kills: u32, chance: &mut Chance) -> Result<(), String>,
}

const CASES: &[Case] = &[
    Case { name: "mapping", needs: "/usr/bin/python3", share: 2, test: mapping::synced },
    Case { name: "redis_log", needs: "/usr/bin/redis-server", share: 3, test: redis::log },
    Case { name: "redis_snapshots", needs: "/usr/bin/redis-server", share: 2, test: redis::snapshots },
    Case {
        name: "sqlite_rollback_journal",
        needs: "/usr/bin/sqlite3",
        share: 2,
        test: sqlite::rollback_journal,
    },
    Case {
        name: "sqlite_write_ahead_log",
        needs: "/usr/bin/sqlite3",
        share: 2,
        test: sqlite::write_ahead_log,
    },
    Case { name: "postgres", needs: postgres::SERVER, share: 1, test: postgres::commits },
];

/// Numbers by chance that a seed repeats (Knuth's MMIX generator).
struct Chance(u64);

impl Chance {
    /// A number from `least` to below `end`.
    fn between(&mut self, least: u32, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        least + (self.0 >> 33) as u32 % (end - least)
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let known = known::read();
    let kills = number("CORACLE_KILLS").map_or(KILLS, |kills| kills as u32);
    let seed = number("CORACLE_SEED").unwrap_or(1);
    let trial = |case: &'static Case| -> Trial {
        let kills = (kills * case.share).div_ceil(KILLS);
        let test = move || {
            (case.test)(kills, &mut Chance(seed)).map_err(|error| format!("CORACLE_SEED={seed}: {error}"))
        };
        known::trial(&known, format!("databases::{}", case.name), test)
            .with_ignored_flag(!Path::new(case.needs).exists())
    };
    libtest_mimic::run(&arguments, CASES.iter().map(trial).collect()).exit_code()
}
