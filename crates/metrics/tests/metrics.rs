//! Texts as /proc has them, and as a Prometheus gets them.
use coracle_metrics::{Files, GUEST, HOST, Kind, Rule, samples, write_head, write_sample};

struct Texts(&'static [(&'static str, &'static str)]);

impl Files for Texts {
    fn lines(&mut self, path: &str, take: &mut dyn FnMut(&str)) {
        self.0.iter().filter(|(own, _)| *own == path).for_each(|(_, text)| text.lines().for_each(&mut *take));
    }
    fn numbers(&mut self, _path: &str) -> u64 {
        3
    }
}

fn written(texts: &'static [(&'static str, &'static str)], name: &str) -> String {
    let family = GUEST.iter().find(|family| family.name == name).expect("a family of that name");
    let mut out = String::new();
    write_head(&mut out, family).expect("a text takes all");
    samples(&mut Texts(texts), family, &mut |sample| {
        write_sample(&mut out, family, &[("name", "a\"b")], sample).expect("a text takes all");
    });
    out
}

#[test]
fn values_are_found() {
    let stat = &[("/proc/stat", "cpu  1 0 0 2\ncpu0 150 0 7 20 1 0 0\nctxt 77\nprocs_running 1\n")];
    let text = written(stat, "coracle_cpu_seconds");
    assert_eq!(
        text,
        "# TYPE coracle_cpu_seconds counter\n# UNIT coracle_cpu_seconds seconds\n\
         # HELP coracle_cpu_seconds Time of each CPU, busy and idle.\n\
         coracle_cpu_seconds_total{name=\"a\\\"b\",cpu=\"0\",mode=\"busy\"} 1.57\n\
         coracle_cpu_seconds_total{name=\"a\\\"b\",cpu=\"0\",mode=\"idle\"} 0.21\n"
    );
    let ends =
        |texts, name, end: &str| assert!(written(texts, name).ends_with(end), "{}", written(texts, name));
    ends(stat, "coracle_context_switches", "} 77\n");
    ends(&[("/proc/uptime", "12.5 3\n")], "coracle_uptime_seconds", "} 12.50\n");
    ends(&[("/proc/loadavg", "0 0 0 1/42 9\n")], "coracle_threads", "} 42\n");
    ends(
        &[("/proc/meminfo", "MemTotal:  2 kB\nMemFree: 1 kB\n")],
        "coracle_memory_bytes",
        "kind=\"free\"} 1024\n",
    );
    let dev = &[("/proc/1/net/dev", "Inter-| x\n face |bytes packets\n  eth0:  10 2 0 1 0 0 0 0 30 4 0 5\n")];
    ends(dev, "coracle_network_receive_drops", "device=\"eth0\"} 1\n");
    ends(dev, "coracle_network_transmit_bytes", "device=\"eth0\"} 30\n");
    let disks = &[("/proc/diskstats", " 254 0 vda 5 0 8 1500 6 0 16 20 0 9 9 0 0 0 0 7 1\n")];
    ends(disks, "coracle_disk_read_bytes", "device=\"vda\"} 4096\n");
    ends(disks, "coracle_disk_read_seconds", "device=\"vda\"} 1.500\n");
    ends(disks, "coracle_disk_flush_operations", "device=\"vda\"} 7\n");
    let snmp = &[("/proc/1/net/snmp", "Ip: A B\nIp: 1 2\nTcp: ActiveOpens RetransSegs\nTcp: 5 6\n")];
    ends(snmp, "coracle_tcp_retransmitted_segments", "} 6\n");
    let tcp = &[("/proc/1/net/tcp", "  sl  local rem st\n   0: 0:1 0:0 0A x\n   1: 0:1 0:0 01 x\n")];
    ends(
        tcp,
        "coracle_tcp_connections",
        "state=\"listen\"} 1\ncoracle_tcp_connections{name=\"a\\\"b\",state=\"closing\"} 0\n",
    );
    let volumes = &[("/proc/fs/volumes", "/data 4096 1024 10 5\n")];
    ends(volumes, "coracle_volume_available_files", "path=\"/data\"} 5\n");
}

#[test]
fn what_is_no_text_of_proc_has_no_values() {
    for text in [
        "",
        "\n",
        "cpu0",
        "ctxt",
        "ctxt x",
        ":",
        "a: b",
        "/",
        "Tcp:\nTcp:",
        "\u{fffd} 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17",
    ] {
        let leaked: &'static str = text.to_owned().leak();
        for family in GUEST.iter().filter(|family| !matches!(family.rule, Rule::Numbers | Rule::Connections))
        {
            struct One(&'static str);
            impl Files for One {
                fn lines(&mut self, _path: &str, take: &mut dyn FnMut(&str)) {
                    self.0.lines().for_each(take);
                }
                fn numbers(&mut self, _path: &str) -> u64 {
                    0
                }
            }
            samples(&mut One(leaked), family, &mut |_| {});
        }
    }
}

#[test]
fn names_follow_the_rules() {
    let mut names: Vec<&str> = GUEST.iter().chain(HOST).map(|family| family.name).collect();
    for family in GUEST.iter().chain(HOST) {
        assert!(family.name.starts_with("coracle_") && family.name.ends_with(family.unit), "{}", family.name);
        assert!(!family.name.ends_with("_total") && family.help.ends_with('.'), "{}", family.name);
        assert!(family.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", family.name);
        // Only counters are summed up over time.
        assert!(family.kind == Kind::Counter || !family.name.contains("_operations"), "{}", family.name);
    }
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn the_dashboard_shows_metrics_that_there_are() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/grafana.json");
    let text = std::fs::read_to_string(path).expect("the dashboard is there");
    let known: Vec<String> = GUEST
        .iter()
        .chain(HOST)
        .map(|family| match family.kind {
            Kind::Counter => format!("{}_total", family.name),
            Kind::Gauge => family.name.to_owned(),
        })
        .collect();
    let expressions: Vec<&str> = text.lines().filter(|line| line.contains("\"expr\": ")).collect();
    assert!(expressions.len() > 20, "{} expressions", expressions.len());
    for line in expressions {
        let names = line
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("coracle_"));
        let names: Vec<&str> = names.collect();
        assert!(!names.is_empty(), "no metric in {line}");
        for name in names {
            assert!(known.iter().any(|known| known == name), "there is no metric {name}");
        }
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_exist() {
    let text = include_str!("../../../docs/grafana.json");
    let samples: Vec<String> = HOST
        .iter()
        .chain(GUEST)
        .map(|family| match family.kind {
            Kind::Counter => format!("{}_total", family.name),
            Kind::Gauge => family.name.to_owned(),
        })
        .collect();
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let asked: Vec<&str> =
        text.split(|c| !is_of_name(c)).filter(|word| word.starts_with("coracle_")).collect();
    assert!(asked.len() > 10);
    for word in asked {
        assert!(samples.iter().any(|name| name == word), "{word}");
    }
}
