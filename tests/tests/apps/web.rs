//! Servers of HTTP (nginx, Python's, one in Go) and curl and wrk.
use crate::{BOTH, Case, MEGABYTE, TAP, installed, words};
use coracle_tests::apps::{Running, Service};
use coracle_tests::load::{check, curl, probe_line, say, tool};
use coracle_tests::netns::TAP as TAP_NAME;
use coracle_tests::{build, paths};
use std::io::{Read, Write};
use std::net::{Ipv6Addr, Shutdown};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use std::{fs, io, thread};

pub const CASES: &[Case] = &[
    Case {
        name: "nginx_files",
        service: nginx,
        probe: http_probe,
        test: nginx_files,
        networks: BOTH,
        cpus: 1,
    },
    Case {
        name: "nginx_both_families",
        service: nginx_both,
        probe: http_probe,
        test: nginx_both_families,
        networks: TAP,
        cpus: 2,
    },
    Case { name: "nginx_load", service: nginx, probe: http_probe, test: nginx_load, networks: TAP, cpus: 2 },
    Case {
        name: "python_http_server",
        service: python,
        probe: http_probe,
        test: python_http,
        networks: BOTH,
        cpus: 1,
    },
    Case { name: "go_http_server", service: go, probe: http_probe, test: go_http, networks: BOTH, cpus: 2 },
];

/// The folder that nginx and python serve, made once: other tests may be putting it into their images.
fn site() -> Result<PathBuf, String> {
    static SITE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    SITE.get_or_init(|| {
        let site = paths::work().join("site");
        fs::create_dir_all(&site).map_err(say("making the site"))?;
        for (name, length) in [("small.html", 612), ("medium.bin", 100_000), ("large.bin", MEGABYTE)] {
            fs::write(site.join(name), paths::pattern(length)).map_err(say("making the site"))?;
        }
        Ok(site)
    })
    .clone()
}

pub fn http_probe(running: &Running) -> io::Result<()> {
    probe_line(running, b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.")
}

fn served_files(running: &Running) -> Result<(), String> {
    for (name, length) in [("small.html", 612), ("medium.bin", 100_000), ("large.bin", MEGABYTE)] {
        let body = curl(running, &format!("/{name}"), &[])?;
        check(body == paths::pattern(length), &format!("{name} comes whole, but: {} bytes", body.len()))?;
    }
    check(curl(running, "/absent", &[]).is_err_and(|e| e.contains("404")), "an absent file is 404")
}

pub fn nginx() -> Result<Service, String> {
    nginx_with("nginx.conf")
}

fn nginx_both() -> Result<Service, String> {
    nginx_with("nginx_both.conf")
}

fn nginx_with(configuration: &str) -> Result<Service, String> {
    let configuration = paths::programs().join("servers").join(configuration);
    Ok(Service {
        program: installed("/usr/sbin/nginx")?,
        args: words("-c /etc/nginx/coracle.conf"),
        add: vec![
            format!("{}:/etc/nginx/coracle.conf", configuration.display()),
            format!("{}:/www", site()?.display()),
            "/etc/passwd".into(),
            "/etc/group".into(),
        ],
        memory: "256M",
        port: 8080,
        ..Service::default()
    })
}

fn nginx_files(running: &Running) -> Result<(), String> {
    served_files(running)?;
    let part = curl(running, "/large.bin", &["-r", "500000-500099"])?;
    check(part == paths::pattern(MEGABYTE)[500_000..500_100], "a part of a file")?;
    // Several requests on one connection.
    let mut stream = running.connect().map_err(say("connecting"))?;
    let request = b"GET /small.html HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(&request.repeat(20)).map_err(say("sending"))?;
    stream.shutdown(Shutdown::Write).map_err(say("half-closing"))?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).map_err(say("reading"))?;
    let answers = String::from_utf8_lossy(&all).matches("HTTP/1.1 200 OK").count();
    check(answers == 20, &format!("twenty answers on one connection, but: {answers}"))
}

