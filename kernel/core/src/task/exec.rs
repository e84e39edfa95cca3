//! Loading programs (execve(2)).
use super::process::{Credentials, Process, Program};
use super::thread::{Thread, Work};
use super::user_space::Kind;
use super::{exit, ptrace, rseq};
use crate::arch::{frame, machine, registers};
use crate::errno::Errno;
use crate::fs::context::FsContext;
use crate::fs::file::OpenFile;
use crate::fs::inode::{FILE_CAPABILITIES, Inode};
use crate::fs::mount::MountFlags;
use crate::fs::open::open_executable;
use crate::mm::map::Place;
use crate::mm::memory::{Memory, PAGE_SIZE, page_up};
use crate::mm::user_buf::UserBuf;
use crate::mm::vma::{Backing, Vma, VmaFlags};
use crate::random;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_capabilities::FileCapabilities;
use coracle_fallible::prelude::*;
use coracle_fallible::{Lossy, Text, filled, try_arc, try_box};
use coracle_hal::context::UserContext;
use coracle_hal::frame::Frame;
use coracle_hal::paging::{Prot, USER_END};
use coracle_hal::sync::atomic::Ordering::*;
use coracle_hal::{cpu, fpu, vdso};
use coracle_loader::{
    Header, InitialStack, Plan, SCRIPT_HEAD_LEN, Segment, StackError, Strings, parse_script,
};
use linux_raw_sys::{auxvec as at, general as abi};

/// Scripts that may name scripts as interpreters (Linux's limit).
const MAX_SCRIPTS: usize = 5;
/// Where position-independent programs lie at least (Linux's ELF_ET_DYN_BASE: two thirds of the address space).
const PIE_BASE: usize = 0x5555_5555_4000;
/// Bits of randomness, in pages, of program, mapping and stack addresses (Linux: 28, 28, 22).
const RANDOM_BITS: u32 = 28;
const STACK_RANDOM_BITS: u32 = 22;
/// The heap begins up to this far after the program (Linux's arch_randomize_brk: 32 MiB).
const HEAP_RANDOM_BYTES: u64 = 32 << 20;
/// Room kept for the stack below its top: at least, and at most (Linux's mmap_base).
const MIN_STACK_GAP: usize = 128 << 20;
const MAX_STACK_GAP: usize = USER_END / 6 * 5;
/// A stack begins with this many bytes mapped below what is on it.
const STACK_START_ROOM: usize = 128 << 10;
/// Arguments and environment may take a quarter of the stack, and this much at most (execve(2)).
const MAX_ARGUMENTS: u64 = 6 << 20;
/// HWCAP2_FSGSBASE is not told: programs set FS by arch_prctl(2).
const HWCAP2: u64 = 0;
/// Clock ticks per second of times(2) (AT_CLKTCK).
pub const CLOCK_TICKS: u64 = 100;

/// What is to be executed.
pub struct Request {
    /// The path as given.
    pub path: Vec<u8>,
    /// The file, if it was opened by other means (fexecve).
    pub file: Option<Arc<OpenFile>>,
    /// The path is gone when the program starts, so a script can't be executed (execveat(2), ENOENT).
    pub is_hidden: bool,
    /// argv.
    pub arguments: Strings,
    /// envp.
    pub environment: Strings,
    /// The ids and capabilities of the process.
    pub credentials: Credentials,
    /// The file's set-ID bits have no effect (PR_SET_NO_NEW_PRIVS).
    pub no_new_privileges: bool,
}

/// A program in memory, not yet running.
pub struct Loaded {
    /// Its memory.
    pub memory: Arc<Memory>,
    /// Registers at its start.
    pub context: UserContext,
    /// What it is.
    pub program: Arc<Program>,
    /// The last part of its path: the thread's name.
    pub name: Vec<u8>,
    /// The ids and capabilities that it begins with.
    pub credentials: Box<Credentials>,
}

