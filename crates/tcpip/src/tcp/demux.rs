//! From the four-tuple of a segment to its connection: a keyed hash table in shards, so that CPUs rarely contend.
//!
//! A look-up hashes the tuple, locks one shard for a few instructions, and returns a counted reference. An entry is a
//! connection, a half-open connection or one in TIME_WAIT; the latter two are small records without buffers. No other lock is
//! taken under that of a shard.

use super::listen::Request;
use super::socket::TcpSocket;
use super::table::{self, Table};
use super::time_wait::TimeWait;
use crate::device::Device;
use crate::events::{Ends, Events};
use crate::hash::Key;
use crate::ip::{Address, Endpoint};
use alloc::boxed::Box;
use alloc::sync::Arc;
use coracle_fallible::NoMemory;
use spin::{Mutex, MutexGuard};

const SHARD_BITS: u32 = 4;
/// Above the ports in a key: the addresses are those of IPv6.
const IS_V6: u64 = 1 << 32;

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tuple {
    /// Our address.
    pub local: Address,
    /// The peer's address.
    pub remote: Address,
    /// Our port.
    pub local_port: u16,
    /// The peer's port.
    pub remote_port: u16,
}

impl Tuple {
    /// What is told of it.
    pub fn ends(&self) -> Ends {
        Ends { local_port: self.local_port, remote: Endpoint::new(self.remote, self.remote_port) }
    }

    /// Its hash, for what outsiders see.
    #[inline]
    pub fn hash(&self, key: Key) -> u64 {
        let (addresses, ports) = self.words(key);
        key.hash(addresses, ports)
    }

    /// Its hash, for tables.
    #[inline(always)]
    pub fn spread(&self, key: Key) -> u64 {
        spread(key, self.words(key))
    }

    /// The key in tables. Two addresses of IPv4 fit a word. Those of IPv6 are replaced by a hash of 64 bits, and a bit keeps
    /// the families apart. Different peers with the same ports and hash exist with a probability of 2^-64, and are not to be
    /// found without `key`.
    #[inline(always)]
    fn words(&self, key: Key) -> table::Key {
        let ports = u64::from(self.local_port) << 16 | u64::from(self.remote_port);
        match (self.local.as_v4(), self.remote.as_v4()) {
            (Some(local), Some(remote)) => (u64::from(local) << 32 | u64::from(remote), ports),
            _ => (self.digest(key), ports | IS_V6),
        }
    }

    #[inline(never)]
    fn digest(&self, key: Key) -> u64 {
        let hash = |(high, low)| key.hash(high, low);
        key.hash(hash(self.local.words()), hash(self.remote.words()))
    }
}

#[inline(always)]
fn spread(key: Key, words: table::Key) -> u64 {
    key.spread(words.0, words.1)
}

/// Who a four-tuple belongs to.
pub enum Entry<D: Device, E: Events> {
    /// A connection.
    Connection(Arc<TcpSocket<D, E>>),
    /// A SYN was answered.
    Request(Box<Request<D, E>>),
    /// A connection that has ended.
    TimeWait(Box<TimeWait>),
}

/// What a look-up found.
pub enum Found<D: Device, E: Events> {
    /// A connection.
    Connection(Arc<TcpSocket<D, E>>),
    /// A SYN was answered.
    Request(Request<D, E>),
    /// A connection that has ended.
    TimeWait(TimeWait),
    /// No entry.
    Nothing,
}

/// The table.
pub struct Demux<D: Device, E: Events> {
    key: Key,
    shards: [Mutex<Table<Entry<D, E>>>; 1 << SHARD_BITS],
}

impl<D: Device, E: Events> Demux<D, E> {
    /// An empty table.
    pub fn new(key: Key) -> Self {
        Demux { key, shards: core::array::from_fn(|_| Mutex::new(Table::new())) }
    }

    #[inline(always)]
    fn shard(&self, hash: u64) -> &Mutex<Table<Entry<D, E>>> {
        // The table uses the other bits.
        &self.shards[(hash >> 32) as usize % (1 << SHARD_BITS)]
    }

