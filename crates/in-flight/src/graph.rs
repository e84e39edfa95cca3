//! The graph of sockets in flight: an edge leads from a socket, the holder, to each socket that is in its inbox.
//!
//! A socket in flight is reachable if it has references other than those of messages, or if one of its holders is reachable or
//! not in flight. Only the end of a reference can make a socket unreachable, so only then is one examined: backwards from it to
//! its holders. One look follows a bounded number of edges. What it leaves undecided is settled by a search of the whole graph,
//! but only after enough looks or messages have paid for the search.
use alloc::vec::Vec;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;
use coracle_sorted_map::SortedMap;

/// Edges that a look follows at most.
pub const LOOK_EDGES: usize = 512;

/// The key of a socket: any number that no other socket has.
type Key = usize;

/// The sockets in flight, each with a value.
pub struct Graph<V> {
    sockets: SortedMap<Key, Socket<V>>,
    /// How many references the messages to a holder have, by socket and holder, and by holder and socket.
    holders: SortedMap<(Key, Key), usize>,
    held: SortedMap<(Key, Key), usize>,
    /// Edges that a search of everything may follow: the credit that looks have not spent.
    credit: usize,
    /// A look has left something open, and everything was not searched since.
    unsettled: bool,
    /// Number of the last search.
    search: u64,
}

struct Socket<V> {
    value: V,
    /// References of messages.
    references: usize,
    /// The last search that met it.
    search: u64,
    /// It was found unreachable, and the messages in its inbox are being closed.
    given_up: bool,
}

impl<V> Default for Graph<V> {
    fn default() -> Self {
        Graph::new()
    }
}

