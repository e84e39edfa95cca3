//! All destinations of a guest's lines.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::data::{LOG, Note};
use super::journald::{self, Journald};
use super::json_file::JsonFile;
use super::outlet::{Destination, Losses, Outlet};
use super::record::Record;
use super::remote::Address;
use super::settings::{Choice, Driver};
use super::syslog::{Sender, Syslog};
use crate::error::{Error, Result, warn};
use crate::instances;
use crate::run::show;

/// Where syslog(3) sends to.
const LOCAL: &str = "/dev/log";

/// Says what the guest is called now; `None` if it has no name.
pub type Naming = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// Takes the lines of a guest.
#[derive(Default)]
pub struct Logger {
    outlets: Vec<Outlet>,
    board: Option<Arc<Board>>,
}

/// The note of a guest, which all destinations change.
struct Board {
    naming: Naming,
    note: Mutex<Note>,
    /// What each destination lost.
    lost: Mutex<Vec<u64>>,
}

impl Board {
    fn set(&self, index: usize, name: &str, losses: &Losses) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost[index] = losses.lost;
        let mut note = self.note.lock().unwrap_or_else(PoisonError::into_inner);
        note.lost = lost.iter().sum();
        note.trouble = losses.trouble.as_ref().map(|trouble| format!("{name}: {trouble}"));
        if let Some(own) = (self.naming)() {
            note.write(&own);
        }
    }
}

impl Logger {
    /// Starts what was chosen. `host`: the guest's host name.
    ///
    /// # Errors
    /// If the driver needs a name, and there is none.
    pub fn start(choice: &Choice, naming: Naming, host: &str) -> Result<Logger> {
        let name = naming();
        let name = name.as_deref();
        let tag = choice.tag.clone().or(name.map(str::to_owned)).unwrap_or_else(|| "coracle".to_owned());
        let sender = Sender { host: host.to_owned(), tag: tag.clone(), facility: choice.facility };
        let mut destinations: Vec<(String, Box<dyn Destination>)> = Vec::new();
        match choice.driver {
            Driver::None => {}
            Driver::JsonFile => {
                let name = name.ok_or_else(|| {
                    Error::new("the log driver json-file needs a name for the guest")
                        .help("give it one with --name")
                })?;
                instances::file(name, LOG)?;
                let own = Arc::clone(&naming);
                let place = move || {
                    let name = own().ok_or_else(|| io::Error::other("the guest has lost its name"))?;
                    instances::file(&name, LOG).map_err(|error| io::Error::other(error.to_string()))
                };
                let file = JsonFile::new(Box::new(place), choice.most_bytes, choice.most_files);
                destinations.push(("the log file".to_owned(), Box::new(file)));
            }
            Driver::Journald => {
                let path = match &choice.address {
                    Some(Address::Unix(path)) => path.clone(),
                    Some(_) => {
                        return Err(Error::new("journald listens on a Unix socket: address=unix://PATH"));
                    }
                    None => journald::SOCKET.into(),
                };
                let name = name.unwrap_or_default().to_owned();
                let journald = Journald::new(path, name, tag, choice.facility);
                destinations.push(("journald".to_owned(), Box::new(journald)));
            }
            Driver::Syslog => {
                let address = choice.address.clone().unwrap_or(Address::Unix(LOCAL.into()));
                let daemon = Syslog::new(address.clone(), sender.clone(), choice);
                destinations.push((address.to_string(), Box::new(daemon)));
            }
        }
        if let Some(server) = &choice.server {
            destinations.push((server.to_string(), Box::new(Syslog::new(server.clone(), sender, choice))));
        }
        let note = Note { driver: choice.driver.name().to_owned(), ..Note::default() };
        if let Some(name) = name {
            note.write(name);
        }
        let lost = Mutex::new(vec![0; destinations.len()]);
        let board = Arc::new(Board { naming, note: Mutex::new(note), lost });
        let outlets = destinations.into_iter().enumerate().map(|(index, (name, destination))| {
            let (board, own) = (Arc::clone(&board), name.clone());
            Outlet::start(&name, destination, move |losses| board.set(index, &own, losses))
        });
        let outlets = outlets.collect();
        Ok(Logger { outlets, board: Some(board) })
    }

    /// Whether there is any destination.
    pub fn is_some(&self) -> bool {
        !self.outlets.is_empty()
    }

    /// Takes a line for all destinations.
    pub fn push(&self, record: Record) {
        let Some((last, others)) = self.outlets.split_last() else { return };
        others.iter().for_each(|outlet| outlet.push(record.clone()));
        last.push(record);
    }

    /// Takes a message to /dev/log; shows it if there is no log.
    pub fn push_syslog(&self, record: Record) {
        if self.is_some() {
            return self.push(record);
        }
        let origin = record.origin.as_ref();
        let tag = origin.map(|origin| origin.tag.as_str()).unwrap_or_default();
        let pid = origin.and_then(|origin| origin.pid).map(|pid| format!("[{pid}]")).unwrap_or_default();
        show(&format!("{tag}{pid}: {}", String::from_utf8_lossy(&record.text)));
    }

    /// Waits until all was taken, but not for long, and warns of what was lost.
    pub fn end(&self) {
        for (index, outlet) in self.outlets.iter().enumerate() {
            let losses = outlet.end();
            self.board.iter().for_each(|board| board.set(index, outlet.name(), &losses));
            let Losses { lost, trouble } = losses;
            if lost > 0 {
                let why = trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
                warn(format_args!(
                    "{lost} lines of the guest's log were lost: {} did not take them{why}",
                    outlet.name()
                ));
            }
        }
    }
}
