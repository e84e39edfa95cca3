//! Checks of a guest's health while it runs: `--health-tcp`, `--health-http` and `--health-cmd`.
//!
//! They are made inside the guest, by requests over the control port, so that they need no published port. One is made every interval,
//! the first when the program has started. The rules are docker's: a success makes a guest healthy; as many failures as
//! `--health-retries` says, one after the other, make it unhealthy, but those within the start period don't count as long as no check
//! has succeeded.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use coracle_control::{LifeRequest, Request};
use coracle_image::Access;
use rustix::io::Errno;
use signal_hook::consts::SIGTERM;

use super::requests::Switchboard;
use super::stop::{Forced, Guest};
use crate::args::{HealthArgs, OnFailure};
use crate::error::{Error, Result, note, warn};
use crate::instances::{Claim, Health, Verdict};

/// How often something that is waited for is looked at.
const GLANCE: Duration = Duration::from_millis(20);
/// Bytes of what a command says that are kept.
const MOST_SAID: u64 = 512;
/// Bytes of the start of an HTTP answer that have its status: `HTTP/1.1 200`.
const STATUS_BYTES: usize = 12;

/// What is checked, and how often.
#[derive(Clone, Debug)]
pub struct Plan {
    args: HealthArgs,
    interval: Duration,
    timeout: Duration,
    retries: u32,
    start_period: Duration,
}

impl Plan {
    /// The plan that the options make for a guest that answers so much; `None`: there is nothing to check.
    ///
    /// # Errors
    /// If the guest does not answer enough, or a command means nothing.
    pub fn checked(args: HealthArgs, access: Access, is_named: bool) -> Result<Option<Self>> {
        let plan = Self::new(args);
        let Some(plan) = &plan else { return Ok(None) };
        let fail = |what: &str| Err(Error::new(format!("the guest's health cannot be checked {what}")));
        if access == Access::None {
            return fail("with `--control none`").map_err(|error| {
                error.why("checks are requests that the guest answers").help(match &plan.args.cmd {
                    Some(_) => "allow `--control full`, or leave out the checks",
                    None => "allow `--control observe`, or leave out the checks",
                })
            });
        }
        if let Some(command) = &plan.args.cmd {
            if shlex::split(command).is_none_or(|words| words.is_empty()) {
                return fail("by an empty command, or one with quotes that do not end");
            }
            if access != Access::Full {
                return fail("by a command").map_err(|error| {
                    error
                        .why("starting a program in the guest needs `--control full`")
                        .help("allow it, or use --health-tcp or --health-http")
                });
            }
            if !is_named {
                return fail("by a command").map_err(|error| {
                    error
                        .why("the guest has no name by which it could be asked")
                        .help("give it one with --name")
                });
            }
        }
        Ok(Some(plan.clone()))
    }

    fn new(args: HealthArgs) -> Option<Self> {
        const INTERVAL: Duration = Duration::from_secs(30);
        const TIMEOUT: Duration = Duration::from_secs(30);
        const RETRIES: u32 = 3;
        args.has_check().then(|| Plan {
            interval: args.interval.map_or(INTERVAL, |time| time.0).max(GLANCE),
            timeout: args.timeout.map_or(TIMEOUT, |time| time.0).max(GLANCE),
            retries: args.retries.unwrap_or(RETRIES),
            start_period: args.start_period.map_or(Duration::ZERO, |time| time.0),
            args,
        })
    }
}

/// Checks a guest until it has ended.
pub struct Checker {
    /// What is checked.
    pub plan: Plan,
    /// The guest.
    pub guest: Arc<Guest>,
    /// Asks it.
    pub switchboard: Arc<Switchboard>,
    /// Where the result is written, if the guest has a name.
    pub claim: Option<Arc<Claim>>,
    /// How long its program may take to end.
    pub grace: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// Takes what is done to it, before it is.
    pub action: Arc<OnceLock<OnFailure>>,
}

impl Checker {
    /// Checks on a thread of its own.
    pub fn start(self) {
        thread::spawn(move || self.run());
    }

