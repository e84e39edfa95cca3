//! PostgreSQL 15: rows that psql inserts, each a transaction of its own.
use crate::Chance;
use crate::volume::{AT, Volume, kill, until};
use coracle_tests::guest::{LIMIT, Server};
use coracle_tests::ports;
use coracle_tests::{guest, paths};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The server.
pub const SERVER: &str = "/usr/lib/postgresql/15/bin/postgres";
/// The rest of its package.
const FILES: [&str; 4] = [
    "/usr/lib/postgresql/15/lib",
    "/usr/share/postgresql",
    "/usr/share/postgresql-common",
    "/usr/share/zoneinfo",
];
/// Sessions that write at a time.
const SESSIONS: u32 = 3;
/// Rows that a session is given, and those of all that are acknowledged before the kill, at most.
const GIVEN: u32 = 4000;
const MOST: u32 = 300;

fn data() -> String {
    format!("{AT}/cluster")
}

/// A guest with the package's files, and rules by which the host may connect.
fn command(volume: &Volume, round: u32, rules: &Path) -> Command {
    let mut command = volume.run(round);
    command.args(["--add", "/bin/sh", "--add", SERVER]);
    FILES.iter().for_each(|path| {
        command.args(["--add", path]);
    });
    command.arg("--add").arg(format!("{}:/etc/rules", rules.display()));
    command
}

fn psql(port: u16) -> Command {
    let mut command = Command::new("psql");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres", "-X", "-A", "-t"]);
    command
}

fn query(port: u16, text: &str) -> Result<String, String> {
    let done = psql(port).args(["-c", text]).output().map_err(|e| e.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
}

fn serve(volume: &Volume, round: u32, rules: &Path) -> Result<(Server, u16), String> {
    let port = ports::free()?;
    let mut command = command(volume, round, rules);
    command.args(["-p", &format!("{port}:5432"), SERVER, "-D", &data()]);
    command.args([
        "-c",
        "listen_addresses=*",
        "-c",
        "unix_socket_directories=/tmp",
        "-c",
        "hba_file=/etc/rules",
    ]);
    let mut guest = Server::start(command.args(["-c", "shared_buffers=32MB"]))?;
    until(&mut guest, "an answer", || query(port, "select 1").is_ok())?;
    Ok((guest, port))
}

/// After each kill all rows are there whose insertion was acknowledged.
pub fn commits(kills: u32, chance: &mut Chance) -> Result<(), String> {
    let volume = Volume::new("postgres")?;
    let rules = paths::work().join("databases").join("rules");
    fs::create_dir_all(paths::work().join("databases")).map_err(|e| e.to_string())?;
    fs::write(&rules, "host all all 0.0.0.0/0 trust\n").map_err(|e| e.to_string())?;
    let mut make = command(&volume, 0, &rules);
    make.args([
        "/usr/lib/postgresql/15/bin/initdb",
        "-D",
        &data(),
        "-U",
        "postgres",
        "-A",
        "trust",
        "--no-locale",
    ]);
    let made = guest::finish(&mut make, Vec::new(), LIMIT)?;
    if made.status != 0 {
        return Err(made.evidence());
    }
    let mut acknowledged = Vec::new();
    for round in 0..=kills {
        let (mut guest, port) = serve(&volume, round, &rules)?;
        if round == 0 {
            query(port, "create table entry(session integer, number integer, primary key(session, number))")?;
        }
        for (session, count) in &acknowledged {
            check(port, *session, *count)?;
        }
        if round == kills {
            break;
        }
        let target = chance.between(1, MOST);
        let first = round * SESSIONS;
        let mut writers =
            (first..first + SESSIONS).map(|session| write(port, session)).collect::<Result<Vec<_>, _>>()?;
        let under_load = until(&mut guest, "the load", || writers.iter().map(rows).sum::<u32>() >= target);
        kill(&mut guest)?;
        for (session, writer) in (first..).zip(&mut writers) {
            writer.wait(LIMIT);
            acknowledged.push((session, rows(writer)));
        }
        under_load?;
        volume.check()?;
    }
    fs::remove_file(&rules).map_err(|e| e.to_string())?;
    volume.remove()
}

/// Starts a session that inserts rows, until the server is gone.
fn write(port: u16, session: u32) -> Result<Server, String> {
    let rows: String =
        (1..=GIVEN).map(|number| format!("insert into entry values({session}, {number});\n")).collect();
    let mut writer = Server::start(&mut psql(port))?;
    let mut stdin = writer.stdin().ok_or("psql has no standard input")?;
    std::thread::spawn(move || {
        use std::io::Write as _;
        let _ = stdin.write_all(rows.as_bytes());
    });
    Ok(writer)
}

/// The rows that a session was told are there.
fn rows(writer: &Server) -> u32 {
    writer.log().lines().filter(|line| *line == "INSERT 0 1").count() as u32
}

/// One more than was acknowledged may be there.
fn check(port: u16, session: u32, acknowledged: u32) -> Result<(), String> {
    let found = query(
        port,
        &format!("select count(*), coalesce(max(number), 0) from entry where session = {session}"),
    )?;
    match [acknowledged, acknowledged + 1].iter().any(|count| found == format!("{count}|{count}")) {
        true => Ok(()),
        false => Err(format!(
            "session {session} was told of {acknowledged} rows, but there are (number|last) {found}"
        )),
    }
}
