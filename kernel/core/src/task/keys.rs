//! Keys and keyrings (keyrings(7)): small secrets that the kernel holds for users and sessions. There is no thread keyring, and no
//! program that makes keys which are asked for (request-key(8)).
use super::process::Process;
use crate::errno::Errno;
use crate::lock::Mutex;
use crate::time::clock;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_capabilities::number;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_hal::sync::atomic::{AtomicU32, Ordering::Relaxed};
use coracle_sorted_map::SortedMap;

mod list;

pub use list::{list, list_users};

/// What a right of a key's mask allows (keyctl_setperm(3)), as in its lowest byte.
pub mod right {
    /// Its attributes are seen.
    pub const VIEW: u32 = 1;
    /// Its payload is read.
    pub const READ: u32 = 2;
    /// Its payload, or the links of a keyring, are changed.
    pub const WRITE: u32 = 4;
    /// It is found.
    pub const SEARCH: u32 = 8;
    /// It is linked to.
    pub const LINK: u32 = 0x10;
    /// Its owner and rights are changed.
    pub const SETATTR: u32 = 0x20;
    /// All of these.
    pub const ALL: u32 = 0x3f;
}
/// Where the rights of possessors, of the owner and of the group begin; those of others are the lowest.
const POSSESSOR: u32 = 24;
const OWNER: u32 = 16;
const GROUP: u32 = 8;
/// Keyrings in keyrings that are searched (Linux's KEYRING_SEARCH_MAX_DEPTH).
const MAX_DEPTH: usize = 6;
/// Keys and bytes of a user, and of root (/proc/sys/kernel/keys).
const QUOTA: (usize, usize) = (200, 20_000);
const ROOT_QUOTA: (usize, usize) = (1_000_000, 25_000_000);
/// Indexes of the real and of the file system's id.
const REAL: usize = 0;
const FILE_SYSTEM: usize = 3;

/// Types of keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A payload that programs read.
    User,
    /// One for the kernel alone.
    Logon,
    /// A large payload.
    Big,
    /// Links to others.
    Keyring,
}

impl Kind {
    /// The type of this name. ENODEV, EPERM.
    pub fn named(name: &[u8]) -> Result<Kind, Errno> {
        match name {
            b"user" => Ok(Kind::User),
            b"logon" => Ok(Kind::Logon),
            b"big_key" => Ok(Kind::Big),
            b"keyring" => Ok(Kind::Keyring),
            [b'.', ..] => Err(Errno::PERM),
            _ => Err(Errno::NODEV),
        }
    }
    fn name(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Logon => "logon",
            Kind::Big => "big_key",
            Kind::Keyring => "keyring",
        }
    }
    /// EINVAL for a payload of a size that it can't have.
    pub fn check(self, len: usize) -> Result<(), Errno> {
        let (least, most) = match self {
            Kind::Keyring => (0, 0),
            Kind::Big => (1, (1 << 20) - 1),
            Kind::User | Kind::Logon => (1, 32_767),
        };
        if (least..=most).contains(&len) { Ok(()) } else { Err(Errno::INVAL) }
    }
}

/// A key, or a keyring.
pub struct Key {
    /// Its number.
    pub id: i32,
    /// Its type.
    pub kind: Kind,
    description: Vec<u8>,
    uid: AtomicU32,
    gid: AtomicU32,
    rights: AtomicU32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    payload: Vec<u8>,
    links: Vec<Arc<Key>>,
    /// Nanoseconds since boot.
    expiry: Option<u64>,
    is_revoked: bool,
    is_invalid: bool,
}

/// A key that the running program has named, and whether it possesses that.
#[derive(Clone)]
pub struct Found {
    /// The key.
    pub key: Arc<Key>,
    /// A keyring of the process leads to it.
    pub is_possessed: bool,
}

/// The keyrings of a process. The session's is inherited, and stays when a program is executed.
#[derive(Default)]
pub struct Keyrings {
    process: Option<Arc<Key>>,
    session: Option<Arc<Key>>,
}

