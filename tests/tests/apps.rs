//! Boots real servers and drives them with real clients, well-behaved and otherwise.
use coracle_tests::apps::{Network, Running, Service, serve};
use coracle_tests::load::{
    self, Memcached, check, curl, echo, is_timeout, many, probe_line, reset, say, tool,
};
use coracle_tests::matrix::{Machine, Mode};
use coracle_tests::{build, known, netns, paths};
use libtest_mimic::Arguments;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

/// How many connections are open at once on a tap; QEMU's user network drops bursts of new ones.
const MANY: usize = 1000;
const MANY_ON_USER_NETWORK: usize = 100;
/// How many connection requests a flood has.
const SYNS: &str = "5000";
/// What "a megabyte" is.
const MEGABYTE: usize = 1 << 20;

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

const CASES: &[Case] = &[
    Case {
        name: "memcached_one_thread",
        service: || memcached(1),
        probe: memcached_probe,
        test: memcached_values,
        networks: BOTH,
        cpus: 1,
    },
    Case {
        name: "memcached_four_threads",
        service: || memcached(4),
        probe: memcached_probe,
        test: memcached_values,
        networks: BOTH,
        cpus: 2,
    },
    Case {
        name: "memcached_capable",
        service: || memcached(2),
        probe: memcached_probe,
        test: memcached_capable,
        networks: BOTH,
        cpus: 1,
    },
    Case {
        name: "memcached_bad_clients",
        service: || memcached(4),
        probe: memcached_probe,
        test: memcached_bad_clients,
        networks: BOTH,
        cpus: 2,
    },
    Case {
        name: "memcached_many_connections",
        service: || memcached(4),
        probe: memcached_probe,
        test: memcached_many,
        networks: BOTH,
        cpus: 2,
    },
    Case {
        name: "memcached_load",
        service: || memcached(4),
        probe: memcached_probe,
        test: memcached_load,
        networks: TAP,
        cpus: 2,
    },
    Case {
        name: "redis_commands",
        service: redis,
        probe: redis_probe,
        test: redis_commands,
        networks: BOTH,
        cpus: 2,
    },
    Case {
        name: "redis_benchmark",
        service: redis,
        probe: redis_probe,
        test: redis_benchmark,
        networks: TAP,
        cpus: 1,
    },
    Case {
        name: "nginx_files",
        service: nginx,
        probe: http_probe,
        test: nginx_files,
        networks: BOTH,
        cpus: 1,
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
    Case { name: "tokio_echo", service: tokio, probe: echo_probe, test: tokio_echo, networks: BOTH, cpus: 2 },
    Case {
        name: "tokio_lossy_link",
        service: tokio_lossy,
        probe: echo_probe,
        test: tokio_lossy_echo,
        networks: TAP,
        cpus: 1,
    },
    Case {
        name: "tokio_address_by_dhcp",
        service: || Ok(Service { dhcp: true, ..tokio()? }),
        probe: echo_probe,
        test: |running| echo(running, MEGABYTE),
        networks: TAP,
        cpus: 1,
    },
    Case {
        name: "tokio_syn_flood",
        service: tokio,
        probe: echo_probe,
        test: syn_flood,
        networks: TAP,
        cpus: 1,
    },
    Case { name: "udp_echo", service: udp, probe: udp_probe, test: udp_echo, networks: BOTH, cpus: 1 },
    Case {
        name: "network_manners",
        service: tokio,
        probe: echo_probe,
        test: network_manners,
        networks: TAP,
        cpus: 1,
    },
];

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

fn memcached(threads: u32) -> Result<Service, String> {
    Ok(Service {
        program: installed("/usr/bin/memcached")?,
        args: words(&format!("-u root -m 64 -I 4m -c 4096 -t {threads}")),
        memory: "256M",
        port: 11211,
        add: words("/etc/passwd"),
        ..Service::default()
    })
}

fn memcached_probe(running: &Running) -> io::Result<()> {
    probe_line(running, b"version\r\n", b"VERSION")
}

fn memcached_values(running: &Running) -> Result<(), String> {
    let mut client = Memcached::connect(running)?;
    client.set("short", b"value")?;
    check(client.get("short")?.as_deref() == Some(b"value"), "a value comes back")?;
    let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
    client.set("binary", &bytes)?;
    check(client.get("binary")? == Some(bytes), "all bytes come back")?;
    check(client.get("absent")?.is_none(), "an absent key is told")?;
    let big = paths::pattern(MEGABYTE);
    client.set("megabyte", &big)?;
    let mut other = Memcached::connect(running)?;
    check(other.get("megabyte")? == Some(big), "a megabyte comes back on another connection")?;
    client.set("number", b"41")?;
    check(other.ask("incr number 1")? == "42", "incr counts")?;
    check(client.ask("delete number")? == "DELETED", "delete deletes")?;
    check(other.get("number")?.is_none(), "what is deleted is gone")?;
    check(client.ask("nonsense")? == "ERROR", "nonsense is refused")?;
    // Many requests in one packet are answered in order.
    let mut batch = String::new();
    for i in 0..200 {
        batch += &format!("set k{i} 0 0 4\r\n{i:04}\r\n");
    }
    client.send(batch.as_bytes())?;
    for _ in 0..200 {
        check(client.line()? == "STORED", "a batch is stored")?;
    }
    // A request in single bytes is one request.
    for byte in b"get k123\r\n" {
        client.send(&[*byte])?;
    }
    check(client.value()?.as_deref() == Some(b"0123"), "a request in single bytes is answered")
}

fn memcached_capable(running: &Running) -> Result<(), String> {
    let (host, port) = running.host_and_port();
    let output = tool(Command::new("memccapable").args(["-h", &host, "-p", &port, "-t", "20"]))?;
    let text = String::from_utf8_lossy(&output);
    check(text.contains("All tests passed"), &format!("memccapable is content:\n{text}"))
}

fn memcached_bad_clients(running: &Running) -> Result<(), String> {
    let big = paths::pattern(MEGABYTE);
    let mut good = Memcached::connect(running)?;
    good.set("big", &big)?;
    // One that stops reading: it asks for forty megabytes and looks at none, while the others go on.
    let mut lazy = Memcached::connect(running)?;
    for _ in 0..40 {
        lazy.send(b"get big\r\n")?;
    }
    for i in 0..60 {
        let mut client = running.connect().map_err(say("connecting"))?;
        match i % 4 {
            // Cut in the middle of a command, of a value, of an answer.
            0 => client.write_all(b"set cut 0 0 100\r\nonly a part").map_err(say("sending"))?,
            1 => {
                client.write_all(b"get big\r\n").map_err(say("sending"))?;
                client.read_exact(&mut [0; 1000]).map_err(say("reading a part"))?;
            }
            // Reset, with and without something under way.
            2 => {
                client.write_all(b"get big\r\n").map_err(say("sending"))?;
                reset(client);
            }
            // Half-closed: the request is whole, so the answer must come.
            _ => {
                client.write_all(b"get big\r\nquit\r\n").map_err(say("sending"))?;
                client.shutdown(Shutdown::Write).map_err(say("half-closing"))?;
                let mut all = Vec::new();
                client.read_to_end(&mut all).map_err(say("reading after a half-close"))?;
                let found = all.windows(1000).any(|w| w == &big[MEGABYTE - 1000..]);
                check(found, &format!("a half-closed client has its answer, but: {} bytes", all.len()))?;
            }
        }
        good.set(&format!("k{i}"), format!("v{i}").as_bytes())?;
        check(
            good.get(&format!("k{i}"))? == Some(format!("v{i}").into_bytes()),
            "a good client is served meanwhile",
        )?;
    }
    for _ in 0..40 {
        check(lazy.value()?.as_deref() == Some(&big[..]), "what the lazy client asked for is whole")?;
    }
    Ok(())
}

fn memcached_many(running: &Running) -> Result<(), String> {
    let count = if running.network == Network::Tap { MANY } else { MANY_ON_USER_NETWORK };
    many(running, count, |i| {
        (
            format!("set many{i} 0 0 6\r\n{i:06}\r\nget many{i}\r\n").into_bytes(),
            format!("STORED\r\nVALUE many{i} 0 6\r\n{i:06}\r\nEND\r\n").into_bytes(),
        )
    })
}

fn memcached_load(running: &Running) -> Result<(), String> {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..16)
            .map(|w| {
                scope.spawn(move || {
                    let mut client = Memcached::connect(running)?;
                    for i in 0..300 {
                        let value = format!("{w}-{i}").repeat(100).into_bytes();
                        client.set(&format!("load{w}-{}", i % 20), &value)?;
                        check(
                            client.get(&format!("load{w}-{}", i % 20))? == Some(value),
                            "a value comes back under load",
                        )?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|w| w.join().expect("a worker does not panic"))
    })
}

fn redis() -> Result<Service, String> {
    Ok(Service {
        program: installed("/usr/bin/redis-server")?,
        args: [&words("--port 6379 --protected-mode no --appendonly no --save")[..], &[String::new()]]
            .concat(),
        memory: "256M",
        port: 6379,
        ..Service::default()
    })
}

fn redis_probe(running: &Running) -> io::Result<()> {
    probe_line(running, b"PING\r\n", b"+PONG")
}

fn redis_commands(running: &Running) -> Result<(), String> {
    let (host, port) = running.host_and_port();
    let cli = |arguments: &[&str]| {
        let output = tool(Command::new("redis-cli").args(["-h", &host, "-p", &port]).args(arguments))?;
        Ok::<_, String>(String::from_utf8_lossy(&output).trim().to_string())
    };
    check(cli(&["set", "key", "value with blanks"])? == "OK", "set")?;
    check(cli(&["get", "key"])? == "value with blanks", "get")?;
    check(cli(&["incrby", "counter", "42"])? == "42", "incrby")?;
    check(cli(&["rpush", "list", "a", "b", "c"])? == "3", "rpush")?;
    check(cli(&["lrange", "list", "0", "-1"])? == "a\nb\nc", "lrange")?;
    check(
        cli(&["eval", "return redis.call('get', KEYS[1]) .. '!'", "1", "key"])? == "value with blanks!",
        "a script",
    )?;
    check(cli(&["set", "brief", "x", "px", "50"])? == "OK", "an expiry")?;
    thread::sleep(Duration::from_millis(200));
    check(cli(&["exists", "brief"])? == "0", "what expired is gone")?;
    check(cli(&["info", "server"])?.contains("redis_version"), "info")?;
    // A megabyte each way.
    let big = paths::pattern(MEGABYTE);
    let mut stream = running.connect().map_err(say("connecting"))?;
    let mut message = format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${}\r\n", big.len()).into_bytes();
    message.extend_from_slice(&big);
    message.extend_from_slice(b"\r\n*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n");
    stream.write_all(&message).map_err(say("sending a megabyte"))?;
    let head = format!("+OK\r\n${}\r\n", big.len());
    let mut answer = vec![0; head.len() + big.len() + 2];
    stream.read_exact(&mut answer).map_err(say("reading a megabyte"))?;
    check(
        answer.starts_with(head.as_bytes()) && answer[head.len()..].starts_with(&big),
        "a megabyte comes back",
    )?;
    // One client is told what another publishes.
    let mut subscriber = running.connect().map_err(say("connecting"))?;
    subscriber.write_all(b"SUBSCRIBE news\r\n").map_err(say("subscribing"))?;
    subscriber.read_exact(&mut [0; 5]).map_err(say("subscribing"))?;
    check(cli(&["publish", "news", "extra"])? == "1", "publish reaches one")?;
    let mut news = Vec::new();
    while !news.ends_with(b"extra\r\n") {
        let mut byte = [0];
        subscriber.read_exact(&mut byte).map_err(say("reading the news"))?;
        news.push(byte[0]);
    }
    Ok(())
}

fn redis_benchmark(running: &Running) -> Result<(), String> {
    let (host, port) = running.host_and_port();
    let arguments =
        ["-h", &host, "-p", &port, "-q", "-n", "3000", "-c", "50", "-t", "set,get,lpush,ping_inline"];
    let plain = tool(Command::new("redis-benchmark").args(arguments))?;
    let piped = tool(Command::new("redis-benchmark").args(arguments).args(["-P", "16", "-d", "1000"]))?;
    for output in [plain, piped] {
        let text = String::from_utf8_lossy(&output).replace('\r', "\n");
        check(
            text.contains("GET:") && text.contains("requests per second"),
            &format!("redis-benchmark ends:\n{text}"),
        )?;
    }
    Ok(())
}

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

fn nginx() -> Result<Service, String> {
    let configuration = paths::programs().join("servers/nginx.conf");
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

fn http_probe(running: &Running) -> io::Result<()> {
    probe_line(running, b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.")
}

fn served_files(running: &Running) -> Result<(), String> {
    for (name, length) in [("small.html", 612), ("medium.bin", 100_000), ("large.bin", MEGABYTE)] {
        let body = curl(running, &format!("/{name}"), &[])?;
        check(body == paths::pattern(length), &format!("{name} comes whole, but: {} bytes", body.len()))?;
    }
    check(curl(running, "/absent", &[]).is_err_and(|e| e.contains("404")), "an absent file is 404")
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

fn tokio() -> Result<Service, String> {
    Ok(Service {
        program: build::rust_binary("tokio_server")?,
        args: words("7000"),
        memory: "128M",
        port: 7000,
        ..Service::default()
    })
}

fn tokio_lossy() -> Result<Service, String> {
    Ok(Service { bad_link: true, ..tokio()? })
}

fn echo_probe(running: &Running) -> io::Result<()> {
    probe_line(running, b"probe", b"probe")
}

fn tokio_echo(running: &Running) -> Result<(), String> {
    echo(running, MEGABYTE)?;
    echo(running, 8 * MEGABYTE + 12345)?;
    let count = if running.network == Network::Tap { MANY } else { MANY_ON_USER_NETWORK };
    many(running, count, |i| {
        let data = format!("connection {i}").repeat(20).into_bytes();
        (data.clone(), data)
    })?;
    // Connections at the same moment are for the tap: QEMU's user network listens with a backlog of one, drops the
    // others' handshakes and resets them in the end.
    let at_once = if running.network == Network::Tap { 8 } else { 1 };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(|| echo(running, MEGABYTE))).collect();
        workers.into_iter().try_for_each(|w| w.join().expect("a worker does not panic"))
    })
}

fn tokio_lossy_echo(running: &Running) -> Result<(), String> {
    echo(running, 1000)?;
    echo(running, MEGABYTE)?;
    many(running, 50, |i| (format!("lossy {i}").into_bytes(), format!("lossy {i}").into_bytes()))
}

fn udp() -> Result<Service, String> {
    let source = paths::programs().join("servers/udp_echo.c");
    Ok(Service {
        program: build::c_server(&source)?,
        args: words("7007"),
        memory: "64M",
        port: 7007,
        udp: true,
        ..Service::default()
    })
}

fn udp_client(running: &Running, patience: Duration) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(running.address)?;
    socket.set_read_timeout(Some(patience))?;
    Ok(socket)
}

fn udp_probe(running: &Running) -> io::Result<()> {
    let socket = udp_client(running, Duration::from_millis(500))?;
    socket.send(b"probe")?;
    socket.recv(&mut [0; 16]).map(drop)
}

fn udp_echo(running: &Running) -> Result<(), String> {
    let socket = udp_client(running, Duration::from_secs(5)).map_err(say("a socket"))?;
    let mut buffer = [0; 2000];
    for length in [0, 1, 2, 17, 512, 1000, 1400, 1472] {
        let data = paths::pattern(length);
        // A datagram may be lost; three in a row are not.
        let mut answered = false;
        for _ in 0..3 {
            socket.send(&data).map_err(say("sending"))?;
            match socket.recv(&mut buffer) {
                Ok(n) => {
                    check(buffer[..n] == data, &format!("{length} bytes come back, but: {n}"))?;
                    answered = true;
                    break;
                }
                Err(e) if is_timeout(&e) => {}
                Err(e) => return Err(format!("receiving: {e}")),
            }
        }
        check(answered, &format!("a datagram of {length} bytes is answered"))?;
    }
    let clients: Vec<_> = (0..50)
        .map(|_| udp_client(running, Duration::from_secs(5)))
        .collect::<Result<_, _>>()
        .map_err(say("sockets"))?;
    for (i, client) in clients.iter().enumerate() {
        client.send(&i.to_le_bytes()).map_err(say("sending"))?;
        let n = client.recv(&mut buffer).map_err(say("receiving"))?;
        check(buffer[..n] == i.to_le_bytes(), "each client has its own answer")?;
    }
    Ok(())
}

/// Requests that nobody completes neither shut out real clients nor stay.
fn syn_flood(running: &Running) -> Result<(), String> {
    let mut old = running.connect().map_err(say("connecting before the flood"))?;
    let (host, port) = running.host_and_port();
    let script = paths::programs().join("servers/syn_flood.py");
    let mut flood = Command::new("python3");
    flood.arg(script).args([&host, &port, SYNS]);
    thread::scope(|scope| {
        let flooding = scope.spawn(|| tool(&mut flood).map(drop));
        for _ in 0..5 {
            old.write_all(b"still here").map_err(say("sending in the flood"))?;
            old.read_exact(&mut [0; 10]).map_err(say("reading in the flood"))?;
            echo(running, 10_000)?;
        }
        flooding.join().expect("the flood does not panic")
    })?;
    echo(running, MEGABYTE)
}

/// What a machine on the network owes the others.
fn network_manners(running: &Running) -> Result<(), String> {
    let host = running.address.ip().to_string();
    tool(Command::new("ping").args(["-c", "3", "-i", "0.2", "-W", "5", &host]))?;
    tool(Command::new("ping").args(["-c", "2", "-i", "0.2", "-W", "5", "-s", "1400", &host]))?;
    let closed =
        std::net::TcpStream::connect_timeout(&(running.address.ip(), 1).into(), Duration::from_secs(10));
    check(
        closed.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused),
        "a closed port refuses at once",
    )?;
    let udp = UdpSocket::bind("0.0.0.0:0").map_err(say("a socket"))?;
    udp.connect((running.address.ip(), 9)).map_err(say("connecting"))?;
    udp.set_read_timeout(Some(Duration::from_secs(5))).map_err(say("a limit"))?;
    udp.send(b"anybody?").map_err(say("sending"))?;
    let refused = udp.recv(&mut [0; 8]).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused);
    check(refused, "a closed UDP port is told by ICMP")?;
    load::echo(running, 1000)
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let known = known::read();
    let tap = netns::possible();
    if !arguments.list {
        paths::coracle();
    }
    let mut trials = Vec::new();
    for (number, case) in CASES.iter().enumerate() {
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
    libtest_mimic::run(&arguments, trials).exit_code()
}