    fn run(&self) {
        let began = Instant::now();
        let mut health = Health::default();
        self.publish(&health);
        while !self.guest.ready().load(Ordering::SeqCst) {
            if !self.pause(GLANCE) {
                return;
            }
        }
        loop {
            let next = Instant::now() + self.plan.interval;
            let result = self.check();
            if self.guest.is_ending() || self.guest.is_gone() {
                return;
            }
            let before = health.status;
            judge(&mut health, &self.plan, began.elapsed(), result);
            self.publish(&health);
            if health.status != before {
                self.tell(&health);
                if health.status == Verdict::Unhealthy && self.act() {
                    return;
                }
            }
            if !self.pause(next.saturating_duration_since(Instant::now())) {
                return;
            }
        }
    }

    /// Waits; false if the guest has ended meanwhile.
    fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.guest.is_gone() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(GLANCE));
        }
        false
    }

    fn publish(&self, health: &Health) {
        if let Some(claim) = &self.claim {
            claim.change(|state| state.health = Some(health.clone()));
        }
    }

    fn tell(&self, health: &Health) {
        match health.status {
            Verdict::Unhealthy => warn(format_args!("the guest is unhealthy: {}", health.last)),
            status => note(format_args!("the guest is {status}")),
        }
    }

    /// Does what is to be done with an unhealthy guest; true if it ends.
    fn act(&self) -> bool {
        let action = self.plan.args.on_failure.unwrap_or_default();
        if action == OnFailure::None {
            return false;
        }
        // It is the first: this thread ends with it.
        let _ = self.action.set(action);
        match action {
            OnFailure::Kill => self.guest.force(Forced::AtOnce),
            // As `coracle stop` does: the guest's volumes are written back.
            _ => self.guest.ask(SIGTERM, || (self.grace)()),
        }
        true
    }

    /// Makes one check: an error says what is wrong.
    fn check(&self) -> Result<String, String> {
        let args = &self.plan.args;
        let until = Instant::now() + self.plan.timeout;
        match (args.tcp, &args.http) {
            (Some(port), _) => self.probe(port, "", until).map(|_| format!("port {port} takes connections")),
            (None, Some(page)) => {
                let answer = self.probe(page.port, &page.path, until)?;
                http_status(&answer, &page.path)
            }
            (None, None) => self.execute(args.cmd.as_deref().unwrap_or_default(), until),
        }
    }

    /// Runs a program in the guest, as `coracle exec` does.
    fn execute(&self, command: &str, until: Instant) -> Result<String, String> {
        let name = self.claim.as_ref().ok_or("the guest has no name")?.name();
        let name = name.map_err(|error| error.to_string())?;
        let text = |error: std::io::Error| error.to_string();
        let own = super::supervise::own_path().map_err(|error| error.to_string())?;
        let mut child = Command::new(own)
            .args(["exec", &name])
            .args(shlex::split(command).unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(text)?;
        let stderr = child.stderr.take();
        // Read meanwhile: a program that says much must not wait.
        let said = thread::spawn(move || {
            let (mut said, mut rest) = (Vec::new(), std::io::sink());
            if let Some(mut stderr) = stderr {
                let _ = stderr.by_ref().take(MOST_SAID).read_to_end(&mut said);
                let _ = std::io::copy(&mut stderr, &mut rest);
            }
            String::from_utf8_lossy(&said).trim_end().to_owned()
        });
        let status = loop {
            if let Some(status) = child.try_wait().map_err(text)? {
                break status;
            }
            if Instant::now() >= until || !self.pause(GLANCE) {
                // Its connection ends with it, and with that what it has started in the guest.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("the command did not end within {} s", self.plan.timeout.as_secs_f64()));
            }
        };
        match status.code() {
            Some(0) => Ok("the command ended with 0".to_owned()),
            code => {
                let code = code.unwrap_or_default();
                Err(format!("the command ended with {code}: {}", said.join().unwrap_or_default()))
            }
        }
    }

    /// Connects to a port; with a path, returns the beginning of the answer.
    fn probe(&self, port: u16, path: &str, until: Instant) -> Result<Vec<u8>, String> {
        let ask = |request| {
            let left = until.saturating_duration_since(Instant::now());
            self.switchboard.request(Request::Life(request), &self.guest, left)
        };
        let slow = || format!("no answer within {} s", self.plan.timeout.as_secs_f64());
        let explain = |error: Errno| match error {
            Errno::CONNREFUSED => format!("nothing takes connections at port {port}"),
            Errno::TIMEDOUT => slow(),
            Errno::PERM => "the guest answers no requests (--control none)".to_owned(),
            Errno::NOSYS => "the kernel in the image is older than this command".to_owned(),
            error => std::io::Error::from(error).to_string(),
        };
        ask(LifeRequest::Probe { port, path: path.as_bytes() }).map_err(explain)?;
        let mut answer = Vec::new();
        let result = loop {
            match ask(LifeRequest::ProbeResult) {
                Ok(bytes) => answer.extend(bytes),
                Err(Errno::AGAIN) => {
                    if Instant::now() >= until || !self.pause(GLANCE) {
                        break Err(slow());
                    }
                    continue;
                }
                // What came before the end is judged by the caller.
                Err(Errno::PIPE) => break Ok(answer),
                Err(error) => break Err(explain(error)),
            }
            if path.is_empty() || answer.len() >= STATUS_BYTES {
                break Ok(answer);
            }
        };
        // A guest that has ended meanwhile has closed it.
        let _ = ask(LifeRequest::Probe { port: 0, path: b"" });
        result
    }
}

