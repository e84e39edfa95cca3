//! Boots real servers and drives them with real clients, well-behaved and otherwise.
use coracle_tests::apps::{Network, Running, Service, serve};
use coracle_tests::matrix::{Machine, Mode};
use coracle_tests::{aarch64, known, netns, paths};
use libtest_mimic::Arguments;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

mod churn;
mod echo;
mod memcached;
mod network;
mod redis;
mod web;

/// How many connections are open at once on a tap; QEMU's user network drops bursts of new ones.
const MANY: usize = 1000;
const MANY_ON_USER_NETWORK: usize = 100;
/// What "a megabyte" is.
const MEGABYTE: usize = 1 << 20;

/// Cases that are tried on aarch64 as well, with what Debian built for it.
const ON_AARCH64: [&str; 4] =
    ["memcached_four_threads", "redis_commands", "nginx_files", "python_http_server"];

type Boxed = Box<dyn FnOnce(&Running) -> Result<(), String> + Send>;

/// A server, how to see that it is up, and what is done to it.
struct Case {
    name: &'static str,
    service: fn() -> Result<Service, String>,
    probe: fn(&Running) -> io::Result<()>,
    test: fn(&Running) -> Result<(), String>,
    /// Networks it runs on; a case for both takes turns with the modes.
    networks: &'static [Network],
    cpus: u32,
}

const BOTH: &[Network] = &[Network::User, Network::Tap];
const TAP: &[Network] = &[Network::Tap];

/// All cases. A case's place decides which machines it takes turns on: the order stays.
fn cases() -> impl Iterator<Item = &'static Case> {
    [memcached::CASES, redis::CASES, web::CASES, echo::CASES, network::CASES].into_iter().flatten()
}

fn installed(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is not installed (`make deps` installs it)", path.display()))
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(String::from).collect()
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let known = known::read();
    let tap = netns::possible();
    if !arguments.list {
        paths::coracle();
    }
    let mut trials = Vec::new();
    for (number, case) in cases().enumerate() {
        for (turn, mode) in Mode::ALL.into_iter().enumerate() {
            let network = case.networks[(number + turn) % case.networks.len()];
            let kind = ["microvm", "q35"][(number + turn) / 2 % 2];
            let machine = Machine { mode, cpus: case.cpus, kind };
            let name =
                format!("{}::{machine}_{}", case.name, if network == Network::Tap { "tap" } else { "user" });
            let (service, probe, test) = (case.service, case.probe, case.test);
            let run = move || serve(&service()?, machine, network, probe, Box::new(test) as Boxed);
            let trial = known::trial(&known, name, run);
            // Without the right to make a tap device there is nothing to run such a test on.
            if network == Network::Tap && !tap {
                trials.push(trial.with_ignored_flag(true));
            } else {
                trials.push(trial);
            }
        }
    }
    for case in cases().filter(|case| ON_AARCH64.contains(&case.name)) {
        for mode in Mode::ALL {
            let machine = Machine { mode, cpus: case.cpus, kind: aarch64::MACHINE };
            let (service, probe, test) = (case.service, case.probe, case.test);
            let run = move || {
                let mut service = Service { root: Some(aarch64::root()?), ..service()? };
                // The tree has its own files at their places.
                service.add.retain(|file| file.contains(':'));
                serve(&service, machine, Network::User, probe, Box::new(test) as Boxed)
            };
            trials.push(known::trial(&known, format!("{}::{machine}_user", case.name), run));
        }
    }
    if tap {
        trials.extend(churn::trials());
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
