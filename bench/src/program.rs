//! The programs under measurement: what each needs in its file system and how it shows that it serves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::disk::{self, Content, Disk};
use crate::tools;
use crate::tree::Tree;
use crate::vm::Ready;

/// A program as both guests get it.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name in tables and on the command line.
    pub name: String,
    /// Its path in the guest.
    pub path: PathBuf,
    /// The file on this machine.
    pub host: PathBuf,
    /// Where it and its libraries come from.
    pub tree: Tree,
    /// Its arguments, without its name.
    pub args: Vec<String>,
    /// Further files and directories: path on this machine, path in the guest.
    pub files: Vec<(PathBuf, String)>,
    /// How it shows that it serves.
    pub ready: Ready,
    /// The disk it works on.
    pub disk: Option<Disk>,
    /// Whether it runs as the user whom the disk's files belong to, not as root.
    pub as_owner: bool,
}

/// Sizes of the files nginx serves: the classic welcome page and a large one.
pub const SMALL_FILE: usize = 612;
/// The large one.
pub const LARGE_FILE: usize = 100_000;
/// Rows that sqlite3 inserts.
pub const SQLITE_ROWS: u64 = 60_000;
/// Transactions of one row each that sqlite3 commits to a disk.
pub const SQLITE_TRANSACTIONS: u64 = 10_000;
/// Reads that fio does.
pub const FIO_READS: u64 = 20_000;
/// The disk of programs that read one file, and the file on it.
const DISK_MIB: u32 = 256;
const DISK_FILE_MIB: usize = 64;
/// The disk of databases.
const DATABASE_MIB: u32 = 512;

/// PostgreSQL 15.
const POSTGRES: &str = "/usr/lib/postgresql/15/bin/postgres";
/// The rest of its package, and the time zones.
const POSTGRES_FILES: &[&str] =
    &["/usr/lib/postgresql/15/lib", "/usr/share/postgresql", "/usr/share/zoneinfo"];
/// Its compiler of queries, which short ones don't use, and whose library is larger than all the rest.
const POSTGRES_LEFT_OUT: &[&str] = &["llvmjit.so", "bitcode"];

/// nginx as one process that logs nothing; it is otherwise what its package sets up.
const NGINX_CONF: &str = "daemon off;
master_process off;
user root;
pid /tmp/nginx.pid;
error_log stderr crit;
events { worker_connections 16384; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 65;
    keepalive_requests 1000000000;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    types { text/html html; application/octet-stream bin; }
    server {
        listen 80 backlog=4096;
        root /srv/www;
    }
}
";

/// Accounts that the programs look up.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n";

/// Everything that python's http.server may import, but not the test suite and the like.
const PYTHON_LEFT_OUT: &[&str] = &[
    "test",
    "idlelib",
    "tkinter",
    "ensurepip",
    "lib2to3",
    "distutils",
    "turtledemo",
    "pydoc_data",
    "config-3.11-x86_64-linux-gnu",
    "config-3.11-aarch64-linux-gnu",
];

impl Program {
    fn new(name: &str, path: &Path, tree: &Tree, args: &[&str], ready: Ready) -> Self {
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            host: tree.host(path),
            tree: tree.clone(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            files: Vec::new(),
            ready,
            disk: None,
            as_owner: false,
        }
    }

    fn on(mut self, disk: Disk) -> Self {
        self.disk = Some(disk);
        self
    }

    fn add(mut self, host: PathBuf, guest: &str) -> Self {
        self.files.push((host, guest.to_owned()));
        self
    }

    /// The program's files with the libraries of every ELF file among them: guest path to host path.
    pub fn closure(&self) -> BTreeMap<String, PathBuf> {
        let mut all = BTreeMap::new();
        let mut elves = vec![self.host.clone()];
        for (host, guest) in &self.files {
            all.insert(guest.clone(), host.clone());
            if host.extension().is_some_and(|extension| extension == "so") {
                elves.push(host.clone());
            }
        }
        for elf in &elves {
            all.extend(self.tree.libraries(elf));
        }
        all.insert(self.path.to_string_lossy().into_owned(), self.host.clone());
        all
    }
}

/// Writes the small files that programs need, and knows where they and the sources of the measuring programs are.
pub struct Stock {
    made: PathBuf,
    sources: PathBuf,
    tree: Tree,
}

