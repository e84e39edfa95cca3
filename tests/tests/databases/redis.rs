//! Debian's redis-server: with a log that is synced before each answer (`appendfsync always`), and with snapshots (BGSAVE).
use crate::Chance;
use crate::volume::{AT, Volume, kill, until};
use coracle_tests::guest::Server;
use coracle_tests::ports;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// Connections that write at a time.
const CLIENTS: u32 = 4;
/// Writes that are acknowledged before the kill, at most.
const MOST: u32 = 400;
/// Keys that are written between two snapshots.
const KEYS: u32 = 50;

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Client(BufReader::new(stream)))
    }

    /// Sends a command and returns the answer: a status, a number, a text, or the number of a list's elements.
    fn ask(&mut self, words: &[&str]) -> io::Result<String> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.0.get_mut().write_all(request.as_bytes())?;
        let line = self.line()?;
        match line.split_at_checked(1) {
            Some(("+" | ":" | "*", rest)) => Ok(rest.to_owned()),
            Some(("$", length)) => {
                let length: usize = length.parse().map_err(|_| io::Error::other(line.clone()))?;
                let mut text = vec![0; length + 2];
                self.0.read_exact(&mut text)?;
                text.truncate(length);
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            _ => Err(io::Error::other(line)),
        }
    }

    /// All elements of a list.
    fn list(&mut self, name: &str) -> io::Result<Vec<String>> {
        let count = self.ask(&["LRANGE", name, "0", "-1"])?.parse().map_err(io::Error::other)?;
        let element = |_| {
            let _length = self.line()?;
            self.line()
        };
        (0..count).map(element).collect::<io::Result<Vec<_>>>()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// Boots the server and waits until it answers.
fn serve(volume: &Volume, round: u32, settings: &[&str]) -> Result<(Server, u16), String> {
    let port = ports::free()?;
    let mut command = volume.run(round);
    command.args(["-p", &format!("{port}:6379"), "redis-server", "--port", "6379", "--protected-mode", "no"]);
    let mut guest = Server::start(command.args(["--dir", AT]).args(settings))?;
    // While it reads its files, it answers with an error.
    let answers = || Client::connect(port).and_then(|mut client| client.ask(&["PING"])).is_ok();
    until(&mut guest, "an answer", answers)?;
    Ok((guest, port))
}

fn name(round: u32, client: u32) -> String {
    format!("{round}:{client}")
}

/// Each client appends numbers to a list of its own; after each kill the list has all that were acknowledged, in order.
pub fn log(kills: u32, chance: &mut Chance) -> Result<(), String> {
    let settings = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
    let volume = Volume::new("redis_log")?;
    let mut acknowledged: Vec<(String, u32)> = Vec::new();
    for round in 0..=kills {
        let (mut guest, port) = serve(&volume, round, &settings)?;
        let mut client = Client::connect(port).map_err(|e| e.to_string())?;
        for (list, count) in &acknowledged {
            check_list(&mut client, list, *count)?;
        }
        if round == kills {
            break;
        }
        let target = chance.between(1, MOST);
        let total = AtomicU32::new(0);
        let counts = thread::scope(|scope| -> Result<Vec<u32>, String> {
            let writers: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let total = &total;
                    scope.spawn(move || append(port, &name(round, client), total))
                })
                .collect();
            let under_load = until(&mut guest, "the load", || total.load(SeqCst) >= target);
            // Also if the load failed: the writers end with the guest.
            kill(&mut guest)?;
            let counts = writers.into_iter().map(|writer| writer.join().unwrap_or(0)).collect();
            under_load.map(|()| counts)
        })?;
        acknowledged.extend((0..CLIENTS).map(|client| name(round, client)).zip(counts));
        volume.check()?;
    }
    volume.remove()
}

/// Appends numbers until the server is gone; returns how many were acknowledged.
fn append(port: u16, list: &str, total: &AtomicU32) -> u32 {
    let Ok(mut client) = Client::connect(port) else { return 0 };
    let mut count = 0;
    while client
        .ask(&["RPUSH", list, &count.to_string()])
        .is_ok_and(|length| length == (count + 1).to_string())
    {
        count += 1;
        total.fetch_add(1, SeqCst);
    }
    count
}

/// One more than was acknowledged may be there.
fn check_list(client: &mut Client, list: &str, acknowledged: u32) -> Result<(), String> {
    let found = client.list(list).map_err(|e| e.to_string())?;
    let in_order = found.iter().enumerate().all(|(index, element)| *element == index.to_string());
    let count = found.len() as u32;
    if in_order && (acknowledged..=acknowledged + 1).contains(&count) {
        return Ok(());
    }
    Err(format!("of the list {list} {acknowledged} elements were acknowledged, but there are {found:?}"))
}

/// Snapshots are made one after the other while keys change; after each kill all keys are as in the last one that was reported as
/// done, or in a later one.
pub fn snapshots(kills: u32, chance: &mut Chance) -> Result<(), String> {
    let volume = Volume::new("redis_snapshots")?;
    let mut saved = 0;
    for round in 0..=kills {
        let (mut guest, port) = serve(&volume, round, &["--save", "", "--appendonly", "no"])?;
        let mut client = Client::connect(port).map_err(|e| e.to_string())?;
        let mut generation = check_snapshot(&mut client, saved)?;
        if round == kills {
            break;
        }
        let target = chance.between(1, 5);
        for _ in 0..target {
            generation += 1;
            begin_snapshot(&mut client, generation)
                .and_then(|()| await_snapshot(&mut client))
                .map_err(|e| e.to_string())?;
            saved = generation;
        }
        // The kill meets the next one at any of its steps.
        begin_snapshot(&mut client, generation + 1).map_err(|e| e.to_string())?;
        thread::sleep(Duration::from_millis(chance.between(0, 100).into()));
        kill(&mut guest)?;
        volume.check()?;
    }
    volume.remove()
}

/// Sets all keys to a number and has them saved.
fn begin_snapshot(client: &mut Client, generation: u32) -> io::Result<()> {
    for key in 0..KEYS {
        client.ask(&["SET", &key.to_string(), &generation.to_string()])?;
    }
    client.ask(&["BGSAVE"]).map(drop)
}

/// Waits until redis reports the snapshot as done.
fn await_snapshot(client: &mut Client) -> io::Result<()> {
    loop {
        let state = client.ask(&["INFO", "persistence"])?;
        if state.contains("rdb_bgsave_in_progress:0") {
            return match state.contains("rdb_last_bgsave_status:ok") {
                true => Ok(()),
                false => Err(io::Error::other(state)),
            };
        }
    }
}

/// All keys have the same number, which is not less than `saved`; returns it.
fn check_snapshot(client: &mut Client, saved: u32) -> Result<u32, String> {
    let mut numbers = Vec::new();
    for key in 0..KEYS {
        let number = client.ask(&["GET", &key.to_string()]);
        numbers.push(number.ok().and_then(|text| text.parse::<u32>().ok()).unwrap_or(0));
    }
    match numbers.iter().all(|&number| number == numbers[0]) && numbers[0] >= saved {
        true => Ok(numbers[0]),
        false => Err(format!("the snapshot {saved} was reported as saved, but the keys have {numbers:?}")),
    }
}