    #[inline(always)]
    fn words(&self, tuple: &Tuple) -> (table::Key, u64) {
        let words = tuple.words(self.key);
        (words, spread(self.key, words))
    }

    /// The connection of a tuple, if there is one.
    #[inline(always)]
    pub fn connection(&self, tuple: &Tuple) -> Option<Arc<TcpSocket<D, E>>> {
        let (words, hash) = self.words(tuple);
        match self.shard(hash).lock().find(hash, words) {
            Some(Entry::Connection(socket)) => Some(socket.clone()),
            _ => None,
        }
    }

    /// The part of the table that a tuple belongs to, and the words that it has there with their hash. Out of line for all
    /// but [`Demux::connection`].
    #[inline(never)]
    fn locate(&self, tuple: &Tuple) -> (MutexGuard<'_, Table<Entry<D, E>>>, table::Key, u64) {
        let (words, hash) = self.words(tuple);
        (self.shard(hash).lock(), words, hash)
    }

    /// Calls `each` for the entries of a part of the table, in `count` places from `from` on, with their tuple if their key tells it.
    /// Returns whether no others follow in this part; `None`: there is no such part.
    pub fn look(
        &self,
        shard: usize,
        from: usize,
        count: usize,
        mut each: impl FnMut(Option<Tuple>, &Entry<D, E>),
    ) -> Option<bool> {
        let table = self.shards.get(shard)?.lock();
        let Some(entries) = table.places(from, count) else { return Some(true) };
        for ((addresses, ports), entry) in entries {
            let tuple = (ports & IS_V6 == 0).then(|| Tuple {
                local: Address::v4((addresses >> 32) as u32),
                remote: Address::v4(*addresses as u32),
                local_port: (ports >> 16) as u16,
                remote_port: *ports as u16,
            });
            each(tuple, entry);
        }
        Some(false)
    }

    /// Looks a tuple up.
    pub fn find(&self, tuple: &Tuple) -> Found<D, E> {
        let (mut shard, words, hash) = self.locate(tuple);
        match shard.find_mut(hash, words) {
            Some(Entry::Connection(socket)) => Found::Connection(socket.clone()),
            Some(Entry::Request(request)) => Found::Request(Request::clone(request)),
            Some(Entry::TimeWait(end)) => Found::TimeWait(TimeWait::clone(end)),
            None => Found::Nothing,
        }
    }

    /// Enters a tuple; `false` if it was there already.
    ///
    /// # Errors
    /// [`NoMemory`]; the table is as it was.
    pub fn insert(&self, tuple: Tuple, entry: Entry<D, E>) -> Result<bool, NoMemory> {
        let (mut shard, words, hash) = self.locate(&tuple);
        if shard.find_mut(hash, words).is_some() {
            return Ok(false);
        }
        shard.insert(words, entry, |words| spread(self.key, words))?;
        Ok(true)
    }

    /// Replaces the entry if `which` accepts it; returns what was there, or the new entry back.
    pub fn replace(
        &self,
        tuple: &Tuple,
        entry: Entry<D, E>,
        which: impl FnOnce(&Entry<D, E>) -> bool,
    ) -> Result<Entry<D, E>, Entry<D, E>> {
        let (mut shard, words, hash) = self.locate(tuple);
        match shard.find_mut(hash, words) {
            Some(here) if which(here) => Ok(core::mem::replace(here, entry)),
            _ => Err(entry),
        }
    }

    /// Changes an entry in place, if it is there.
    pub fn change<R>(&self, tuple: &Tuple, change: impl FnOnce(&mut Entry<D, E>) -> R) -> Option<R> {
        let (mut shard, words, hash) = self.locate(tuple);
        shard.find_mut(hash, words).map(change)
    }

    /// Removes the entry if `which` accepts it.
    pub fn remove(&self, tuple: &Tuple, which: impl FnOnce(&Entry<D, E>) -> bool) -> Option<Entry<D, E>> {
        let (mut shard, words, hash) = self.locate(tuple);
        if !which(shard.find_mut(hash, words)?) {
            return None;
        }
        shard.remove(words, |words| spread(self.key, words))
    }
}
