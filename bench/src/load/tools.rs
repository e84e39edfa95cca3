//! Loads made by the tools people know: memcaslap, redis-benchmark, wrk, iperf3.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Sample, memcached};
use crate::network;
use crate::tools::run;

/// How much longer than asked a tool may take before it is stopped.
const GRACE: u64 = 20;
/// Operations of a redis-benchmark run by which its speed is found out.
const REDIS_TRIAL: u64 = 2000;

/// How long pgbench may take to make its tables.
const PGBENCH_TABLES: Duration = Duration::from_secs(60);

/// How often iperf3 is tried while its server is busy, and the pause between.
const IPERF_TRIES: u32 = 5;
const IPERF_PAUSE: Duration = Duration::from_secs(1);

/// The tool under `timeout`, so that a guest that stalls stops the measurement and not the bench.
fn tool(name: &str, period: Duration) -> Command {
    let mut command = Command::new("timeout");
    command.arg((period.as_secs() + GRACE).to_string()).arg(name);
    command
}

/// memcaslap with its defaults: 90 % get, keys of 64 bytes, values of 1 KB, ASCII protocol.
/// The operations are those memcached says it served, those of memcaslap's own start among them.
pub fn memcaslap(connections: u32, period: Duration) -> Result<Sample> {
    let before = memcached::served()?;
    let start = Instant::now();
    let seconds = period.as_secs().max(1);
    let text = run(tool("memcaslap", period)
        .args(["-s", &format!("{}:{}", network::GUEST, memcached::PORT)])
        .args(["-T", "1", "-c", &connections.to_string(), "-X", "1024", "-w", "1k"])
        .args(["-t", &format!("{seconds}s")]))
    .context("memcaslap failed")?;
    let elapsed = start.elapsed();
    let operations = memcached::served()? - before;
    // "Run time: 5.0s Ops: 31250 TPS: 6249 Net_rate: 6.4M/s"
    let rate = text
        .lines()
        .find_map(|line| line.split_once("TPS: ")?.1.split_whitespace().next()?.parse::<f64>().ok())
        .unwrap_or(operations as f64 / elapsed.as_secs_f64());
    Ok(Sample { operations, rate, p50: None, p99: None })
}

/// One redis-benchmark run of `count` operations.
fn redis_run(test: &str, connections: u32, pipeline: u32, count: u64, period: Duration) -> Result<Sample> {
    let text = run(tool("redis-benchmark", period)
        .args(["-h", &network::GUEST.to_string(), "-p", "6379", "--csv"])
        .args(["-t", test, "-c", &connections.to_string(), "-P", &pipeline.to_string()])
        .args(["-n", &count.to_string()]))
    .context("redis-benchmark failed")?;
    // "GET","6250.00","7.9","1.1","7.8","9.0","9.9","20.1": rps, avg, min, p50, p95, p99, max (milliseconds)
    let line = text
        .lines()
        .find(|line| line.to_lowercase().starts_with(&format!("\"{test}")))
        .with_context(|| format!("redis-benchmark gave no result for {test}:\n{text}"))?;
    let fields: Vec<f64> =
        line.split(',').filter_map(|field| field.trim_matches('"').parse::<f64>().ok()).collect();
    Ok(Sample {
        operations: count,
        rate: fields.first().copied().unwrap_or(0.0),
        p50: fields.get(3).map(|millis| millis * 1000.0),
        p99: fields.get(5).map(|millis| millis * 1000.0),
    })
}

/// redis-benchmark for about `period`.
pub fn redis_benchmark(test: &str, connections: u32, pipeline: u32, period: Duration) -> Result<Sample> {
    let trial = redis_run(test, connections, pipeline, REDIS_TRIAL, period)?;
    let count = ((trial.rate * period.as_secs_f64()) as u64).max(REDIS_TRIAL);
    let mut sample = redis_run(test, connections, pipeline, count, period)?;
    sample.operations += trial.operations;
    Ok(sample)
}

/// pgbench as its user has it: where the server is, and no cleaning up of tables that are new.
fn pgbench_command(period: Duration) -> Command {
    let mut command = tool("/usr/lib/postgresql/15/bin/pgbench", period);
    command.args(["-h", &network::GUEST.to_string(), "-U", "postgres"]);
    command
}

/// Makes the tables of pgbench, at its smallest scale.
pub fn pgbench_tables() -> Result<()> {
    run(pgbench_command(PGBENCH_TABLES).args(["-i", "-s", "1", "-q", "postgres"]))
        .context("pgbench made no tables")?;
    Ok(())
}

