//! The calls that mount step by step: fsopen(2), fsconfig(2), fsmount(2), fspick(2), open_tree(2), move_mount(2) and mount_setattr(2).
use super::call::Call;
use super::descriptor::install;
use super::mount::{check_kind, check_may_mount, check_own, flags_for, make, reconfigure};
use super::path::{Named, named};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::{File, OpenFile};
use coracle_core::fs::inode::Inode;
use coracle_core::fs::mount::{Mount, MountFlags, NewMount, Place};
use coracle_core::fs::mount_space::{self, Tree, change_flags};
use coracle_core::fs::open::open_place;
use coracle_core::fs::stat;
use coracle_core::lock::Mutex;
use coracle_core::mm::memory::PAGE_SIZE;
use coracle_core::mm::user;
use coracle_core::task::later::Parting;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, try_arc};
use core::any::Any;
use linux_raw_sys::general::{fsconfig_command as command, stat as Stat, *};

/// Longest key and value that fsconfig(2) takes.
const VALUE_MAX: usize = 256;
/// Attributes that change how times of access are kept.
const TIMES: u32 = MOUNT_ATTR__ATIME;
const ATTRIBUTES: u32 = MOUNT_ATTR_RDONLY
    | MOUNT_ATTR_NOSUID
    | MOUNT_ATTR_NODEV
    | MOUNT_ATTR_NOEXEC
    | TIMES
    | MOUNT_ATTR_NODIRATIME
    | MOUNT_ATTR_NOSYMFOLLOW;

