//! Starting a guest again when it has ended: `coracle run --restart`.
//!
//! The command that runs a guest is its supervisor. To start the guest again it executes itself (execve(2)), with the same words: so each run
//! of a guest begins as the first one did, in the same process, and nothing of an earlier run is left in it. The name stays locked
//! all the time: the descriptor that holds it is passed on.

use std::fmt;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::detach;
use super::guest::End;
use super::stop::Forced;
use crate::args::OnFailure;
use crate::error::{self, Error, Result, note};
use crate::instances::{Claim, Phase};
use crate::log::Logger;

/// Names the environment variable with what an execution of this command hands to the next.
const MARK: &str = "CORACLE_ATTEMPT";
/// The first wait, which doubles each time (as docker's).
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A guest that ran for so long is not in a loop of failures: the next wait is the first again.
const STEADY: Duration = Duration::from_secs(10);
/// How often a wait looks whether it should end.
const GLANCE: Duration = Duration::from_millis(10);

/// A signal has asked this command to end the guest.
static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// When a guest that has ended starts again by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// If its status is not 0, so many times at most.
    OnFailure(Option<u32>),
    /// Unless `coracle stop` or a signal has ended it.
    Always,
    /// The same; and after a boot of the host, unless it was stopped before.
    UnlessStopped,
}

impl FromStr for Restart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, most) = match text.split_once(':') {
            Some((word, most)) => (word, Some(most)),
            None => (text, None),
        };
        match (word, most) {
            ("no", None) => Ok(Restart::No),
            ("always", None) => Ok(Restart::Always),
            ("unless-stopped", None) => Ok(Restart::UnlessStopped),
            ("on-failure", None) => Ok(Restart::OnFailure(None)),
            ("on-failure", Some(most)) => {
                let most = most.parse().map_err(|_| format!("`{most}` is not a number of times"))?;
                Ok(Restart::OnFailure(Some(most)))
            }
            _ => Err("a policy is no, on-failure, on-failure:N, always or unless-stopped".to_owned()),
        }
    }
}

impl TryFrom<String> for Restart {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Restart> for String {
    fn from(policy: Restart) -> String {
        policy.to_string()
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Restart::No => f.write_str("no"),
            Restart::OnFailure(None) => f.write_str("on-failure"),
            Restart::OnFailure(Some(most)) => write!(f, "on-failure:{most}"),
            Restart::Always => f.write_str("always"),
            Restart::UnlessStopped => f.write_str("unless-stopped"),
        }
    }
}

/// Which run of the guest this is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Runs before this one.
    pub restarts: u32,
    /// The wait before this one.
    delay: Duration,
}

impl Attempt {
    /// The one of this execution. From the second on, signals are minded from here on, not only once there is a machine.
    pub fn begin() -> Self {
        let parse = |text: String| {
            let (restarts, delay) = text.split_once(':')?;
            let delay = Duration::from_millis(delay.parse().ok()?);
            Some(Attempt { restarts: restarts.parse().ok()?, delay })
        };
        let attempt = std::env::var(MARK).ok().and_then(parse).unwrap_or_default();
        if attempt.is_later() {
            for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
                // It can't fail for these.
                let _ = signal_hook::flag::register(signal, Arc::clone(&ASKED));
            }
        }
        attempt
    }

    /// Whether the guest ran before.
    pub fn is_later(self) -> bool {
        self.restarts > 0
    }

    /// The next, if the policy wants one after a run that took `ran`.
    fn next(self, policy: Restart, failed: bool, ran: Duration) -> Option<Self> {
        let is_wanted = match policy {
            Restart::No => false,
            Restart::OnFailure(most) => failed && most.is_none_or(|most| self.restarts < most),
            Restart::Always | Restart::UnlessStopped => true,
        };
        let doubled = self.delay.saturating_mul(2).clamp(FIRST_DELAY, LONGEST_DELAY);
        let delay = if ran > STEADY { FIRST_DELAY } else { doubled };
        is_wanted.then_some(Attempt { restarts: self.restarts.saturating_add(1), delay })
    }
}

/// Notes that a signal has asked this command to end the guest.
pub fn ask_to_end() {
    ASKED.store(true, Ordering::SeqCst);
}

/// What is known of a guest when it has ended.
#[derive(Default)]
pub struct Life {
    /// Its name, if it has one.
    pub claim: Option<Arc<Claim>>,
    /// When it starts again.
    pub policy: Restart,
    /// It leaves nothing behind.
    pub is_forgotten: bool,
    /// When its machine was started.
    pub started: Option<Instant>,
    /// Nothing but errors is to be said.
    pub is_quiet: bool,
    /// What a check of its health has done to it, if it was unhealthy.
    pub by_health: Arc<OnceLock<OnFailure>>,
    /// Takes the guest's lines.
    pub logger: Arc<Logger>,
    /// It takes what this command says, too: there is no one else to say it to.
    pub is_background: bool,
}