/// Puts a program into a new memory. `stack_limit`: RLIMIT_STACK. ENOENT, EACCES, ENOEXEC, ELOOP, E2BIG, ENOMEM…
pub fn load(fs: &FsContext, request: Request, stack_limit: u64) -> Result<Loaded, Errno> {
    let Request { mut path, file, is_hidden, mut arguments, environment, credentials, no_new_privileges } =
        request;
    let name_path = path.try_to_vec()?;
    let mut file = match file {
        Some(file) => file,
        None => open_executable(fs, &path)?,
    };
    let mut head = read_start(&file, SCRIPT_HEAD_LEN)?;
    let mut scripts = 0;
    let mut file_kept = file.file.execute()?;
    while let Some(script) = parse_script(&head) {
        scripts += 1;
        if scripts > MAX_SCRIPTS {
            return Err(Errno::LOOP);
        }
        if script.interpreter.is_empty() {
            // Linux looks the empty name up, and finds a directory.
            return Err(Errno::ACCES);
        }
        if is_hidden {
            return Err(Errno::NOENT);
        }
        // argv[0] gives way to the interpreter, its argument, and the script's path.
        let mut replaced = Strings::new();
        replaced.push(script.interpreter)?;
        for argument in script.argument.into_iter().chain([&path[..]]).chain(arguments.rest()) {
            replaced.push(argument)?;
        }
        arguments = replaced;
        path = script.interpreter.try_to_vec()?;
        file = open_executable(fs, &path)?;
        file_kept = file.file.execute()?;
        head = read_start(&file, SCRIPT_HEAD_LEN)?;
    }
    let (credentials, is_secure) = executing(&file, credentials, no_new_privileges)?;
    let credentials = try_box(credentials)?;
    let plan = plan(&file)?;
    let memory = Memory::new()?;

    let stack_gap = (stack_limit.min(MAX_STACK_GAP as u64) as usize).clamp(MIN_STACK_GAP, MAX_STACK_GAP);
    let stack_top = USER_END - random::layout_pages(STACK_RANDOM_BITS);
    let map_top =
        stack_top - stack_gap - (PAGE_SIZE << STACK_RANDOM_BITS >> 8) - random::layout_pages(RANDOM_BITS);
    memory.set_bounds(0, map_top & !(PAGE_SIZE - 1), stack_limit.min(MAX_STACK_GAP as u64) as usize);

    let bias = if plan.relocatable {
        (PIE_BASE + random::layout_pages(RANDOM_BITS)) & !(plan.align as usize - 1)
    } else {
        0
    };
    map_segments(&memory, &file, &plan, bias, false)?;
    let end = bias + plan.span().end as usize;
    let heap = (end + (random::layout_u64() % HEAP_RANDOM_BYTES) as usize) & !(PAGE_SIZE - 1);
    let entry = bias + plan.entry as usize;
    let (start, interpreter_base) = match &plan.interpreter {
        Some(range) => load_interpreter(fs, &memory, &file, range.clone())?,
        None => (entry, 0),
    };
    memory.set_bounds(heap, map_top & !(PAGE_SIZE - 1), stack_limit.min(MAX_STACK_GAP as u64) as usize);
    let vdso_base = map_vdso(&memory)?;

    let mut auxiliary: Vec<(u64, u64)> = Vec::new();
    auxiliary.make_room(AUXILIARY_ENTRIES)?;
    let mut tell = |kind: u32, value: u64| auxiliary.push_reserved((u64::from(kind), value));
    if let Some(base) = vdso_base {
        tell(at::AT_SYSINFO_EHDR, base as u64);
    }
    tell(AT_MINSIGSTKSZ, frame::minimum_stack() as u64);
    tell(at::AT_HWCAP, u64::from(cpu::hwcap()));
    tell(at::AT_PAGESZ, PAGE_SIZE as u64);
    tell(at::AT_CLKTCK, CLOCK_TICKS);
    if let Some(address) = plan.program_headers {
        tell(at::AT_PHDR, bias as u64 + address);
    }
    tell(at::AT_PHENT, coracle_loader::PROGRAM_HEADER_LEN as u64);
    tell(at::AT_PHNUM, u64::from(plan.program_header_count));
    tell(at::AT_BASE, interpreter_base as u64);
    tell(at::AT_FLAGS, 0);
    tell(at::AT_ENTRY, entry as u64);
    let [uid, effective_uid, ..] = credentials.uid.map(|id| credentials.shown(Kind::User, id));
    let [gid, effective_gid, ..] = credentials.gid.map(|id| credentials.shown(Kind::Group, id));
    tell(at::AT_UID, uid.into());
    tell(at::AT_EUID, effective_uid.into());
    tell(at::AT_GID, gid.into());
    tell(at::AT_EGID, effective_gid.into());
    tell(at::AT_SECURE, u64::from(is_secure || uid != effective_uid || gid != effective_gid));
    tell(at::AT_HWCAP2, HWCAP2);
    tell(AT_RSEQ_FEATURE_SIZE, rseq::FEATURE_BYTES as u64);
    tell(AT_RSEQ_ALIGN, rseq::AREA_BYTES as u64);
    let mut bytes = [0; 16];
    random::fill_layout(&mut bytes);
    let stack = InitialStack {
        arguments: &arguments,
        environment: &environment,
        auxiliary: &auxiliary,
        path: &name_path,
        platform: machine::NAME,
        random: bytes,
    };
    let laid = stack.build(stack_top as u64, arguments_limit(stack_limit)).map_err(|error| match error {
        StackError::TooLarge => Errno::TOOBIG,
        StackError::NoMemory => Errno::NOMEM,
    })?;
    let sp = laid.sp;
    map_stack(&memory, stack_top, sp as usize, plan.executable_stack)?;
    for (at, bytes) in laid.parts.into_iter().chain([(sp, &laid.words[..])]) {
        memory.write(at as usize, bytes).map_err(|_| Errno::NOMEM)?;
    }
    let auxv = laid.auxiliary;

    let context = registers::of_new_program(start, sp);
    let name = name_path.rsplit(|&byte| byte == b'/').next().unwrap_or_default().try_to_vec()?;
    let mut path = Text::new();
    file.file.path(&mut path)?;
    let program = try_arc(Program {
        file: Some(file.file.clone()),
        path,
        arguments,
        environment,
        auxv,
        stack_start: sp as usize,
        file_kept,
    })?;
    Ok(Loaded { memory, context, program, name, credentials })
}

