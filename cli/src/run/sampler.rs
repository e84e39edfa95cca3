//! The other end of the plugin `plugin/sample.c`, which holds the guest once in every N instructions.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use coracle_control::SampleRecord;
use coracle_qemu_plugin::Failure;
use rustix::io::Errno;

use super::memory_file::MemoryFile;
use crate::error::{Error, Result};

/// The plugin.
const SOURCE: &str = include_str!("../../plugin/sample.c");
/// In place of a period: the guest that is held goes on.
const GO: u64 = u64::MAX;
/// How long a sample is waited for.
const MOMENT: Duration = Duration::from_millis(100);
/// Bytes of what the plugin says of a sample.
const SAMPLE_BYTES: usize = 24;

/// The plugin as QEMU loads it.
#[derive(Debug)]
pub struct Plugin {
    file: MemoryFile,
    /// Its end of the socket.
    theirs: OwnedFd,
}

impl Plugin {
    /// Compiles it; with this end of its socket.
    ///
    /// # Errors
    /// If there is no compiler.
    pub fn compile() -> Result<(Plugin, Sampler)> {
        let fail =
            |error: std::io::Error| Error::new("cannot make the plugin that counts instructions").why(error);
        let folder = tempfile::tempdir().map_err(fail)?;
        let product = folder.path().join("sample.so");
        coracle_qemu_plugin::compile(SOURCE, &product).map_err(|failure| {
            let error = Error::new("cannot make the plugin that counts instructions").why(&failure);
            match failure {
                Failure::NoCompiler(_) => error
                    .help("on Debian or Ubuntu: apt-get install gcc libc6-dev")
                    .help("or set CC to the name of a C compiler, or leave out --count-instructions"),
                _ => error,
            }
        })?;
        let file = MemoryFile::new("sample.so", &std::fs::read(&product).map_err(fail)?)?;
        let (ours, theirs) = UnixStream::pair().map_err(fail)?;
        let theirs = OwnedFd::from(theirs);
        // QEMU inherits it.
        rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty()).map_err(|error| fail(error.into()))?;
        ours.set_read_timeout(Some(MOMENT)).map_err(fail)?;
        Ok((Plugin { file, theirs }, Sampler { stream: ours, said: Vec::new(), is_held: false, periods: 0 }))
    }

    /// What follows `-plugin`.
    pub fn argument(&self) -> String {
        let fd: RawFd = self.theirs.as_raw_fd();
        format!("{},fd={fd}", self.file.path().display())
    }
}

/// Tells the plugin what to do.
#[derive(Debug)]
pub struct Sampler {
    stream: UnixStream,
    /// What was read of a sample.
    said: Vec<u8>,
    /// A CPU is held.
    is_held: bool,
    /// Periods that were given so far. What the plugin says of an earlier one was let go with it.
    periods: u64,
}

impl Sampler {
    fn say(&mut self, word: u64) -> Result<(), Errno> {
        self.stream.write_all(&word.to_ne_bytes()).map_err(|_| Errno::IO)
    }

    /// Begins to take a sample in every so many instructions; 0: ends that, and lets the guest go on.
    ///
    /// # Errors
    /// EIO: QEMU is gone.
    pub fn begin(&mut self, period: u64) -> Result<(), Errno> {
        self.is_held = false;
        self.periods += 1;
        // The largest word has another meaning.
        self.say(period.min(GO - 1))
    }

    /// Lets the guest go on, if it is held.
    ///
    /// # Errors
    /// EIO: QEMU is gone.
    pub fn go_on(&mut self) -> Result<(), Errno> {
        if std::mem::take(&mut self.is_held) { self.say(GO) } else { Ok(()) }
    }

    /// Waits a moment until the guest is held; `None` if it is not.
    ///
    /// # Errors
    /// EIO: QEMU is gone.
    pub fn sample(&mut self) -> Result<Option<SampleRecord>, Errno> {
        loop {
            let Some((record, periods)) = self.read()? else { return Ok(None) };
            if periods == self.periods {
                self.is_held = true;
                return Ok(Some(record));
            }
        }
    }

    /// Reads what the plugin says of a sample, and after how many periods; `None` if that takes longer than a moment.
    fn read(&mut self) -> Result<Option<(SampleRecord, u64)>, Errno> {
        let mut buffer = [0; SAMPLE_BYTES];
        while self.said.len() < SAMPLE_BYTES {
            let missing = SAMPLE_BYTES - self.said.len();
            match self.stream.read(&mut buffer[..missing]) {
                Ok(0) => return Err(Errno::IO),
                Ok(len) => self.said.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                Err(_) => return Err(Errno::IO),
            }
        }
        let word = |at: usize| self.said[at..].first_chunk().map_or(0, |word| u64::from_ne_bytes(*word));
        let (record, periods) = (SampleRecord { number: word(0), address: word(8) }, word(16));
        self.said.clear();
        Ok(Some((record, periods)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_is_compiled() {
        let (plugin, _sampler) = Plugin::compile().unwrap();
        assert!(plugin.argument().contains(",fd="));
    }

    #[test]
    fn a_sample_is_taken_and_let_go() {
        let (ours, mut plugin) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(MOMENT)).unwrap();
        let mut sampler = Sampler { stream: ours, said: Vec::new(), is_held: false, periods: 0 };
        let mut word = [0; 8];
        sampler.begin(1000).unwrap();
        plugin.read_exact(&mut word).unwrap();
        assert_eq!(u64::from_ne_bytes(word), 1000);
        assert_eq!(sampler.sample(), Ok(None));
        // Nothing is held, so that nothing is let go.
        sampler.go_on().unwrap();
        let said = |periods: u64| [1, 0xffff_ffff_8000_0000, periods].map(u64::to_ne_bytes).concat();
        let first = said(1);
        plugin.write_all(&first[..5]).unwrap();
        assert_eq!(sampler.sample(), Ok(None));
        plugin.write_all(&first[5..]).unwrap();
        assert_eq!(sampler.sample(), Ok(Some(SampleRecord { number: 1, address: 0xffff_ffff_8000_0000 })));
        sampler.go_on().unwrap();
        plugin.read_exact(&mut word).unwrap();
        assert_eq!(u64::from_ne_bytes(word), GO);
        // One that was not taken is none of the next profile, whose first may come before it is waited for.
        plugin.write_all(&first).unwrap();
        sampler.begin(0).unwrap();
        plugin.read_exact(&mut word).unwrap();
        assert_eq!(u64::from_ne_bytes(word), 0);
        assert_eq!(sampler.sample(), Ok(None));
        plugin.write_all(&first).unwrap();
        plugin.write_all(&said(3)).unwrap();
        sampler.begin(1000).unwrap();
        assert!(matches!(sampler.sample(), Ok(Some(SampleRecord { number: 1, .. }))));
        sampler.go_on().unwrap();
        drop(plugin);
        assert_eq!(sampler.sample(), Err(Errno::IO));
    }
}