/// pgbench's transactions on one thread.
pub fn pgbench(clients: u32, period: Duration) -> Result<Sample> {
    let text = run(pgbench_command(period).args([
        "-n",
        "-c",
        &clients.to_string(),
        "-T",
        &period.as_secs().max(1).to_string(),
        "postgres",
    ]))
    .context("pgbench failed")?;
    let field = |mark: &str| text.lines().find_map(|line| Some(line.strip_prefix(mark)?.trim().to_owned()));
    let operations = field("number of transactions actually processed:")
        .and_then(|count| count.parse().ok())
        .with_context(|| format!("pgbench printed no count:\n{text}"))?;
    let rate = field("tps =").and_then(|rate| rate.split_whitespace().next()?.parse().ok()).unwrap_or(0.0);
    Ok(Sample { operations, rate, p50: None, p99: None })
}

/// wrk on one thread.
pub fn wrk(port: u16, path: &str, connections: u32, keep_alive: bool, period: Duration) -> Result<Sample> {
    let mut command = tool("wrk", period);
    command.args(["-t1", "-c", &connections.to_string(), "--latency", "--timeout", "5s"]);
    command.args(["-d", &format!("{}s", period.as_secs().max(1))]);
    if !keep_alive {
        command.args(["-H", "Connection: close"]);
    }
    let text = run(command.arg(format!("http://{}:{port}{path}", network::GUEST))).context("wrk failed")?;
    let field =
        |mark: &str| text.lines().find_map(|line| Some(line.trim().strip_prefix(mark)?.trim().to_owned()));
    if let Some(errors) = field("Non-2xx or 3xx responses:") {
        bail!("wrk got {errors} answers that are errors");
    }
    let operations = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
        .with_context(|| format!("wrk printed no count:\n{text}"))?;
    let rate = field("Requests/sec:").and_then(|rate| rate.parse().ok()).unwrap_or(0.0);
    Ok(Sample {
        operations,
        rate,
        p50: field("50%").and_then(|text| micros(&text)),
        p99: field("99%").and_then(|text| micros(&text)),
    })
}

/// A duration as wrk prints it ("853.00us", "12.3ms", "1.02s"), in microseconds.
fn micros(text: &str) -> Option<f64> {
    let (number, factor) = if let Some(number) = text.strip_suffix("us") {
        (number, 1.0)
    } else if let Some(number) = text.strip_suffix("ms") {
        (number, 1e3)
    } else {
        (text.strip_suffix('s')?, 1e6)
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// One TCP stream; an operation is a byte.
pub fn iperf3(to_guest: bool, period: Duration) -> Result<Sample> {
    for _ in 0..IPERF_TRIES {
        match iperf3_once(to_guest, period)? {
            Ok(sample) => return Ok(sample),
            // The server takes one test at a time, and is slow to forget the one before; a version of it listens anew then, and
            // what connected to it by then is reset.
            Err(error)
                if [
                    "busy",
                    "refused",
                    "control message: Connection reset",
                    "connect to server: Connection reset",
                ]
                .iter()
                .any(|s| error.contains(s)) =>
            {
                std::thread::sleep(IPERF_PAUSE)
            }
            Err(error) => bail!("iperf3: {error}"),
        }
    }
    bail!("iperf3's server in the guest stays busy")
}

/// One test; the inner error is what iperf3 says went wrong.
fn iperf3_once(to_guest: bool, period: Duration) -> Result<Result<Sample, String>> {
    let mut command = tool("iperf3", period);
    command.args(["-c", &network::GUEST.to_string(), "-p", "5201", "-J"]);
    command.args(["-t", &period.as_secs().max(1).to_string()]);
    if !to_guest {
        command.arg("-R");
    }
    // Its errors are in what it prints, whatever its status.
    let output = command.output().context("cannot run iperf3")?;
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).context("iperf3 failed")?;
    if let Some(error) = json["error"].as_str() {
        return Ok(Err(error.to_owned()));
    }
    // What the client sent, or received from the guest.
    let end = &json["end"][if to_guest { "sum_sent" } else { "sum_received" }];
    let bytes = end["bytes"].as_u64().context("iperf3 told no byte count")?;
    let seconds = end["seconds"].as_f64().unwrap_or(period.as_secs_f64());
    Ok(Ok(Sample { operations: bytes, rate: bytes as f64 / seconds, p50: None, p99: None }))
}

#[cfg(test)]
mod tests {
    use super::micros;

    #[test]
    fn durations_of_wrk_are_understood() {
        assert_eq!(micros("853.00us"), Some(853.0));
        assert_eq!(micros("12.5ms"), Some(12500.0));
        assert_eq!(micros("1.5s"), Some(1.5e6));
        assert_eq!(micros("soon"), None);
    }
}