/// The ids and capabilities of a process that executes `file` (execve(2), "DESCRIPTION"): with those of the file's owner and group if
/// its set-ID bits say so, and with what the file's capabilities give. Whether the program has to take care (AT_SECURE). EPERM.
#[inline(never)]
fn executing(
    file: &OpenFile,
    mut credentials: Credentials,
    no_new_privileges: bool,
) -> Result<(Credentials, bool), Errno> {
    let on_nosuid =
        file.file.place().is_some_and(|place| place.path.mount.flags().contains(MountFlags::NO_SUID));
    let stat = file.file.stat()?;
    let is_mapped = credentials.space.as_ref().is_none_or(|space| space.has_owners(stat.st_uid, stat.st_gid));
    let is_set = |bits: u32| stat.st_mode & bits == bits && !on_nosuid && !no_new_privileges && is_mapped;
    let old = (credentials.uid[1], credentials.gid[1]);
    if is_set(abi::S_ISUID) {
        credentials.uid[1] = stat.st_uid;
    }
    // Without the group's right to execute, the bit is a mark for mandatory locks.
    if is_set(abi::S_ISGID | abi::S_IXGRP) {
        credentials.gid[1] = stat.st_gid;
    }
    let [real, effective, ..] = credentials.uid;
    let [real, shown] = [real, effective].map(|id| credentials.shown(Kind::User, id));
    let before = credentials.capabilities;
    // What root has anyway is not looked for.
    let given = match file.file.place() {
        Some(place) if !on_nosuid && real != 0 => given(&*place.path.inode, &credentials),
        _ => None,
    };
    let is_set_id = old != (effective, credentials.gid[1]);
    let is_secure = credentials.capabilities.execute(real, shown, is_set_id, given)?;
    if no_new_privileges {
        credentials.capabilities.permitted &= before.permitted;
        credentials.capabilities.effective &= before.permitted;
    }
    for ids in [&mut credentials.uid, &mut credentials.gid] {
        let effective = ids[1];
        ids[2..].fill(effective);
    }
    Ok((credentials, is_secure))
}

/// The capabilities of an executed file, if they count in the process's user namespace.
#[inline(never)]
fn given(inode: &dyn Inode, credentials: &Credentials) -> Option<FileCapabilities> {
    let value = inode.xattr(FILE_CAPABILITIES).ok()?;
    let given = FileCapabilities::parse(&value)?;
    (given.root == 0 || credentials.machine(Kind::User, 0) == Some(given.root)).then_some(given)
}