impl Life {
    /// Notes that its machine has been started. If its end was asked for before that, it is ended now.
    ///
    /// # Errors
    /// If that can't be written down.
    pub fn start(claim: Option<&Claim>, summary: &str) -> Result<()> {
        if let Some(claim) = claim {
            claim.started(summary)?;
        }
        if is_asked(claim) {
            // The same way as later.
            let _ = kill_process(getpid(), Signal::TERM);
        }
        Ok(())
    }

    /// Starts the guest again if its policy wants that, and does not return then. Else returns its status.
    pub fn end(self, attempt: Attempt, result: Result<End>) -> Result<u8> {
        let claim = self.claim.as_deref();
        let (status, killed, asked) = match &result {
            // One that was ended before its program ran is not one that did not end in time.
            Ok(end) => {
                let killed = end.forced.is_some_and(|how| !matches!(how, Forced::Early(_)));
                (end.status, killed, end.asked)
            }
            Err(error) => (error.status(), false, false),
        };
        let (policy, asked) = match self.by_health.get() {
            Some(OnFailure::Restart) => (Restart::Always, false),
            Some(OnFailure::Kill) => (self.policy, false),
            Some(OnFailure::None | OnFailure::Stop) | None => (self.policy, asked),
        };
        let can = (self.started.is_some() || attempt.is_later()) && !asked && !is_asked(claim);
        let ran = self.started.map_or(Duration::ZERO, |started| started.elapsed());
        if let Some(next) = attempt.next(policy, status != 0, ran).filter(|_| can) {
            match &result {
                Err(error) if self.is_background => note(error.text()),
                Err(error) => error.print(),
                Ok(_) => {}
            }
            if let Some(claim) = claim {
                claim.ended(status, killed, Phase::Restarting)?;
                claim.change(|state| state.restarts = next.restarts);
            }
            if !self.is_quiet {
                let delay = next.delay.as_secs_f64();
                note(format_args!(
                    "the guest has ended with status {status}; it starts again in {delay:.1} s"
                ));
            }
            let until = Instant::now() + next.delay;
            while Instant::now() < until && !is_asked(claim) {
                thread::sleep(GLANCE.min(next.delay));
            }
            if !is_asked(claim) {
                self.end_log();
                return Err(execute(next, claim));
            }
        } else if let (Err(error), true) = (&result, self.is_background) {
            // The end of this command says it, but where it is not read.
            note(error.text());
        }
        self.end_log();
        if let Some(claim) = self.claim {
            if let Err(error) = claim.ended(status, killed, Phase::Ended) {
                error.print();
            }
            if self.is_forgotten {
                claim.forget()?;
            }
        }
        result.map(|end| end.status)
    }
}

impl Life {
    /// Waits until the log has what was said.
    fn end_log(&self) {
        error::tap_notes(None);
        self.logger.end();
    }
}

fn is_asked(claim: Option<&Claim>) -> bool {
    ASKED.load(Ordering::SeqCst) || claim.is_some_and(Claim::is_to_stop)
}

/// The path of this command, also if a newer one has taken its place.
///
/// # Errors
/// If /proc is not there.
pub fn own_path() -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(|error| Error::new("cannot find this command").why(error))?;
    Ok(if own.exists() { own } else { Path::new("/proc/self/exe").to_owned() })
}

/// Executes this command anew. Returns only if that fails.
fn execute(next: Attempt, claim: Option<&Claim>) -> Error {
    let run = || -> Result<Error> {
        let mut words = std::env::args_os();
        let mut command = Command::new(own_path()?);
        command.arg0(words.next().unwrap_or_default()).args(words);
        command.env(MARK, format!("{}:{}", next.restarts, next.delay.as_millis()));
        if let Some(claim) = claim {
            claim.pass(&mut command)?;
            detach::rename(&mut command, &claim.name()?);
        }
        Ok(Error::new("cannot start the guest again").why(command.exec()))
    };
    run().unwrap_or_else(|error| error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    #[test]
    fn policies_are_read_and_written() {
        for text in ["no", "on-failure", "on-failure:3", "always", "unless-stopped"] {
            assert_eq!(text.parse::<Restart>().unwrap().to_string(), text);
        }
        for wrong in ["", "never", "always:3", "on-failure:", "on-failure:-1", "on-failure:x", "no:1"] {
            assert!(wrong.parse::<Restart>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew_after_a_steady_run() {
        let mut attempt = Attempt::default();
        let mut waits = Vec::new();
        for _ in 0..12 {
            attempt = attempt.next(Restart::Always, false, SHORT).unwrap();
            waits.push(attempt.delay.as_millis());
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        let steady = attempt.next(Restart::Always, false, Duration::from_secs(11)).unwrap();
        assert_eq!((steady.delay, steady.restarts), (FIRST_DELAY, 13));
    }

    #[test]
    fn failures_only_and_not_too_often() {
        let policy = Restart::OnFailure(Some(2));
        let first = Attempt::default();
        assert_eq!(first.next(policy, false, SHORT), None);
        assert_eq!(first.next(Restart::No, true, SHORT), None);
        let second = first.next(policy, true, SHORT).unwrap();
        let third = second.next(policy, true, SHORT).unwrap();
        assert_eq!(third.next(policy, true, SHORT), None);
        assert!(third.next(Restart::OnFailure(None), true, SHORT).is_some());
    }
}
