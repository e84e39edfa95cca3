//! Pseudo-terminals that the kernel makes for a program that it starts.
use super::master::Master;
use super::pair::Pty;
use alloc::sync::Arc;
use coracle_control::Window;
use coracle_core::errno::Errno;
use coracle_core::fs::context::FsContext;
use coracle_core::fs::file::OpenFile;
use coracle_core::fs::open::open;
use coracle_core::fs::walk::Bounds;
use coracle_core::task::process::Process;
use coracle_image::User;
use linux_raw_sys::general::{O_NOCTTY, O_RDWR};

/// A new pseudo-terminal.
pub struct Terminal {
    /// The end at which a person would be.
    pub master: Arc<OpenFile>,
    /// The program's end.
    pub slave: Arc<OpenFile>,
    pty: Arc<Pty>,
}

impl Terminal {
    /// Makes one of this size for a program of this user. ENOSPC, ENOMEM, and what opening /dev/ptmx reports.
    pub fn new(context: &FsContext, window: Window, owner: User) -> Result<Terminal, Errno> {
        let master = open(context, None, b"/dev/ptmx", O_RDWR | O_NOCTTY, 0, Bounds::default())?;
        let device = master.file.as_any().downcast_ref::<Master>().ok_or(Errno::NXIO)?;
        let pty = device.pty().clone();
        pty.set_locked(false);
        pty.attributes.lock().set_user(owner.uid);
        pty.set_window(window);
        let slave = device.open_slave(O_RDWR | O_NOCTTY)?;
        Ok(Terminal { master, slave, pty })
    }

    /// Makes it the controlling terminal of a process that has not run yet and leads a session.
    pub fn control(&self, leader: &Process) {
        self.pty.control().give_to(leader);
    }
}

/// Sets the size of the terminal that `master` is an end of. ENOTTY if it is none.
pub fn resize(master: &OpenFile, window: Window) -> Result<(), Errno> {
    let device = master.file.as_any().downcast_ref::<Master>().ok_or(Errno::NOTTY)?;
    device.pty().set_window(window);
    Ok(())
}