impl Keyrings {
    /// Those of a child.
    pub fn inherit(&self) -> Keyrings {
        Keyrings { process: None, session: self.session.clone() }
    }
    /// The process executes a program.
    pub fn program_ended(&mut self) -> Option<Arc<Key>> {
        self.process.take()
    }
}

static KEYS: Mutex<SortedMap<i32, Weak<Key>>> = Mutex::new(SortedMap::new());
/// The keyring of each user, and that of its sessions.
static OF_USERS: Mutex<SortedMap<u32, [Arc<Key>; 2]>> = Mutex::new(SortedMap::new());
/// Keys and bytes of each user.
static QUOTAS: Mutex<SortedMap<u32, (usize, usize)>> = Mutex::new(SortedMap::new());

/// Charges a user. EDQUOT.
fn charge(uid: u32, keys: usize, bytes: usize) -> Result<(), Errno> {
    let limit = if uid == 0 { ROOT_QUOTA } else { QUOTA };
    let mut quotas = QUOTAS.lock();
    let own = quotas.get_or_insert_with(uid, || (0, 0))?;
    let new = (own.0 + keys, own.1 + bytes);
    if (keys != 0 && new.0 > limit.0) || (bytes != 0 && new.1 > limit.1) {
        return Err(Errno::DQUOT);
    }
    *own = new;
    Ok(())
}

fn discharge(uid: u32, keys: usize, bytes: usize) {
    let mut quotas = QUOTAS.lock();
    if let Some(own) = quotas.get_mut(&uid) {
        *own = (own.0.saturating_sub(keys), own.1.saturating_sub(bytes));
        if own.0 == 0 {
            quotas.remove(&uid);
        }
    }
}

/// Held while a keyring is linked to another.
static LINKING: Mutex<()> = Mutex::new(());