/// The server answers over IPv4, and over IPv6 at the address that the guest makes out of its Ethernet address.
fn nginx_both_families(running: &Running) -> Result<(), String> {
    served_files(running)?;
    let ip = running.address.ip().to_string();
    let neighbour = tool(Command::new("ip").args(["neigh", "show", &ip]))?;
    let neighbour = String::from_utf8_lossy(&neighbour).into_owned();
    let mac = neighbour.split_whitespace().skip_while(|word| *word != "lladdr").nth(1);
    let octets =
        mac.map(|mac| mac.split(':').filter_map(|byte| u16::from_str_radix(byte, 16).ok()).collect());
    let octets: Vec<u16> = octets.unwrap_or_default();
    let [a, b, c, d, e, f] = octets[..] else { return Err(format!("no address of {ip} in {neighbour:?}")) };
    let pair = |high: u16, low: u16| high << 8 | low;
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, pair(a ^ 2, b), pair(c, 0xff), pair(0xfe, d), pair(e, f));
    // Both ends may still be probing their addresses (RFC 4862, section 5.4), in which time they don't use them.
    let there = format!("{link_local}%{TAP_NAME}");
    let ping = || tool(Command::new("ping").args(["-6", "-c", "1", "-W", "1", "-s", "3000", &there]));
    let answered = (0..60).any(|_| {
        let answer = ping();
        if answer.is_err() {
            thread::sleep(Duration::from_millis(500));
        }
        answer.is_ok()
    });
    check(answered, &format!("{there} answers an echo request in fragments"))?;
    for (name, length) in [("small.html", 612), ("large.bin", MEGABYTE)] {
        let url = format!("http://[{link_local}%25{TAP_NAME}]:{}/{name}", running.address.port());
        let options = ["-sS", "-g", "--fail", "--max-time", "60", "--noproxy", "*"];
        let body = tool(Command::new("curl").args(options).arg(url))?;
        check(
            body == paths::pattern(length),
            &format!("{name} comes whole over IPv6, but: {} bytes", body.len()),
        )?;
    }
    Ok(())
}

fn nginx_load(running: &Running) -> Result<(), String> {
    for (path, close) in [("/small.html", false), ("/medium.bin", false), ("/small.html", true)] {
        let mut command = Command::new("wrk");
        command.args(["-t", "1", "-c", "30", "-d", "2s", "--timeout", "20s"]);
        if close {
            command.args(["-H", "Connection: close"]);
        }
        let output = tool(command.arg(format!("http://{}{path}", running.address)))?;
        let text = String::from_utf8_lossy(&output);
        let fine =
            text.contains("requests in") && !text.contains("Socket errors") && !text.contains("Non-2xx");
        check(fine, &format!("wrk sees no error:\n{text}"))?;
    }
    served_files(running)
}

fn python() -> Result<Service, String> {
    Ok(Service {
        program: installed("/usr/bin/python3.11")?,
        args: words("-u -m http.server 8080 --directory /www"),
        add: vec!["/usr/lib/python3.11".into(), format!("{}:/www", site()?.display())],
        memory: "384M",
        port: 8080,
        ..Service::default()
    })
}

fn python_http(running: &Running) -> Result<(), String> {
    served_files(running)?;
    let list = curl(running, "/", &[])?;
    check(String::from_utf8_lossy(&list).contains("medium.bin"), "a directory is listed")
}

fn go() -> Result<Service, String> {
    Ok(Service {
        program: build::go(&paths::programs().join("go/server.go"))?,
        args: words("8080"),
        memory: "256M",
        port: 8080,
        ..Service::default()
    })
}

fn go_http(running: &Running) -> Result<(), String> {
    let body = curl(running, "/some/page", &[])?;
    check(body == b"hello from go: /some/page\n", "a page comes")?;
    let file = site()?.join("large.bin");
    let upload = format!("@{}", file.display());
    let back = curl(running, "/echo", &["--data-binary", &upload])?;
    check(back == paths::pattern(MEGABYTE), &format!("a megabyte is echoed, but: {} bytes", back.len()))
}