/// How far a context is.
enum Stage {
    /// Options are taken.
    Open,
    /// The file system is there, and waits for its mount.
    Made(Arc<dyn Inode>, &'static str),
    /// It is mounted; options for a change are taken.
    Mounted(Option<Arc<Mount>>),
}

struct State {
    stage: Stage,
    source: Option<Vec<u8>>,
    /// The options of the file system's own, each with a comma behind it.
    options: Vec<u8>,
    read_only: Option<bool>,
}

/// What fsopen(2) and fspick(2) return a descriptor of.
struct Context {
    kind: Vec<u8>,
    state: Parting<Mutex<State>>,
}

impl File for Context {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(stat::anonymous())
    }
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        text.push(b"anon_inode:[fscontext]")
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A tree of mounts that is nowhere yet, as fsmount(2) and open_tree(2) return it: a place without more.
struct TreeFile {
    tree: Tree,
    place: Place,
}

impl File for TreeFile {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.place.path.inode.metadata().stat())
    }
    fn place(&self) -> Option<&Place> {
        Some(&self.place)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// EPERM unless the program may mount anything anywhere.
fn check_mounter(call: &Call) -> Result<(), Errno> {
    check_may_mount(call, &call.thread().process.fs.root())
}

/// The tree that a descriptor stands for.
fn tree_of(named: &Named) -> Option<&Tree> {
    let Named::Open(open) = named else { return None };
    open.file.as_any().downcast_ref::<TreeFile>().map(|file| &file.tree)
}

fn install_tree(call: &Call, tree: Tree, close_on_exec: bool) -> SysResult {
    let place = Place { path: tree.root.clone(), name: None };
    install(call, try_arc(TreeFile { tree, place })?, O_PATH | if close_on_exec { O_CLOEXEC } else { 0 })
}

/// fsopen(2).
pub fn fsopen(call: &Call) -> SysResult {
    /// Kinds that are there.
    const KINDS: [&[u8]; 9] =
        [b"tmpfs", b"ramfs", b"devtmpfs", b"devpts", b"proc", b"sysfs", b"cgroup2", b"mqueue", b"overlay"];
    check_mounter(call)?;
    if call.u32(1) & !FSOPEN_CLOEXEC != 0 {
        return Err(Errno::INVAL);
    }
    let kind = user::read_string(call.usize(0), PAGE_SIZE, Errno::INVAL)?;
    if !KINDS.contains(&kind.as_slice()) {
        return Err(Errno::NODEV);
    }
    context(call, kind, Stage::Open, call.u32(1) & FSOPEN_CLOEXEC != 0)
}

fn context(call: &Call, kind: Vec<u8>, stage: Stage, close_on_exec: bool) -> SysResult {
    let state = State { stage, source: None, options: Vec::new(), read_only: None };
    let file = try_arc(Context { kind, state: Parting::new(Mutex::new(state))? })?;
    install(call, file, O_RDWR | if close_on_exec { O_CLOEXEC } else { 0 })
}

/// fspick(2): a context to change what is mounted at a path.
pub fn fspick(call: &Call) -> SysResult {
    let flags = call.u32(2);
    check_mounter(call)?;
    if flags & !(FSPICK_CLOEXEC | FSPICK_SYMLINK_NOFOLLOW | FSPICK_NO_AUTOMOUNT | FSPICK_EMPTY_PATH) != 0 {
        return Err(Errno::INVAL);
    }
    let nofollow = if flags & FSPICK_SYMLINK_NOFOLLOW != 0 { AT_SYMLINK_NOFOLLOW } else { 0 };
    let empty = if flags & FSPICK_EMPTY_PATH != 0 { AT_EMPTY_PATH } else { 0 };
    let path = named(call, call.i32(0), call.usize(1), nofollow | empty)?.place(Errno::INVAL)?.path;
    if !path.is_mount_root() {
        return Err(Errno::INVAL);
    }
    let kind = path.mount.kind.as_bytes().try_to_vec()?;
    context(call, kind, Stage::Mounted(Some(path.mount)), flags & FSPICK_CLOEXEC != 0)
}

/// The context of a descriptor. EBADF, EINVAL.
fn opened(call: &Call) -> Result<Arc<OpenFile>, Errno> {
    let open = call.thread().process.descriptors.get(call.i32(0))?;
    if open.file.as_any().is::<Context>() { Ok(open) } else { Err(Errno::INVAL) }
}

/// fsconfig(2): flags, strings and the commands.
pub fn fsconfig(call: &Call) -> SysResult {
    let (fd, request, key, value, aux) =
        (call.i32(0), call.u32(1), call.usize(2), call.usize(3), call.i32(4));
    let is_request = |one: command| one as u32 == request;
    let (flag, string) = (is_request(command::FSCONFIG_SET_FLAG), is_request(command::FSCONFIG_SET_STRING));
    let creates = is_request(command::FSCONFIG_CMD_CREATE) || is_request(command::FSCONFIG_CMD_CREATE_EXCL);
    let commands = creates || is_request(command::FSCONFIG_CMD_RECONFIGURE);
    let binary = is_request(command::FSCONFIG_SET_BINARY);
    let path = is_request(command::FSCONFIG_SET_PATH) || is_request(command::FSCONFIG_SET_PATH_EMPTY);
    let descriptor = is_request(command::FSCONFIG_SET_FD);
    let fits = match () {
        _ if fd < 0 => false,
        _ if flag => key != 0 && value == 0 && aux == 0,
        _ if string => key != 0 && value != 0 && aux == 0,
        _ if binary => key != 0 && value != 0 && (1..=1 << 20).contains(&aux),
        _ if path => key != 0 && value != 0 && (aux == AT_FDCWD || aux >= 0),
        _ if descriptor => key != 0 && value == 0 && aux >= 0,
        _ if commands => key == 0 && value == 0 && aux == 0,
        _ => return Err(Errno::OPNOTSUPP),
    };
    if !fits {
        return Err(Errno::INVAL);
    }
    let open = opened(call)?;
    let context = open.file.as_any().downcast_ref::<Context>().ok_or(Errno::INVAL)?;
    if commands {
        return if creates { create(context) } else { change(context) };
    }
    let key = user::read_string(key, VALUE_MAX, Errno::INVAL)?;
    // No file system here has options of other kinds.
    let value = match () {
        _ if flag => Vec::new(),
        _ if string => user::read_string(value, VALUE_MAX, Errno::INVAL)?,
        _ => return Err(Errno::INVAL),
    };
    let mut state = context.state.lock();
    if let Stage::Made(..) = state.stage {
        return Err(Errno::BUSY);
    }
    match (key.as_slice(), flag) {
        (b"ro", true) => state.read_only = Some(true),
        (b"rw", true) => state.read_only = Some(false),
        // These change nothing here.
        (b"sync" | b"async" | b"dirsync" | b"lazytime" | b"nolazytime" | b"mand" | b"nomand", true) => {}
        (b"source", false) if state.source.is_none() => state.source = Some(value),
        (b"source", _) => return Err(Errno::INVAL),
        _ => {
            let mut option = key;
            if !flag {
                option.try_push(b'=')?;
                option.try_extend_from_slice(&value)?;
            }
            check_option(&context.kind, &option)?;
            option.try_push(b',')?;
            if state.options.len() + option.len() > PAGE_SIZE {
                return Err(Errno::INVAL);
            }
            state.options.try_extend_from_slice(&option)?;
        }
    }
    Ok(0)
}

/// EINVAL for an option that a kind of file system does not have.
fn check_option(kind: &[u8], option: &[u8]) -> Result<(), Errno> {
    match kind {
        b"tmpfs" => coracle_fs::memory::Options::parse(option).map(drop),
        b"overlay" => coracle_fs::overlay::Options::parse(option).map(drop),
        b"devpts" | b"proc" => Ok(()),
        _ => Err(Errno::INVAL),
    }
}

fn create(context: &Context) -> SysResult {
    check_kind(&context.kind)?;
    let options = {
        let state = context.state.lock();
        if !matches!(state.stage, Stage::Open) {
            return Err(Errno::BUSY);
        }
        state.options.try_to_vec()?
    };
    let (root, kind) = make(&context.kind, &options)?;
    let old = core::mem::replace(&mut context.state.lock().stage, Stage::Made(root, kind));
    drop(old);
    Ok(0)
}

fn change(context: &Context) -> SysResult {
    let (mount, options, read_only) = {
        let mut state = context.state.lock();
        let Stage::Mounted(Some(mount)) = &state.stage else { return Err(Errno::BUSY) };
        let mount = mount.clone();
        (mount, core::mem::take(&mut state.options), state.read_only.take())
    };
    let mut flags = mount.flags();
    flags.set(MountFlags::READ_ONLY, read_only.unwrap_or(mount.file_system.is_read_only()));
    reconfigure(&mount, flags, &options)?;
    Ok(0)
}

/// The flags of a mount for attributes. EINVAL for unknown ones.
fn flags_of(attributes: u32) -> Result<MountFlags, Errno> {
    const NAMES: [(u32, MountFlags); 6] = [
        (MOUNT_ATTR_RDONLY, MountFlags::READ_ONLY),
        (MOUNT_ATTR_NOSUID, MountFlags::NO_SUID),
        (MOUNT_ATTR_NODEV, MountFlags::NO_DEVICES),
        (MOUNT_ATTR_NOEXEC, MountFlags::NO_EXEC),
        (MOUNT_ATTR_NODIRATIME, MountFlags::NO_DIRECTORY_ATIME),
        (MOUNT_ATTR_NOSYMFOLLOW, MountFlags::NO_LINKS),
    ];
    if attributes & !ATTRIBUTES != 0 {
        return Err(Errno::INVAL);
    }
    let mut flags = match attributes & TIMES {
        MOUNT_ATTR_RELATIME => MountFlags::RELATIVE_ATIME,
        MOUNT_ATTR_NOATIME => MountFlags::NO_ATIME,
        MOUNT_ATTR_STRICTATIME => MountFlags::empty(),
        _ => return Err(Errno::INVAL),
    };
    for (bit, flag) in NAMES {
        flags.set(flag, attributes & bit != 0);
    }
    Ok(flags)
}

/// fsmount(2).
pub fn fsmount(call: &Call) -> SysResult {
    check_mounter(call)?;
    if call.u32(1) & !FSMOUNT_CLOEXEC != 0 {
        return Err(Errno::INVAL);
    }
    let flags = flags_of(call.u32(2))?;
    let open = opened(call)?;
    let context = open.file.as_any().downcast_ref::<Context>().ok_or(Errno::INVAL)?;
    let (root, kind, source, read_only) = {
        let mut state = context.state.lock();
        match &state.stage {
            Stage::Open => return Err(Errno::INVAL),
            Stage::Mounted(_) => return Err(Errno::BUSY),
            Stage::Made(root, kind) => {
                let (root, kind) = (root.clone(), *kind);
                let source = state.source.take();
                (root, kind, source, state.read_only.take() == Some(true))
            }
        }
    };
    let source = match source {
        Some(source) => source,
        None => b"none".try_to_vec()?,
    };
    let flags = flags_for(&root, flags);
    let tree = Tree::new(NewMount { root, kind, source, flags, file_system: None })?;
    if read_only {
        tree.root.mount.file_system.end_writing();
    }
    let mount = tree.root.mount.clone();
    let old = core::mem::replace(&mut context.state.lock().stage, Stage::Mounted(Some(mount)));
    drop(old);
    install_tree(call, tree, call.u32(1) & FSMOUNT_CLOEXEC != 0)
}

/// open_tree(2): the place itself, or a copy of the mounts there.
pub fn open_tree(call: &Call) -> SysResult {
    let flags = call.u32(2);
    let known = OPEN_TREE_CLONE
        | OPEN_TREE_CLOEXEC
        | AT_EMPTY_PATH
        | AT_NO_AUTOMOUNT
        | AT_RECURSIVE
        | AT_SYMLINK_NOFOLLOW;
    let clones = flags & OPEN_TREE_CLONE != 0;
    if flags & !known != 0 || flags & AT_RECURSIVE != 0 && !clones {
        return Err(Errno::INVAL);
    }
    if clones {
        check_mounter(call)?;
    }
    let place = named(call, call.i32(0), call.usize(1), flags & (AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))?
        .place(Errno::INVAL)?;
    let close_on_exec = flags & OPEN_TREE_CLOEXEC != 0;
    if clones {
        check_own(call, &place.path)?;
        return install_tree(call, Tree::copy(&place.path, flags & AT_RECURSIVE != 0)?, close_on_exec);
    }
    let open = open_place(place, O_PATH, false)?;
    Ok(call.thread().process.descriptors.insert(open, close_on_exec, 0)? as usize)
}

/// move_mount(2).
pub fn move_mount(call: &Call) -> SysResult {
    let flags = call.u32(4);
    const FROM: [u32; 2] = [MOVE_MOUNT_F_SYMLINKS, MOVE_MOUNT_F_EMPTY_PATH];
    const TO: [u32; 2] = [MOVE_MOUNT_T_SYMLINKS, MOVE_MOUNT_T_EMPTY_PATH];
    let known = FROM[0] | FROM[1] | TO[0] | TO[1] | MOVE_MOUNT_F_AUTOMOUNTS | MOVE_MOUNT_T_AUTOMOUNTS;
    check_mounter(call)?;
    if flags & !known != 0 {
        return Err(Errno::INVAL);
    }
    let follow = |[links, empty]: [u32; 2]| {
        let nofollow = if flags & links == 0 { AT_SYMLINK_NOFOLLOW } else { 0 };
        nofollow | if flags & empty != 0 { AT_EMPTY_PATH } else { 0 }
    };
    let from = named(call, call.i32(0), call.usize(1), follow(FROM))?;
    let to = named_place(call, call.i32(2), call.usize(3), follow(TO))?;
    check_own(call, &to.path)?;
    if let Some(tree) = tree_of(&from).filter(|tree| tree.is_nowhere()) {
        tree.mount(to)?;
        return Ok(0);
    }
    let from = from.place(Errno::INVAL)?.path;
    check_own(call, &from)?;
    mount_space::move_mount(&from, to)?;
    Ok(0)
}

/// A place with the name that led there, which a mount over a file shows.
fn named_place(call: &Call, directory: i32, addr: usize, flags: u32) -> Result<Place, Errno> {
    use coracle_core::fs::walk::{self, Follow};
    let named = named(call, directory, addr, flags)?;
    if let Named::Place(place) = &named
        && !place.path.inode.is_directory()
    {
        let path = user::read_path(addr)?;
        let start = super::path::start_of(call, directory, &path)?;
        let follow = if flags & AT_SYMLINK_NOFOLLOW != 0 { Follow::IfSlash } else { Follow::Always };
        return walk::find(&call.thread().process.fs, start.as_ref(), &path, follow);
    }
    named.place(Errno::INVAL)
}

/// mount_setattr(2). EINVAL for mappings of ids.
pub fn mount_setattr(call: &Call) -> SysResult {
    const PROPAGATION: u64 = (MS_UNBINDABLE | MS_PRIVATE | MS_SLAVE | MS_SHARED) as u64;
    let (flags, size) = (call.u32(2), call.usize(4));
    if flags & !(AT_EMPTY_PATH | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0 {
        return Err(Errno::INVAL);
    }
    if size > PAGE_SIZE {
        return Err(Errno::TOOBIG);
    }
    if size < MOUNT_ATTR_SIZE_VER0 as usize {
        return Err(Errno::INVAL);
    }
    check_mounter(call)?;
    let [set, clear, propagation, _]: [u64; 4] = user::read_words(call.usize(3))?;
    let known = MOUNT_ATTR_SIZE_VER0 as usize;
    user::check_zero(call.usize(3) + known, size - known)?;
    if set == 0 && clear == 0 && propagation == 0 {
        return Ok(0);
    }
    let is_known = |bits: u64| bits & !u64::from(ATTRIBUTES) == 0;
    let times = u64::from(TIMES);
    if !is_known(set)
        || !is_known(clear)
        || propagation & !PROPAGATION != 0
        || propagation.count_ones() > 1
        || clear & times == 0 && set & times != 0
        || clear & times != 0 && clear & times != times
    {
        return Err(Errno::INVAL);
    }
    let mut to_set = flags_of(set as u32)?;
    let mut to_clear = flags_of(clear as u32 & !TIMES)? - MountFlags::RELATIVE_ATIME;
    if clear & times == 0 {
        to_set.remove(MountFlags::RELATIVE_ATIME);
    } else {
        to_clear |= MountFlags::RELATIVE_ATIME | MountFlags::NO_ATIME;
    }
    let place = named(call, call.i32(0), call.usize(1), flags & (AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))?;
    let is_nowhere = tree_of(&place).is_some_and(Tree::is_nowhere);
    let path = place.place(Errno::INVAL)?.path;
    if !path.is_mount_root() {
        return Err(Errno::INVAL);
    }
    if !is_nowhere {
        check_own(call, &path)?;
    }
    change_flags(&path, to_clear, to_set, flags & AT_RECURSIVE != 0)?;
    Ok(0)
}
