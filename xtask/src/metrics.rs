//! The table of metrics in the book.
use std::fmt::Write as _;

use coracle_metrics::{Family, GUEST, HOST, Kind};

const HEAD: &str = "# Metrics

<!-- Generated: cargo run -p xtask -- metrics --write docs/src/metrics.md -->

`coracle metrics --listen` serves the metrics of all guests of the user at <http://127.0.0.1:9273/metrics>, `--listen ADDR:PORT` on another
address; without it they are printed once. The format is OpenMetrics 1.0. Each sample has the label `guest`, its name. Guests are those that
were started with `-d` or `--name` and may be asked (`--control observe`, which is usual). One that does not answer within
three seconds has `coracle_guest_up` 0, and no other metrics. `--threads` adds the CPU time of each thread.

```yaml
scrape_configs:
  - job_name: coracle
    static_configs:
      - targets: ['127.0.0.1:9273']
```

`docs/grafana.json` is a dashboard for Grafana: import it, and choose the Prometheus server.

A guest can serve what it knows of itself on a port of its own, without the command: `coracle build --metrics-port 9100` (and `run`; in
`Coracle.toml` `metrics-port = 9100`) has its kernel answer `GET /metrics` there, over IPv4. The samples have no label `guest`. It serves one client at a time, each
for at most five seconds, and whoever reaches the port may ask: publish it (`-p`) only where that is meant. Without the option there is neither a port nor a thread.

A counter's name has `_total` behind it in the samples. Counters begin anew at each boot of a guest.
";

/// The page.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    section(&mut page, "What a guest knows", GUEST);
    section(&mut page, "What the command knows of it", HOST);
    page
}

fn section(page: &mut String, title: &str, families: &[Family]) {
    let _ = write!(page, "\n## {title}\n\n| metric | kind | unit | meaning |\n|---|---|---|---|\n");
    for Family { name, kind, unit, help, .. } in families {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _ = writeln!(page, "| `{name}` | {kind} | {unit} | {help} |");
    }
}
