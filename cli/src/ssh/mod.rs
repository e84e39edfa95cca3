//! ssh, scp and sftp to guests.
//!
//! Nothing listens. ssh(1) starts `coracle ssh-server NAME` as its proxy command (`coracle ssh-config` says so), which becomes the
//! host's sshd(8) for that one connection (`sshd -i`), with settings of its own: the public keys that the guest was run with, and a command that it
//! runs whatever is asked. That is `coracle ssh-session NAME`: it runs a shell, the command, or sftp-server(8) in the guest, as `coracle exec`
//! does. That sshd is in a network of its own, whose loopback has the guest's ports: `ssh -L 8080:localhost:80 NAME` leads to the guest.

mod config;
mod forward;
mod keys;
mod server;
mod session;

pub use config::print as config;
pub use keys::keep;
pub use server::serve;
pub use session::run as session;