/// AT_MINSIGSTKSZ (asm/auxvec.h).
const AT_MINSIGSTKSZ: u32 = 51;
/// Numbers of the same (linux/auxvec.h).
const AT_RSEQ_FEATURE_SIZE: u32 = 27;
const AT_RSEQ_ALIGN: u32 = 28;

/// Entries of the auxiliary vector that [`load`] writes at most.
const AUXILIARY_ENTRIES: usize = 22;

/// Bytes that arguments and environment may take, with the pointers to them, under this RLIMIT_STACK.
pub fn arguments_limit(stack_limit: u64) -> u64 {
    (stack_limit / 4).clamp(STACK_START_ROOM as u64, MAX_ARGUMENTS)
}

fn read_at(file: &OpenFile, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = filled(0, len)?;
    let mut done = 0;
    while done < len {
        let mut buffer = UserBuf::kernel_out(&mut bytes[done..]);
        match file.file.read(&mut buffer, offset + done as u64, false)? {
            0 => break,
            more => done += more,
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

fn read_start(file: &OpenFile, len: usize) -> Result<Vec<u8>, Errno> {
    read_at(file, 0, len)
}

/// The load plan of an open file; what is wrong with it goes to the log.
fn plan(file: &OpenFile) -> Result<Plan, Errno> {
    let refuse = |error: coracle_loader::Error| {
        info!("{}: {error}", file.file.shown_path());
        if error == coracle_loader::Error::NoMemory { Errno::NOMEM } else { Errno::NOEXEC }
    };
    let head = read_start(file, coracle_loader::HEADER_LEN)?;
    let header = Header::parse(&head, machine::ELF_MACHINE).map_err(refuse)?;
    let table = read_at(file, header.program_headers, header.program_headers_len())?;
    Plan::new(&header, &table, file.file.size()).map_err(refuse)
}

fn prot_of(segment: &Segment) -> Prot {
    let mut prot = Prot::empty();
    prot.set(Prot::READ, segment.read);
    prot.set(Prot::WRITE, segment.write);
    prot.set(Prot::EXEC, segment.execute);
    prot
}

fn map_segments(
    memory: &Memory,
    file: &OpenFile,
    plan: &Plan,
    bias: usize,
    replace: bool,
) -> Result<(), Errno> {
    let place = |addr: usize| if replace { Place::Fixed(addr) } else { Place::FixedNoReplace(addr) };
    for segment in &plan.segments {
        let start = bias + segment.address as usize;
        let file_end = start + segment.file_len as usize;
        let file_pages = page_up(segment.file_len as usize).ok_or(Errno::NOMEM)?;
        let prot = prot_of(segment);
        if file_pages != 0 {
            let backing = Backing::File { file: file.file.clone(), offset: segment.offset };
            let vma = Vma { prot, flags: VmaFlags::MAY_WRITE, backing, label: "" };
            memory.map(place(start), file_pages, vma, false)?;
            // What the file has after the segment's end in its last page must read as zero.
            let rest = start + file_pages - file_end;
            if segment.memory_len > segment.file_len && segment.write && rest != 0 {
                memory.zero(file_end, rest).map_err(|_| Errno::NOMEM)?;
            }
        }
        let end = bias + segment.end() as usize;
        if end > start + file_pages {
            let vma = Vma { prot, flags: VmaFlags::MAY_WRITE, backing: Backing::Anonymous, label: "" };
            memory.map(place(start + file_pages), end - start - file_pages, vma, false)?;
        }
    }
    Ok(())
}

/// Maps the program's interpreter; gives its entry point and base.
fn load_interpreter(
    fs: &FsContext,
    memory: &Memory,
    program: &OpenFile,
    place: core::ops::Range<u64>,
) -> Result<(usize, usize), Errno> {
    let mut path = read_at(program, place.start, (place.end - place.start) as usize)?;
    if path.pop() != Some(0) {
        return Err(Errno::NOEXEC);
    }
    let file = open_executable(fs, &path).inspect_err(|&error| {
        if error != Errno::NOMEM {
            log!(
                "{}: its interpreter {} is not in the image (or not executable)",
                program.file.shown_path(),
                Lossy(&path)
            )
        }
    })?;
    let plan = plan(&file)?;
    if !plan.relocatable {
        map_segments(memory, &file, &plan, 0, false)?;
        return Ok((plan.entry as usize, 0));
    }
    // One mapping finds room for all; the segments then replace it.
    let span = plan.span();
    let room =
        Vma { prot: Prot::empty(), flags: VmaFlags::MAY_WRITE, backing: Backing::Anonymous, label: "" };
    let len = (span.end - span.start) as usize + plan.align as usize - PAGE_SIZE;
    let found = memory.map(Place::Hint(0), len, room, false)?;
    let base = found.next_multiple_of(plan.align as usize);
    let bias = base - span.start as usize;
    memory.unmap(found..found + len)?;
    map_segments(memory, &file, &plan, bias, true)?;
    Ok((bias + plan.entry as usize, bias))
}

fn map_stack(memory: &Memory, top: usize, sp: usize, executable: bool) -> Result<(), Errno> {
    let bottom = (sp - STACK_START_ROOM) & !(PAGE_SIZE - 1);
    let mut prot = Prot::READ | Prot::WRITE;
    prot.set(Prot::EXEC, executable);
    let vma = Vma {
        prot,
        flags: VmaFlags::MAY_WRITE | VmaFlags::GROWS_DOWN,
        backing: Backing::Anonymous,
        label: "[stack]",
    };
    memory.map(Place::FixedNoReplace(bottom), top - bottom, vma, false)?;
    Ok(())
}

/// The name of the vDSO's code among mappings.
const VDSO_LABEL: &str = "[vdso]";

/// Maps the vDSO; gives the address of its ELF header.
fn map_vdso(memory: &Memory) -> Result<Option<usize>, Errno> {
    let Some(vdso) = vdso::get() else { return Ok(None) };
    let is_first = !crate::this::is_any()
        || crate::this::with(|me| me.process.namespaces.lock().time_of_children.is_none());
    let code = if is_first { &vdso.code } else { without_clocks()? };
    let frames = [(&vdso.data, Prot::READ, "[vvar]"), (code, Prot::READ | Prot::EXEC, VDSO_LABEL)];
    let len = (vdso.data.len() + vdso.code.len()) * PAGE_SIZE;
    let base = memory.map(Place::Hint(0), len, placed(Prot::empty(), ""), false)?;
    let mut at = base;
    for (pages, prot, label) in frames {
        at = place_frames(memory, at, pages, placed(prot, label))?;
    }
    let code = base + vdso.data.len() * PAGE_SIZE;
    memory.set_sigreturn(code + vdso.sigreturn);
    Ok(Some(code))
}

/// The vDSO's code for time namespaces, which leaves the clocks since boot to the kernel. ENOMEM.
fn without_clocks() -> Result<&'static Vec<Frame>, Errno> {
    vdso::without_clocks().ok_or(Errno::NOMEM)
}

fn placed(prot: Prot, label: &'static str) -> Vma {
    Vma { prot, flags: VmaFlags::empty(), backing: Backing::Placed, label }
}

/// Maps frames at an address; gives the one behind them. ENOMEM.
fn place_frames(memory: &Memory, mut at: usize, pages: &[Frame], vma: Vma) -> Result<usize, Errno> {
    let prot = vma.prot;
    memory.map(Place::Fixed(at), pages.len() * PAGE_SIZE, vma, false)?;
    for frame in pages {
        memory.space.map(at, frame.clone(), prot).map_err(|_| Errno::NOMEM)?;
        at += PAGE_SIZE;
    }
    Ok(at)
}

/// Gives a process, which has entered another time namespace, the vDSO of that, if it still has one where it was put. ENOMEM.
pub fn replace_vdso(process: &Process) -> Result<(), Errno> {
    let Some(vdso) = vdso::get() else { return Ok(()) };
    let is_first = process.namespaces.lock().time.is_none();
    let code = if is_first { &vdso.code } else { without_clocks()? };
    let memory = process.memory();
    let at = memory.sigreturn().wrapping_sub(vdso.sigreturn);
    let is_there = memory.region_at(at).is_some_and(|region| region.label == VDSO_LABEL);
    if is_there {
        place_frames(&memory, at, code, placed(Prot::READ | Prot::EXEC, VDSO_LABEL))?;
    }
    Ok(())
}

/// Replaces the program of the running thread's process (execve(2)); gives the registers that it begins with.
pub fn replace(thread: &Arc<Thread>, request: Request) -> Result<UserContext, Errno> {
    let (process, id) = (&thread.process, thread.tid());
    let seen = ptrace::tracer_sees(thread, id);
    let loaded = load(&process.fs, request, process.limits.soft(abi::RLIMIT_STACK))?;
    process.descriptors.unshare()?;
    process.signals.lock().unshare()?;
    end_other_threads(thread)?;
    process.give_id(thread)?;
    install(process, &loaded);
    process.enter_time_of_children();
    process.timers.clear_created();
    let gone = process.keyrings.lock().program_ended();
    drop(gone);
    process.aio.program_ended();
    process.uring.program_ended();
    {
        let mut shared = process.signals.lock();
        let mut own = thread.signals.lock();
        shared.reset_handlers();
        shared.pending.discard_timers(None);
        own.pending.discard_timers(None);
        own.alt_stack = Default::default();
    }
    thread.robust_list.store(0, Relaxed);
    thread.clear_child_tid.store(0, Relaxed);
    thread.rseq.store(0, Relaxed);
    thread.set_name(&loaded.name);
    thread.task.set_fs_base(0);
    thread.task.set_gs_base(0);
    fpu::reset();
    let old = process.replace_memory(loaded.memory);
    super::sched::use_memory(thread);
    Memory::end(old);
    process.descriptors.close_on_exec();
    process.exit_signal.store(abi::SIGCHLD, Relaxed);
    process.vfork_done.store(true, Release);
    process.exit_source.notify(crate::ipc::poll::Events::IN);
    super::debug::executed(process, thread);
    super::perf::executed(thread, process.dumpable.load(Relaxed) == 0);
    let mut context = loaded.context;
    ptrace::executed(thread, &mut context, id, seen);
    Ok(context)
}

/// Notes what a process executes.
pub fn install(process: &Process, loaded: &Loaded) {
    *process.program.lock() = loaded.program.clone();
    loaded.memory.is_limited.store(true, Relaxed);
    let new = &loaded.credentials;
    let mut own = process.credentials.lock();
    let gains = own.uid[1] != new.uid[1] || own.gid[1] != new.gid[1];
    let gains_capabilities = new.capabilities.permitted & !own.capabilities.permitted != 0;
    (own.uid, own.gid, own.capabilities) = (new.uid, new.gid, new.capabilities);
    drop(own);
    if gains {
        process.rights_changed();
    }
    let may_be_dumped = new.uid[0] == new.uid[1] && new.gid[0] == new.gid[1] && !gains_capabilities;
    process.dumpable.store(u32::from(may_be_dumped), Relaxed);
}

/// Ends all threads but the running one, and waits for them. EINTR if this one is to end, too, as where another thread has
/// begun to execute a program.
fn end_other_threads(thread: &Arc<Thread>) -> Result<(), Errno> {
    {
        // Under the lock, since a list of the others would take memory.
        let threads = thread.process.threads.lock();
        if thread.work().any(Work::EXIT) {
            return Err(Errno::INTR);
        }
        threads
            .iter()
            .filter(|other| !Arc::ptr_eq(other, thread))
            .for_each(|other| other.add_work(Work::EXIT));
    }
    exit::wait_for(&thread.process, || thread.process.threads.lock().len() == 1)
}

/// Why a program can't be executed, in words.
pub fn explain(error: Errno) -> &'static str {
    match error {
        Errno::NOENT => "it, or its interpreter, is not in the image",
        Errno::ACCES => "it is not an executable file",
        Errno::NOEXEC => "it is not an ELF program for x86-64 (log=info tells more)",
        Errno::TXTBSY => "its file is open for writing",
        Errno::NOMEM => "there is too little memory for it",
        Errno::TOOBIG => "its arguments and environment are too long",
        Errno::LOOP => "too many symbolic links or scripts lead to it",
        Errno::NOTDIR => "a part of its path is not a directory",
        _ => "its file can't be read",
    }
}