impl Stock {
    /// Makes the files under `out`; `sources` is the directory of the measuring programs, and `tree` has all others.
    pub fn new(out: &Path, sources: &Path, tree: Tree) -> Result<Self> {
        let made = out.join("files");
        fs::create_dir_all(&made)?;
        fs::write(made.join("passwd"), PASSWD)?;
        fs::write(made.join("group"), GROUP)?;
        fs::write(made.join("nginx.conf"), NGINX_CONF)?;
        fs::write(made.join("index.html"), "x".repeat(SMALL_FILE))?;
        fs::write(made.join("large.bin"), "y".repeat(LARGE_FILE))?;
        let mut rows =
            String::from("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, value REAL);\nBEGIN;\n");
        for row in 0..SQLITE_ROWS {
            rows += &format!("INSERT INTO t VALUES({row},'name number {row}',{row}.5);\n");
        }
        fs::write(made.join("rows.sql"), rows + "COMMIT;\nSELECT count(*), sum(value) FROM t;\n")?;
        fs::write(made.join("none.sql"), "SELECT 0;\n")?;
        let journal =
            "PRAGMA journal_mode=WAL;\nCREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, value REAL);\n";
        let mut transactions = String::from(journal);
        for row in 0..SQLITE_TRANSACTIONS {
            transactions += &format!("INSERT INTO t VALUES({row},'name number {row}',{row}.5);\n");
        }
        fs::write(made.join("transactions.sql"), transactions)?;
        fs::write(made.join("no-transaction.sql"), journal)?;
        Ok(Self { made, sources: sources.to_owned(), tree })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.made.join(name)
    }

    fn installed(&self, name: &str, package: &str, args: &[&str], ready: Ready) -> Result<Program> {
        // Debian's own, even where another stands earlier on PATH.
        let path = self
            .tree
            .find(name)
            .with_context(|| format!("{name} is not installed: apt-get install {package}"))?;
        Ok(Program::new(name, &path, &self.tree, args, ready))
    }

    fn accounts(&self, program: Program) -> Program {
        program.add(self.file("passwd"), "/etc/passwd").add(self.file("group"), "/etc/group")
    }

    /// memcached with this much memory for items, on this many threads.
    pub fn memcached(&self, megabytes: u32, threads: u32) -> Result<Program> {
        let (megabytes, threads) = (megabytes.to_string(), threads.to_string());
        let args = ["-u", "root", "-p", "11211", "-m", &megabytes, "-t", &threads, "-c", "20000", "-U", "0"];
        Ok(self.accounts(self.installed("memcached", "memcached", &args, Ready::Tcp(11211))?))
    }

    /// redis without persistence.
    pub fn redis(&self) -> Result<Program> {
        let args = ["--port", "6379", "--save", "", "--appendonly", "no", "--protected-mode", "no"];
        self.installed("redis-server", "redis-server", &args, Ready::Tcp(6379))
    }

    /// nginx serving one small and one large file.
    pub fn nginx(&self) -> Result<Program> {
        let args = ["-p", "/srv", "-e", "stderr", "-c", "/etc/nginx/nginx.conf"];
        let program = self.installed("nginx", "nginx-light", &args, Ready::Tcp(80))?;
        Ok(self
            .accounts(program)
            .add(self.file("nginx.conf"), "/etc/nginx/nginx.conf")
            .add(self.file("index.html"), "/srv/www/index.html")
            .add(self.file("large.bin"), "/srv/www/large.bin"))
    }

    /// python's own web server.
    pub fn python(&self) -> Result<Program> {
        let args = ["-m", "http.server", "--directory", "/srv/www", "8000"];
        let mut program = self.installed("python3.11", "python3", &args, Ready::Tcp(8000))?;
        program.files = self.files("/usr/lib/python3.11", PYTHON_LEFT_OUT)?;
        Ok(program.add(self.file("index.html"), "/srv/www/index.html"))
    }

    /// The sqlite3 shell, inserting all rows or none.
    pub fn sqlite(&self, rows: bool) -> Result<Program> {
        let program = self.installed("sqlite3", "sqlite3", &[":memory:", ".read /rows.sql"], Ready::Exit)?;
        Ok(program.add(self.file(if rows { "rows.sql" } else { "none.sql" }), "/rows.sql"))
    }

    /// The sqlite3 shell on a disk, committing each row as a transaction of its own, or none.
    pub fn sqlite_wal(&self, rows: bool) -> Result<Program> {
        let program =
            self.installed("sqlite3", "sqlite3", &["/data/base", ".read /rows.sql"], Ready::Exit)?;
        let script = self.file(if rows { "transactions.sql" } else { "no-transaction.sql" });
        let mut program = program.add(script, "/rows.sql").on(self.empty_disk());
        program.name = "sqlite3-wal".to_owned();
        Ok(program)
    }