/// Drops links, and the keys whose last links these are: one after the other, as keyrings lie in keyrings to any depth.
fn drop_links(mut links: Vec<Arc<Key>>) {
    while let Some(link) = links.pop() {
        let Some(mut key) = Arc::into_inner(link) else { continue };
        let mut inner = core::mem::take(&mut key.state.get_mut().links);
        match links.make_room(inner.len()) {
            Ok(()) => inner.drain(..).for_each(|link| links.push_reserved(link)),
            // Lost memory is better than the end of the stack.
            Err(NoMemory) => core::mem::forget(inner),
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        KEYS.lock().remove(&self.id);
        let size = self.size();
        discharge(self.uid.load(Relaxed), 1, size);
        drop_links(core::mem::take(&mut self.state.get_mut().links));
    }
}

impl Key {
    /// A key of the running program's user. EDQUOT, ENOMEM.
    pub fn new(kind: Kind, description: &[u8], payload: Vec<u8>, rights: u32) -> Result<Arc<Key>, Errno> {
        let (uid, gid) = crate::this::with(|thread| {
            let own = thread.process.credentials.lock();
            (own.uid[FILE_SYSTEM], own.gid[FILE_SYSTEM])
        });
        Key::of(uid, gid, kind, description, payload, rights)
    }

    fn of(
        uid: u32,
        gid: u32,
        kind: Kind,
        description: &[u8],
        payload: Vec<u8>,
        rights: u32,
    ) -> Result<Arc<Key>, Errno> {
        let description = description.try_to_vec()?;
        charge(uid, 1, description.len() + 1 + payload.len())?;
        let key = Key {
            id: free_id(),
            kind,
            description,
            uid: AtomicU32::new(uid),
            gid: AtomicU32::new(gid),
            rights: AtomicU32::new(rights),
            state: Mutex::new(State { payload, ..State::default() }),
        };
        // Where there is no memory for it, it is dropped, and the user is not charged any more.
        let key = try_arc(key)?;
        KEYS.lock().insert(key.id, Arc::downgrade(&key))?;
        Ok(key)
    }

    fn size(&self) -> usize {
        self.description.len() + 1 + self.state.lock().payload.len()
    }

    fn is_called(&self, kind: Kind, description: &[u8]) -> bool {
        self.kind == kind && self.description == description
    }

    /// The keys that a keyring leads to. ENOMEM.
    fn links(&self) -> Result<Vec<Arc<Key>>, NoMemory> {
        self.state.lock().links.iter().cloned().try_collect_vec()
    }

    /// EKEYREVOKED, EKEYEXPIRED, ENOKEY for a key that can't be used any more.
    pub fn check_live(&self) -> Result<(), Errno> {
        let state = self.state.lock();
        match state.expiry {
            _ if state.is_invalid => Err(Errno::NOKEY),
            _ if state.is_revoked => Err(Errno::KEYREVOKED),
            Some(end) if end <= clock::monotonic_ns() => Err(Errno::KEYEXPIRED),
            _ => Ok(()),
        }
    }

    /// Adds a link, in place of that to a key of the same type and description. ENOTDIR, EDEADLK, ELOOP, EDQUOT, ENOMEM.
    pub fn link(self: &Arc<Self>, key: &Arc<Key>) -> Result<(), Errno> {
        if self.kind != Kind::Keyring {
            return Err(Errno::NOTDIR);
        }
        // Two that link each other's keyring at once would make a ring of them.
        let linking = (key.kind == Kind::Keyring).then(|| LINKING.lock());
        if linking.is_some() {
            walk(key, |inner, depth| match () {
                () if Arc::ptr_eq(inner, self) => Err(Errno::DEADLK),
                () if depth >= MAX_DEPTH => Err(Errno::LOOP),
                () => Ok(true),
            })?;
        }
        let mut state = self.state.lock();
        let same = state.links.iter().position(|old| old.is_called(key.kind, &key.description));
        let old = match same {
            Some(index) => core::mem::replace(&mut state.links[index], key.clone()),
            None => return Ok(state.links.try_push(key.clone())?),
        };
        drop(state);
        drop(old);
        Ok(())
    }

    /// Takes a link away. ENOTDIR, ENOENT.
    pub fn unlink(&self, key: &Arc<Key>) -> Result<(), Errno> {
        if self.kind != Kind::Keyring {
            return Err(Errno::NOTDIR);
        }
        let mut state = self.state.lock();
        let index = state.links.iter().position(|link| Arc::ptr_eq(link, key)).ok_or(Errno::NOENT)?;
        let old = state.links.remove(index);
        drop(state);
        drop(old);
        Ok(())
    }

    /// Takes all links away. ENOTDIR.
    pub fn clear(&self) -> Result<(), Errno> {
        if self.kind != Kind::Keyring {
            return Err(Errno::NOTDIR);
        }
        let old = core::mem::take(&mut self.state.lock().links);
        drop(old);
        Ok(())
    }

    /// A link of this keyring that can be updated in place.
    pub fn to_update(&self, kind: Kind, description: &[u8]) -> Option<Arc<Key>> {
        let state = self.state.lock();
        let found = state.links.iter().find(|link| link.is_called(kind, description));
        found.filter(|_| kind != Kind::Keyring).cloned()
    }

    /// Replaces the payload. EOPNOTSUPP, EDQUOT.
    pub fn update(&self, payload: Vec<u8>) -> Result<(), Errno> {
        if self.kind == Kind::Keyring {
            return Err(Errno::OPNOTSUPP);
        }
        let uid = self.uid.load(Relaxed);
        let mut state = self.state.lock();
        let (old, new) = (state.payload.len(), payload.len());
        charge(uid, 0, new.saturating_sub(old))?;
        discharge(uid, 0, old.saturating_sub(new));
        state.payload = payload;
        state.expiry = None;
        Ok(())
    }

    /// What keyctl_read(3) gives: the payload, or the numbers of the keys linked to. EOPNOTSUPP.
    pub fn read(&self) -> Result<Vec<u8>, Errno> {
        let state = self.state.lock();
        match self.kind {
            Kind::Keyring => {
                let mut bytes = Vec::new();
                state.links.iter().try_for_each(|key| bytes.try_extend_from_slice(&key.id.to_le_bytes()))?;
                Ok(bytes)
            }
            Kind::Logon => Err(Errno::OPNOTSUPP),
            Kind::User | Kind::Big => Ok(state.payload.try_to_vec()?),
        }
    }

    /// What keyctl_describe(3) gives.
    pub fn describe(&self) -> Result<Text, NoMemory> {
        let mut text = Text::new();
        let (uid, gid) = self.shown_owners();
        write!(text, "{};{uid};{gid};{:08x};", self.kind.name(), self.rights.load(Relaxed))?;
        text.push(&self.description)?;
        Ok(text)
    }

    /// It can't be used any more. Its payload and links go.
    pub fn revoke(&self) {
        let mut state = self.state.lock();
        state.is_revoked = true;
        let old = (core::mem::take(&mut state.payload), core::mem::take(&mut state.links));
        drop(state);
        discharge(self.uid.load(Relaxed), 0, old.0.len());
    }

    /// No search finds the key any more.
    pub fn invalidate(&self) {
        self.state.lock().is_invalid = true;
    }

    /// It expires in so many seconds; 0: never.
    pub fn set_timeout(&self, seconds: u32) {
        let end = clock::monotonic_ns().saturating_add(u64::from(seconds) * clock::SECOND_NS);
        self.state.lock().expiry = (seconds != 0).then_some(end);
    }

    /// Sets the rights: its owner, or CAP_SYS_ADMIN. EINVAL, EACCES.
    pub fn set_rights(&self, rights: u32) -> Result<(), Errno> {
        const KNOWN: u32 = right::ALL * 0x0101_0101;
        if rights & !KNOWN != 0 {
            return Err(Errno::INVAL);
        }
        let owner = self.uid.load(Relaxed);
        let may = crate::this::with(|thread| {
            let own = thread.process.credentials.lock();
            own.uid[FILE_SYSTEM] == owner || own.can(number::SYS_ADMIN)
        });
        if !may {
            return Err(Errno::ACCES);
        }
        self.rights.store(rights, Relaxed);
        Ok(())
    }

    /// Gives it to a user or a group, which another than a member's group needs CAP_SYS_ADMIN for. EACCES, EDQUOT.
    pub fn give(&self, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        let old = self.uid.load(Relaxed);
        let may = crate::this::with(|thread| {
            let own = thread.process.credentials.lock();
            let is_member = |gid: u32| own.gid[FILE_SYSTEM] == gid || own.groups.contains(&gid);
            let is_free = uid.is_none_or(|uid| uid == old)
                && gid.is_none_or(|gid| gid == self.gid.load(Relaxed) || is_member(gid));
            is_free || own.can(number::SYS_ADMIN)
        });
        if !may {
            return Err(Errno::ACCES);
        }
        if let Some(uid) = uid.filter(|uid| *uid != old) {
            let size = self.size();
            charge(uid, 1, size)?;
            discharge(old, 1, size);
            self.uid.store(uid, Relaxed);
        }
        if let Some(gid) = gid {
            self.gid.store(gid, Relaxed);
        }
        Ok(())
    }
}

/// A number that no key has.
fn free_id() -> i32 {
    loop {
        let id = (crate::random::u64() as u32 & i32::MAX as u32) as i32;
        // Small ones are hard to tell from those of special keyrings.
        if id > 2 && !KEYS.lock().contains_key(&id) {
            return id;
        }
    }
}

/// Calls `look` for a key and those it leads to, with their depth; whether to go on into one is its result.
fn walk(top: &Arc<Key>, mut look: impl FnMut(&Arc<Key>, usize) -> Result<bool, Errno>) -> Result<(), Errno> {
    let mut waiting = Vec::new();
    waiting.try_push((top.clone(), 0))?;
    while let Some((key, depth)) = waiting.pop() {
        if look(&key, depth)? && key.kind == Kind::Keyring && depth < MAX_DEPTH {
            let links = key.links()?;
            waiting.make_room(links.len())?;
            links.into_iter().rev().for_each(|link| waiting.push_reserved((link, depth + 1)));
        }
    }
    Ok(())
}

impl Found {
    /// EACCES unless the running program has one of these rights.
    pub fn need(&self, rights: u32) -> Result<(), Errno> {
        let key = &self.key;
        let all = key.rights.load(Relaxed);
        let of_user = crate::this::with(|thread| {
            let own = thread.process.credentials.lock();
            let gid = key.gid.load(Relaxed);
            if own.uid[FILE_SYSTEM] == key.uid.load(Relaxed) {
                all >> OWNER
            } else if all >> GROUP & right::ALL != 0
                && (own.gid[FILE_SYSTEM] == gid || own.groups.contains(&gid))
            {
                all >> GROUP
            } else {
                all
            }
        });
        let of_possessor = if self.is_possessed { all >> POSSESSOR } else { 0 };
        if (of_user | of_possessor) & rights & right::ALL != 0 { Ok(()) } else { Err(Errno::ACCES) }
    }

    /// The first key of a type and description that this keyring leads to (keyctl_search(3)). ENOKEY; or why one that was found
    /// can't be used.
    pub fn search(&self, kind: Kind, description: &[u8]) -> Result<Found, Errno> {
        let (mut found, mut failure) = (None, Errno::NOKEY);
        walk(&self.key, |key, depth| {
            if found.is_some() {
                return Ok(false);
            }
            let at = Found { key: key.clone(), is_possessed: self.is_possessed };
            let may = at.need(right::SEARCH);
            if depth > 0 && key.is_called(kind, description) {
                match key.check_live().and(may) {
                    Ok(()) => found = Some(at),
                    Err(error) if error != Errno::NOKEY => failure = error,
                    Err(_) => {}
                }
                return Ok(false);
            }
            Ok(may.is_ok() && key.check_live().is_ok())
        })?;
        found.ok_or(failure)
    }
}

/// Special keyrings (keyctl(2)).
const THREAD_KEYRING: i32 = -1;
const PROCESS_KEYRING: i32 = -2;
const SESSION_KEYRING: i32 = -3;
const USER_KEYRING: i32 = -4;
const USER_SESSION_KEYRING: i32 = -5;

/// Rights of keyrings that the kernel makes.
const OF_PROCESS: u32 = right::ALL << POSSESSOR | right::VIEW << OWNER;
const OF_SESSION: u32 = OF_PROCESS | right::READ << OWNER;
const OF_USER: u32 = (right::ALL & !right::SETATTR) << POSSESSOR | right::ALL << OWNER;
/// Of keys that programs make.
pub const USUAL: u32 = right::ALL << POSSESSOR | right::VIEW << OWNER;

/// The keyring of the running program's user (`false`), or that of the user's sessions. ENOMEM, EDQUOT.
fn of_user(sessions: bool) -> Result<Arc<Key>, Errno> {
    let uid = crate::this::with(|thread| thread.process.credentials.lock().uid[REAL]);
    let place = usize::from(sessions);
    if let Some(both) = OF_USERS.lock().get(&uid) {
        return Ok(both[place].clone());
    }
    let make = |name: &str| {
        let mut text = Text::new();
        write!(text, "{name}.{uid}")?;
        Key::of(uid, u32::MAX, Kind::Keyring, text.as_bytes(), Vec::new(), OF_USER)
    };
    let both = [make("_uid")?, make("_uid_ses")?];
    both[1].link(&both[0])?;
    let mut all = OF_USERS.lock();
    let own = all.get_or_insert_with(uid, || both)?;
    Ok(own[place].clone())
}

/// A key by its number, or a special keyring; with `make` one that the process does not have yet is made. ENOKEY, EINVAL; EKEYREVOKED and
/// the like; EACCES without one of `rights` (0: none is needed).
pub fn find(process: &Process, id: i32, make: bool, rights: u32) -> Result<Found, Errno> {
    let key = match id {
        THREAD_KEYRING => return Err(Errno::NOKEY),
        PROCESS_KEYRING => of_process(process, make)?,
        SESSION_KEYRING => session(process)?,
        USER_KEYRING => of_user(false)?,
        USER_SESSION_KEYRING => of_user(true)?,
        1.. => {
            let key = KEYS.lock().get(&id).and_then(Weak::upgrade).ok_or(Errno::NOKEY)?;
            let is_possessed = possesses(process, &key)?;
            let found = Found { key, is_possessed };
            return usable(found, rights);
        }
        _ => return Err(Errno::INVAL),
    };
    usable(Found { key, is_possessed: true }, rights)
}

fn usable(found: Found, rights: u32) -> Result<Found, Errno> {
    found.key.check_live()?;
    if rights != 0 {
        found.need(rights)?;
    }
    Ok(found)
}

fn of_process(process: &Process, make: bool) -> Result<Arc<Key>, Errno> {
    if let Some(own) = process.keyrings.lock().process.clone() {
        return Ok(own);
    }
    if !make {
        return Err(Errno::NOKEY);
    }
    let new = Key::new(Kind::Keyring, b"_pid", Vec::new(), OF_PROCESS)?;
    Ok(process.keyrings.lock().process.get_or_insert(new).clone())
}

fn session(process: &Process) -> Result<Arc<Key>, Errno> {
    let own = process.keyrings.lock().session.clone();
    own.map_or_else(|| of_user(true), Ok)
}

/// The process's keyrings, in the order in which they are searched.
fn own(process: &Process) -> Result<[Option<Arc<Key>>; 2], Errno> {
    let of_process = process.keyrings.lock().process.clone();
    Ok([of_process, Some(session(process)?)])
}

/// Whether a process's keyrings lead to a key.
fn possesses(process: &Process, key: &Arc<Key>) -> Result<bool, Errno> {
    let mut is_there = false;
    for top in own(process)?.into_iter().flatten() {
        walk(&top, |at, _| {
            let found = Found { key: at.clone(), is_possessed: true };
            let may = found.need(right::SEARCH).is_ok();
            is_there |= may && Arc::ptr_eq(at, key);
            Ok(may && !is_there)
        })?;
    }
    Ok(is_there)
}

/// The first key of a type and description that the process's keyrings lead to (request_key(2)). ENOKEY, also where there is only one that
/// can't be used.
pub fn request(process: &Process, kind: Kind, description: &[u8]) -> Result<Found, Errno> {
    let search = |key| Found { key, is_possessed: true }.search(kind, description).ok();
    own(process)?.into_iter().flatten().find_map(search).ok_or(Errno::NOKEY)
}

/// keyctl_join_session_keyring(3): a session keyring of this name that others may search, or a new one. EACCES, EDQUOT, ENOMEM.
pub fn join_session(process: &Process, name: Option<&[u8]>) -> Result<i32, Errno> {
    let named = |name: &[u8]| -> Result<Option<Arc<Key>>, Errno> {
        // A key goes with its last reference, which must not be here while the list is locked.
        let all = KEYS.lock().values().cloned().try_collect_vec()?;
        Ok(all.iter().filter_map(Weak::upgrade).find(|key| {
            let found = Found { key: key.clone(), is_possessed: false };
            key.is_called(Kind::Keyring, name)
                && key.check_live().is_ok()
                && found.need(right::SEARCH).is_ok()
        }))
    };
    let there = name.map_or(Ok(None), named)?;
    let key = match there {
        Some(key) => key,
        None => {
            let rights = if name.is_some() { OF_SESSION | right::LINK << OWNER } else { OF_SESSION };
            Key::new(Kind::Keyring, name.unwrap_or(b"_ses"), Vec::new(), rights)?
        }
    };
    let id = key.id;
    let old = process.keyrings.lock().session.replace(key);
    drop(old);
    Ok(id)
}