impl<V> Graph<V> {
    /// No socket is in flight.
    pub const fn new() -> Self {
        Graph {
            sockets: SortedMap::new(),
            holders: SortedMap::new(),
            held: SortedMap::new(),
            credit: 0,
            unsettled: false,
            search: 0,
        }
    }
    /// How many sockets are in flight.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }
    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }
    /// The value of a socket in flight.
    pub fn get(&self, socket: Key) -> Option<&V> {
        self.sockets.get(&socket).map(|socket| &socket.value)
    }
    /// A message with a reference to `socket` is put into the inbox of `holder`. `value` makes the value of a socket that was not
    /// in flight. Returns how many references messages have to the socket now.
    ///
    /// # Errors
    /// [`NoMemory`]; nothing has changed.
    pub fn add(&mut self, socket: Key, holder: Key, value: impl FnOnce() -> V) -> Result<usize, NoMemory> {
        *self.holders.get_or_insert_with((socket, holder), || 0)? += 1;
        let known = self.held.get_or_insert_with((holder, socket), || 0).map(|count| *count += 1);
        let entry = known.and_then(|()| {
            let make = || Socket { value: value(), references: 0, search: 0, given_up: false };
            let entry = self.sockets.get_or_insert_with(socket, make)?;
            entry.references += 1;
            Ok(entry.references)
        });
        if entry.is_err() {
            take_one(&mut self.holders, (socket, holder));
            if known.is_ok() {
                take_one(&mut self.held, (holder, socket));
            }
        }
        self.credit += usize::from(entry.is_ok());
        entry
    }
    /// A message that was added has left the inbox of `holder`. Returns the value of a socket that is in flight no more.
    pub fn remove(&mut self, socket: Key, holder: Key) -> Option<V> {
        take_one(&mut self.holders, (socket, holder));
        take_one(&mut self.held, (holder, socket));
        let entry = self.sockets.get_mut(&socket)?;
        entry.references -= 1;
        if entry.references > 0 {
            return None;
        }
        self.sockets.remove(&socket).map(|socket| socket.value)
    }
    /// A reference to `socket` has ended that was not one of a message, or messages to one of its holders have. Returns
    /// the sockets that can't be reached any more: the messages in their inboxes are to be closed. `is_held` returns whether a
    /// socket with this value has more references than the given number, those of messages.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn look(&mut self, socket: Key, is_held: impl Fn(&V, usize) -> bool) -> Result<Vec<Key>, NoMemory> {
        match self.look_back(socket, &is_held) {
            Ok(Some(unreachable)) => return Ok(unreachable),
            Ok(None) => {}
            Err(NoMemory) => {
                self.unsettled = true;
                return Err(NoMemory);
            }
        }
        self.unsettled = true;
        self.credit += LOOK_EDGES;
        if self.credit < self.holders.len() {
            return Ok(Vec::new());
        }
        self.search_all(is_held)
    }
    /// Searches all sockets if a look has left something open; the rest is as with [`Graph::look`].
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn settle(&mut self, is_held: impl Fn(&V, usize) -> bool) -> Result<Vec<Key>, NoMemory> {
        if self.unsettled { self.search_all(is_held) } else { Ok(Vec::new()) }
    }
    /// Goes from a socket to its holders, to theirs, and so on, until one is reached from outside. Returns all if none
    /// is; `None` if there are too many edges to say.
    fn look_back(
        &mut self,
        socket: Key,
        is_held: &impl Fn(&V, usize) -> bool,
    ) -> Result<Option<Vec<Key>>, NoMemory> {
        self.search += 1;
        let search = self.search;
        let Graph { sockets, holders, .. } = self;
        let mut met = Vec::new();
        // Returns whether it is reached from outside.
        let mut meet = |key: Key, met: &mut Vec<Key>| -> Result<bool, NoMemory> {
            match sockets.get_mut(&key) {
                Some(socket) if socket.search == search => Ok(false),
                Some(socket) if !socket.given_up && !is_held(&socket.value, socket.references) => {
                    socket.search = search;
                    met.try_push(key)?;
                    Ok(false)
                }
                // Of one that was given up, the messages leave soon, and there is another look then.
                _ => Ok(true),
            }
        };
        if meet(socket, &mut met)? {
            return Ok(Some(Vec::new()));
        }
        let (mut next, mut edges) = (0, 0);
        while let Some(&socket) = met.get(next) {
            next += 1;
            for (&(_, holder), _) in edges_of(holders, socket) {
                edges += 1;
                if edges > LOOK_EDGES {
                    return Ok(None);
                }
                if meet(holder, &mut met)? {
                    return Ok(Some(Vec::new()));
                }
            }
        }
        self.give_up(&met);
        Ok(Some(met))
    }
    /// Goes from all that is reached from outside to what is in its inbox, and so on, and returns the rest.
    fn search_all(&mut self, is_held: impl Fn(&V, usize) -> bool) -> Result<Vec<Key>, NoMemory> {
        self.credit = 0;
        self.search += 1;
        let search = self.search;
        let mut reached: Vec<Key> = Vec::new();
        let mut begin = None;
        while let Some((&key, _)) =
            begin.map_or_else(|| self.sockets.iter().next(), |key| self.sockets.after(&key))
        {
            begin = Some(key);
            let outside =
                edges_of(&self.holders, key).any(|(&(_, holder), _)| !self.sockets.contains_key(&holder));
            let Some(socket) = self.sockets.get_mut(&key) else { continue };
            if outside || socket.given_up || is_held(&socket.value, socket.references) {
                socket.search = search;
                reached.try_push(key)?;
            }
        }
        while let Some(holder) = reached.pop() {
            for (&(_, key), _) in edges_of(&self.held, holder) {
                if let Some(socket) = self.sockets.get_mut(&key)
                    && socket.search != search
                {
                    socket.search = search;
                    reached.try_push(key)?;
                }
            }
        }
        let mut unreachable = Vec::new();
        let rest = self.sockets.iter().filter(|(_, socket)| socket.search != search);
        unreachable.try_extend(rest.map(|(key, _)| *key))?;
        self.unsettled = false;
        self.give_up(&unreachable);
        Ok(unreachable)
    }
    fn give_up(&mut self, unreachable: &[Key]) {
        for key in unreachable {
            if let Some(socket) = self.sockets.get_mut(key) {
                socket.given_up = true;
            }
        }
    }
}

/// The edges that begin with `key`.
fn edges_of(edges: &SortedMap<(Key, Key), usize>, key: Key) -> impl Iterator<Item = (&(Key, Key), &usize)> {
    edges.iter_from(&(key, 0)).take_while(move |((first, _), _)| *first == key)
}

/// One reference less.
fn take_one(edges: &mut SortedMap<(Key, Key), usize>, edge: (Key, Key)) {
    if let Some(count) = edges.get_mut(&edge) {
        *count -= 1;
        if *count == 0 {
            edges.remove(&edge);
        }
    }
}