    /// redis, which has each command on its disk before it answers.
    pub fn redis_aof(&self) -> Result<Program> {
        let mut program = self.redis()?.on(self.empty_disk());
        program.name = "redis-aof".to_owned();
        program.args = ["--port", "6379", "--save", "", "--protected-mode", "no", "--dir", disk::AT]
            .into_iter()
            .chain(["--appendonly", "yes", "--appendfsync", "always"])
            .map(str::to_owned)
            .collect();
        Ok(program)
    }

    /// fio, which reads this many blocks of 4 KiB in random order, 32 at a time, past the page cache.
    pub fn fio(&self, reads: u64) -> Result<Program> {
        let count = format!("--number_ios={reads}");
        let args = ["--name=read", "--filename=/data/file", "--rw=randread", "--bs=4k", "--direct=1"];
        let args: Vec<&str> = args
            .into_iter()
            .chain(["--ioengine=libaio", "--iodepth=32", "--thread", "--norandommap", &count])
            .collect();
        Ok(self.installed("fio", "fio", &args, Ready::Exit)?.on(self.file_disk()))
    }

    /// PostgreSQL with Debian's defaults, but for what a guest has it listen to. `None`: it isn't installed.
    pub fn postgres(&self) -> Result<Option<Program>> {
        let server = Path::new(POSTGRES);
        if !self.tree.host(server).exists() {
            return Ok(None);
        }
        let args = ["-D", "/data/cluster", "-c", "listen_addresses=*", "-c", "unix_socket_directories=/tmp"];
        let mut program = Program::new("postgres", server, &self.tree, &args, Ready::Tcp(5432));
        for directory in POSTGRES_FILES {
            program.files.extend(self.files(directory, POSTGRES_LEFT_OUT)?);
        }
        program.as_owner = true;
        let initdb = Content::Cluster(server.with_file_name("initdb"));
        Ok(Some(self.accounts(program).on(self.disk(DATABASE_MIB, initdb, "postgres"))))
    }

    /// One of the bench's own programs, on a disk with one file.
    pub fn own_on_disk(&self, name: &str) -> Result<Program> {
        Ok(self.own(name, &[], Ready::Exit)?.on(self.file_disk()))
    }

    fn disk(&self, mib: u32, content: Content, name: &str) -> Disk {
        Disk { mib, content, directory: self.file(name) }
    }

    fn empty_disk(&self) -> Disk {
        self.disk(DATABASE_MIB, Content::Empty, "empty")
    }

    fn file_disk(&self) -> Disk {
        self.disk(DISK_MIB, Content::File(DISK_FILE_MIB), "one-file")
    }

    /// iperf3 as server.
    pub fn iperf3(&self) -> Result<Program> {
        self.installed("iperf3", "iperf3", &["-s", "-p", "5201"], Ready::Tcp(5201))
    }

    /// One of the bench's own programs.
    pub fn own(&self, name: &str, args: &[&str], ready: Ready) -> Result<Program> {
        let source = self.sources.join(format!("{name}.c"));
        let path = tools::program(self.tree.arch().facts().compiler.0, &source, &self.made)?;
        Ok(Program { host: path.clone(), ..Program::new(name, &path, &self.tree, args, ready) })
    }

    /// The files of a directory of the tree and those below it, but for what has one of the names `left_out`: path on this machine, path in
    /// the guest.
    fn files(&self, directory: &str, left_out: &[&str]) -> Result<Vec<(PathBuf, String)>> {
        let mut files = Vec::new();
        walk(&self.tree.host(Path::new(directory)), left_out, &mut files)?;
        let guest = |file: &PathBuf| {
            let inside = file.strip_prefix(self.tree.directory()).unwrap_or(file);
            Path::new("/").join(inside).to_string_lossy().into_owned()
        };
        Ok(files.into_iter().map(|file| (file.clone(), guest(&file))).collect())
    }
}

/// Appends the files of a directory of this machine and of those below it, but for what has one of the names `left_out`.
fn walk(directory: &Path, left_out: &[&str], files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("no {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if left_out.contains(&name.as_str()) || !path.exists() {
            continue;
        }
        if path.is_dir() {
            walk(&path, left_out, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
