//! A guest in the background, and the commands that a person gives for it.
use crate::guest::LIMIT;
use crate::outcome::Outcome;
use crate::trials::run;
use crate::wait::until;
use crate::{paths, ports};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

/// A guest in the background, ended with this.
pub struct Background {
    /// Its name.
    pub name: String,
    /// The user's directory for guests.
    pub folder: PathBuf,
}

impl Background {
    /// Starts `coracle run -d --net none WORDS` with a directory of its own for guests; `name` is the guest's, and the test's.
    ///
    /// # Errors
    /// If the guest does not start.
    pub fn start(name: &str, words: &[&str]) -> Result<Background, String> {
        Self::on_network(name, &[&["--net", "none"], words].concat())
    }

    /// The same without `--net none`.
    ///
    /// # Errors
    /// If the guest does not start.
    pub fn on_network(name: &str, words: &[&str]) -> Result<Background, String> {
        let folder = paths::work().join(format!("background-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(|e| e.to_string())?;
        let guest = Background { name: name.to_owned(), folder };
        let started = run(guest.command(&["run", "-d", "--name", name]).args(words), b"")?;
        if started.status == 0 { Ok(guest) } else { Err(started.evidence()) }
    }

    /// `coracle WORDS`
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(paths::coracle());
        command.args(words).env("XDG_RUNTIME_DIR", &self.folder);
        command
    }

    /// Debian's nginx, and the address of a page whose text is "a page".
    ///
    /// # Errors
    /// If the guest does not start.
    pub fn nginx(name: &str) -> Result<(Background, String), String> {
        let site = paths::work().join(format!("site-{name}"));
        fs::create_dir_all(&site)
            .and_then(|()| fs::write(site.join("page"), "a page"))
            .map_err(|e| e.to_string())?;
        let port = ports::free()?;
        let configuration = paths::programs().join("servers/nginx.conf");
        let add = format!("{}:/etc/nginx/coracle.conf", configuration.display());
        let www = format!("{}:/www", site.display());
        let publish = format!("127.0.0.1:{port}:8080");
        let options = ["-p", &publish, "--user", "root", "--add", &add, "--add", &www];
        let program = ["/usr/sbin/nginx", "-c", "/etc/nginx/coracle.conf"];
        let guest = Background::on_network(name, &[&options[..], &program[..]].concat())?;
        Ok((guest, format!("http://127.0.0.1:{port}/page")))
    }

    /// `coracle COMMAND NAME WORDS`, until its output holds all of `wanted`.
    ///
    /// # Errors
    /// What it says in the end, if that lacks some.
    pub fn says(&self, command: &str, words: &[&str], wanted: &[&str]) -> Result<String, String> {
        let mut last = Outcome::default();
        let found = until(LIMIT, || {
            last = run(self.command(&[command, &self.name]).args(words), b"").unwrap_or_default();
            last.status == 0 && wanted.iter().all(|text| last.text().contains(text))
        });
        if found {
            Ok(last.text())
        } else {
            Err(format!("{command} {words:?} lacks some of {wanted:?}: {}", last.evidence()))
        }
    }

    /// `coracle exec OPTIONS NAME WORDS` with this input, to its end.
    ///
    /// # Errors
    /// If it does not start.
    pub fn exec(&self, options: &[&str], words: &[&str], input: &[u8]) -> Result<Outcome, String> {
        run(self.command(&["exec"]).args(options).arg(&self.name).args(words), input)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // One that does not end was reported by what waited for it.
        let _ = run(&mut self.command(&["stop", "-t", "1", &self.name]), b"");
    }
}