/// Takes the result of a check into account. `age`: how long the guest has run.
fn judge(health: &mut Health, plan: &Plan, age: Duration, result: Result<String, String>) {
    match result {
        Ok(found) => *health = Health { status: Verdict::Healthy, failures: 0, last: found },
        Err(why) => {
            health.last = why;
            if health.status == Verdict::Starting && age < plan.start_period {
                return;
            }
            health.failures = health.failures.saturating_add(1);
            if health.failures >= plan.retries {
                health.status = Verdict::Unhealthy;
            }
        }
    }
}

/// Judges the beginning of an answer by its status (RFC 9110, section 15).
fn http_status(answer: &[u8], path: &str) -> Result<String, String> {
    let text = String::from_utf8_lossy(answer);
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse::<u16>().ok());
    match status {
        Some(status @ 200..400) => Ok(format!("{path} has status {status}")),
        Some(status) => Err(format!("{path} has status {status}")),
        None if answer.is_empty() => Err("the connection was closed without an answer".to_owned()),
        None => Err("the answer is not HTTP".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(retries: u32, start_period_s: u64) -> Plan {
        let start_period = format!("{start_period_s}s").parse().ok();
        let args =
            HealthArgs { tcp: Some(80), retries: Some(retries), start_period, ..HealthArgs::default() };
        Plan::new(args).unwrap()
    }

    #[test]
    fn failures_count_one_after_the_other() {
        let (plan, mut health) = (plan(2, 0), Health::default());
        let mut judged = |result: Result<&str, &str>| {
            let result = result.map(str::to_owned).map_err(str::to_owned);
            judge(&mut health, &plan, Duration::ZERO, result);
            (health.status, health.failures)
        };
        assert_eq!(judged(Err("no")), (Verdict::Starting, 1));
        assert_eq!(judged(Ok("yes")), (Verdict::Healthy, 0));
        assert_eq!(judged(Err("no")), (Verdict::Healthy, 1));
        assert_eq!(judged(Ok("yes")), (Verdict::Healthy, 0));
        assert_eq!(judged(Err("no")), (Verdict::Healthy, 1));
        assert_eq!(judged(Err("no")), (Verdict::Unhealthy, 2));
        assert_eq!(judged(Ok("yes")), (Verdict::Healthy, 0));
    }

    #[test]
    fn failures_at_the_start_do_not_count() {
        let (plan, mut health) = (plan(1, 10), Health::default());
        judge(&mut health, &plan, Duration::from_secs(9), Err("not yet".to_owned()));
        assert_eq!((health.status, health.failures), (Verdict::Starting, 0));
        judge(&mut health, &plan, Duration::from_secs(10), Err("still not".to_owned()));
        assert_eq!((health.status, health.failures), (Verdict::Unhealthy, 1));
    }

    #[test]
    fn statuses_of_http() {
        let is_good = |answer: &str| http_status(answer.as_bytes(), "/").is_ok();
        assert!(is_good("HTTP/1.1 200 OK\r\n") && is_good("HTTP/1.0 302") && is_good("HTTP/1.1 204"));
        for bad in ["HTTP/1.1 404 Not Found", "HTTP/1.1 500", "HTTP/1.1 100", "", "SSH-2.0-x", "HTTP/1.1 2"] {
            assert!(!is_good(bad), "{bad}");
        }
    }
}
