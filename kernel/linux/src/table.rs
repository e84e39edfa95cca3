//! The system-call table: number, name, arguments, function, and what of the call is supported. The book's table of system
//! calls is generated from this file, and a fuzzer of system calls takes the kinds of arguments from it.
use super::call::Call;
use super::dispatch::{missing, put_off};
use coracle_core::call_number;
use coracle_core::errno::SysResult;

/// A system call's function.
pub type Handler = fn(&Call) -> SysResult;

/// Numbers below this may have a function.
pub const TABLE_SIZE: usize = 463;

/// `number name(arguments) -> result function, "what is supported";`, after `#[all_registers]` for a function that reads or changes
/// registers beside the arguments.
///
/// An argument is named after its kind; `&` is a pointer to one. A result that further calls can use has a kind, too.
/// The fuzzer has the list of kinds. Of the arguments their number is compiled in, and of the notes nothing.
macro_rules! system_calls {
    ($($(#[$needs:ident])? $number:literal $name:ident($($argument:tt)*) $(-> $result:ident)? $function:path, $note:literal;)*) => {
        /// The function of each system call, by number; the last stands for all numbers from [`TABLE_SIZE`] on.
        pub static TABLE: [Handler; TABLE_SIZE + 1] = {
            let mut table: [Handler; TABLE_SIZE + 1] = [missing; TABLE_SIZE + 1];
            $(if let Some(number) = call_number!($number $name) {
                table[number] = first_function!($($needs)? $function);
            })*
            table
        };

        /// How many arguments each has.
        pub static ARGUMENTS: [u8; TABLE_SIZE] = {
            let mut counts = [0; TABLE_SIZE];
            $(if let Some(number) = call_number!($number $name) {
                counts[number] = count(stringify!($($argument)*));
            })*
            counts
        };

        /// Makes a system call that needs all registers, which are saved by now. In [`TABLE`] these calls are put off.
        pub fn with_all_registers(call: &Call) -> SysResult {
            match call.number() {
                $($(number if needing!($needs $number $name) == Some(number) => $function(call),)?)*
                _ => missing(call),
            }
        }
    };
}

/// How many arguments a list has.
const fn count(list: &str) -> u8 {
    let bytes = list.as_bytes();
    let (mut at, mut count) = (0, if bytes.is_empty() { 0 } else { 1 });
    while at < bytes.len() {
        count += if bytes[at] == b',' { 1 } else { 0 };
        at += 1;
    }
    count
}

macro_rules! first_function {
    ($function:path) => {
        $function
    };
    (all_registers $function:path) => {
        put_off
    };
}

macro_rules! needing {
    (all_registers $number:literal $name:ident) => {
        call_number!($number $name)
    };
}

system_calls! {
    // files and descriptors
    0 read(fd, &bytes, len) super::file::read, "all";
    1 write(fd, &bytes, len) super::file::write, "all";
    2 open(&path, open_flags, mode) -> file super::path::open_call, "all";
    3 close(fd) super::descriptor::close, "all";
    4 stat(&path, &out) super::attributes::stat_call, "all";
    5 fstat(fd, &out) super::attributes::fstat, "all";
    6 lstat(&path, &out) super::attributes::lstat, "all";
    7 poll(&pollfds, count, timeout_ms) super::poll::poll, "all";
    8 lseek(fd, offset, whence) super::file::lseek, "with SEEK_DATA and SEEK_HOLE";
    16 ioctl(fd, ioctl_command, &ioctl_argument) super::file::ioctl, "FIONBIO, FIOASYNC, FIOCLEX, FIONCLEX, FIONREAD; those of terminals and sockets at their files";
    17 pread64(file, &bytes, len, offset) super::file::pread64, "all";
    18 pwrite64(file, &bytes, len, offset) super::file::pwrite64, "all";
    19 readv(fd, &iovecs, count) super::file::readv, "all";
    20 writev(fd, &iovecs, count) super::file::writev, "all";
    21 access(&path, access_mode) super::attributes::access, "all";
    22 pipe(&pipe_pair) super::descriptor::pipe, "all";
    23 select(count, &fd_set, &fd_set, &fd_set, &timeval) super::poll::select, "all";
    32 dup(fd) -> fd super::descriptor::dup, "all";
    33 dup2(fd, new_fd) -> fd super::descriptor::dup2, "all";
    40 sendfile(file, fd, &offset_cell, len) super::file::sendfile, "from files; bytes of the image are handed over in place";
    72 fcntl(fd, fcntl_command, fcntl_argument) -> fd super::descriptor::fcntl, "descriptors, status flags, record locks of processes and descriptions, pipe sizes, seals, SIGIO and other signals (F_SETOWN, F_SETSIG), signals of changes in directories (F_NOTIFY), leases";
    73 flock(fd, flock_operation) super::descriptor::flock, "all";
    74 fsync(fd) super::file::fsync, "all; files in memory need none";
    75 fdatasync(fd) super::file::fdatasync, "all";
    76 truncate(&path, offset) super::file::truncate, "all";
    77 ftruncate(file, offset) super::file::ftruncate, "all";
    79 getcwd(&out, len) super::path::getcwd, "all";
    80 chdir(&path) super::path::chdir, "all";
    81 fchdir(directory) super::path::fchdir, "all";
    82 rename(&path, &path) super::path::rename, "all";
    83 mkdir(&path, mode) super::path::mkdir, "all";
    84 rmdir(&path) super::path::rmdir, "all";
    85 creat(&path, mode) -> file super::path::creat, "all";
    86 link(&path, &path) super::path::link, "all";
    87 unlink(&path) super::path::unlink, "all";
    88 symlink(&path, &path) super::path::symlink, "all";
    89 readlink(&path, &out, len) super::path::readlink, "all";
    90 chmod(&path, mode) super::attributes::chmod, "all";
    91 fchmod(fd, mode) super::attributes::fchmod, "all";
    92 chown(&path, uid, gid) super::attributes::chown, "all; set-user-ID stays";
    93 fchown(fd, uid, gid) super::attributes::fchown, "as chown";
    94 lchown(&path, uid, gid) super::attributes::lchown, "as chown";
    95 umask(mode) super::path::umask, "all";
    132 utime(&path, &timeval) super::attributes::utime, "all";
    133 mknod(&path, node_mode, device) super::path::mknod, "files, fifos, sockets, character devices";
    137 statfs(&path, &out) super::attributes::statfs, "all";
    138 fstatfs(fd, &out) super::attributes::fstatfs, "all";
    161 chroot(&path) super::path::chroot, "all";
    162 sync() super::file::sync, "nothing to do";
    165 mount(&path, &path, &file_system, mount_flags, &path) super::mount::mount, "ext4, 9p, virtiofs, overlay, tmpfs, proc, sysfs, devtmpfs, devpts, mqueue, MS_BIND, MS_REMOUNT with ro, noexec, nosuid and nodev; MS_MOVE, MS_REC; all mounts are private";
    428 open_tree(dirfd, &path, number) super::mount_api::open_tree, "all";
    429 move_mount(dirfd, &path, dirfd, &path, number) super::mount_api::move_mount, "without MOVE_MOUNT_SET_GROUP and MOVE_MOUNT_BENEATH";
    430 fsopen(&string, number) -> fd super::mount_api::fsopen, "what mount(2) mounts, without ext4";
    431 fsconfig(fd, number, &string, &string, number) super::mount_api::fsconfig, "flags, strings and the commands";
    432 fsmount(fd, number, number) -> fd super::mount_api::fsmount, "all";
    433 fspick(dirfd, &path, number) -> fd super::mount_api::fspick, "all";
    442 mount_setattr(dirfd, &path, number, &bytes, len) super::mount_api::mount_setattr, "no mappings of ids; propagation is accepted, and all mounts are private";
    155 pivot_root(&path, &path) super::mount::pivot_root, "all";
    166 umount2(&path, umount_flags) super::mount::umount2, "without MNT_EXPIRE";
    187 readahead(fd, offset, len) super::file::readahead, "up to 1 MiB";
    188 setxattr(&path, &string, &bytes, len, number) super::xattr::setxattr, "user., trusted. and security.; no access control lists";
    189 lsetxattr(&path, &string, &bytes, len, number) super::xattr::lsetxattr, "user., trusted. and security.";
    190 fsetxattr(fd, &string, &bytes, len, number) super::xattr::fsetxattr, "user., trusted. and security.";
    191 getxattr(&path, &string, &out, len) super::xattr::getxattr, "user., trusted. and security.";
    192 lgetxattr(&path, &string, &out, len) super::xattr::lgetxattr, "user., trusted. and security.";
    193 fgetxattr(fd, &string, &out, len) super::xattr::fgetxattr, "user., trusted. and security.";
    194 listxattr(&path, &out, len) super::xattr::listxattr, "all";
    195 llistxattr(&path, &out, len) super::xattr::llistxattr, "all";
    196 flistxattr(fd, &out, len) super::xattr::flistxattr, "all";
    197 removexattr(&path, &string) super::xattr::removexattr, "user., trusted. and security.";
    198 lremovexattr(&path, &string) super::xattr::lremovexattr, "user., trusted. and security.";
    199 fremovexattr(fd, &string) super::xattr::fremovexattr, "user., trusted. and security.";
    213 epoll_create(count) -> epoll super::epoll::epoll_create, "all";
    78 getdents(directory, &out, len) super::path::getdents, "all";
    217 getdents64(directory, &out, len) super::path::getdents64, "all";
    221 fadvise64(fd, offset, len, number) super::file::fadvise64, "all; POSIX_FADV_WILLNEED up to 1 MiB";
    232 epoll_wait(epoll, &out, count, timeout_ms) super::epoll::epoll_wait, "all";
    233 epoll_ctl(epoll, epoll_operation, fd, &epoll_event) super::epoll::epoll_ctl, "level, edge, one-shot, exclusive; nested sets";
    235 utimes(&path, &timeval) super::attributes::utimes, "all";
    253 inotify_init() -> inotify super::inotify::inotify_init, "all";
    254 inotify_add_watch(inotify, &path, inotify_mask) super::inotify::inotify_add_watch, "all";
    255 inotify_rm_watch(inotify, number) super::inotify::inotify_rm_watch, "all";
    300 fanotify_init(fanotify_flags, open_flags) -> fanotify super::fanotify::fanotify_init, "notifications, with descriptors or FAN_REPORT_FID; no permission events, no other FAN_REPORT_* but TID";
    301 fanotify_mark(fanotify, fanotify_mark_flags, fanotify_mask, dirfd, &path) super::fanotify::fanotify_mark, "marks of files, mounts and file systems; without FAN_MARK_IGNORE and FAN_MARK_EVICTABLE; no FAN_DELETE_SELF for a mark of a file system";
    294 inotify_init1(fd_flags) -> inotify super::inotify::inotify_init1, "all";
    257 openat(dirfd, &path, open_flags, mode) -> file super::path::openat, "with O_PATH and O_TMPFILE";
    258 mkdirat(dirfd, &path, mode) super::path::mkdirat, "all";
    259 mknodat(dirfd, &path, node_mode, device) super::path::mknodat, "as mknod";
    260 fchownat(dirfd, &path, uid, gid, at_flags) super::attributes::fchownat, "as chown";
    261 futimesat(dirfd, &path, &timeval) super::attributes::futimesat, "all";
    262 newfstatat(dirfd, &path, &out, at_flags) super::attributes::newfstatat, "all";
    263 unlinkat(dirfd, &path, at_flags) super::path::unlinkat, "all";
    264 renameat(dirfd, &path, dirfd, &path) super::path::renameat, "all";
    265 linkat(dirfd, &path, dirfd, &path, at_flags) super::path::linkat, "all";
    266 symlinkat(&path, dirfd, &path) super::path::symlinkat, "all";
    267 readlinkat(dirfd, &path, &out, len) super::path::readlinkat, "all";
    268 fchmodat(dirfd, &path, mode) super::attributes::fchmodat, "all";
    269 faccessat(dirfd, &path, access_mode) super::attributes::faccessat, "all";
    270 pselect6(count, &fd_set, &fd_set, &fd_set, &timespec, &sigset_argument) super::poll::pselect6, "all";
    271 ppoll(&pollfds, count, &timespec, &sigset, sigset_len) super::poll::ppoll, "all";
    275 splice(pipe_or_fd, &offset_cell, pipe_or_fd, &offset_cell, len, splice_flags) super::file::splice, "by copying";
    276 tee(pipe_or_fd, pipe_or_fd, len, splice_flags) super::file::tee, "by copying";
    277 sync_file_range(fd, offset, len, number) super::file::sync_file_range, "writes back and waits, whichever flags";
    278 vmsplice(pipe_or_fd, &iovecs, count, splice_flags) super::file::vmsplice, "by copying";
    280 utimensat(dirfd, &path, &timespec, at_flags) super::attributes::utimensat, "all";
    281 epoll_pwait(epoll, &out, count, timeout_ms, &sigset, sigset_len) super::epoll::epoll_pwait, "all";
    284 eventfd(number) -> fd super::descriptor::eventfd, "all";
    285 fallocate(file, fallocate_mode, offset, offset) super::file::fallocate, "allocating, punching holes, zeroing; on ext4 collapsing and inserting";
    290 eventfd2(number, fd_flags) -> fd super::descriptor::eventfd2, "all";
    291 epoll_create1(fd_flags) -> epoll super::epoll::epoll_create1, "all";
    292 dup3(fd, new_fd, fd_flags) -> fd super::descriptor::dup3, "all";
    293 pipe2(&pipe_pair, fd_flags) super::descriptor::pipe2, "all";
    295 preadv(file, &iovecs, count, offset) super::file::preadv, "all";
    296 pwritev(file, &iovecs, count, offset) super::file::pwritev, "all";
    306 syncfs(fd) super::file::syncfs, "all";
    316 renameat2(dirfd, &path, dirfd, &path, rename_flags) super::path::renameat2, "all";
    319 memfd_create(&string, memfd_flags) -> file super::descriptor::memfd_create, "with seals; no huge pages";
    447 memfd_secret(fd_flags) -> file super::descriptor::memfd_secret, "all";
    326 copy_file_range(file, &offset_cell, file, &offset_cell, len, number) super::file::copy_file_range, "all";
    327 preadv2(fd, &iovecs, count, offset, offset, rw_flags) super::file::preadv2, "all but RWF_ATOMIC and RWF_DONTCACHE";
    328 pwritev2(fd, &iovecs, count, offset, offset, rw_flags) super::file::pwritev2, "all but RWF_ATOMIC and RWF_DONTCACHE; RWF_NOWAIT on streams";
    451 cachestat(file, &bytes, &out, number) super::file::cachestat, "files in memory and on ext4";
    303 name_to_handle_at(dirfd, &path, &bytes, &out, at_flags) super::handle::name_to_handle_at, "files in memory and on ext4";
    304 open_by_handle_at(fd, &bytes, open_flags) -> file super::handle::open_by_handle_at, "files that handles were asked for since boot, the last 1,024, as long as the kernel has them in memory";
    332 statx(dirfd, &path, at_flags, number, &out) super::attributes::statx, "with birth time on ext4 and tmpfs";
    436 close_range(fd, fd, close_range_flags) super::descriptor::close_range, "all";
    437 openat2(dirfd, &path, &open_how, open_how_len) -> fd super::path::openat2, "all";
    439 faccessat2(dirfd, &path, access_mode, at_flags) super::attributes::faccessat2, "all";
    441 epoll_pwait2(epoll, &out, count, &timespec, &sigset, sigset_len) super::epoll::epoll_pwait2, "all";
    452 fchmodat2(dirfd, &path, mode, at_flags) super::attributes::fchmodat2, "all";
    // memory
    9 mmap(address, map_len, protection, map_flags, fd, page_offset) -> address super::memory::mmap, "private and shared, anonymous and files; MAP_FIXED(_NOREPLACE), 32BIT, GROWSDOWN, POPULATE; MAP_HUGETLB gives ENOMEM";
    10 mprotect(address, map_len, protection) super::memory::mprotect, "all";
    11 munmap(address, map_len) super::memory::munmap, "all";
    12 brk(address) super::memory::brk, "all";
    25 mremap(address, map_len, map_len, mremap_flags, address) -> address super::memory::mremap, "within one mapping; MREMAP_MAYMOVE, FIXED, DONTUNMAP";
    26 msync(address, map_len, msync_flags) super::memory::msync, "all";
    27 mincore(address, map_len, &out) super::memory::mincore, "all";
    28 madvise(address, map_len, madvise_advice) super::memory::madvise, "DONTNEED, FREE, REMOVE, DONTFORK, WIPEONFORK, DONTDUMP, POPULATE_*, GUARD_*; hints are accepted";
    440 process_madvise(pidfd, &iovecs, count, madvise_advice, number) super::memory::process_madvise, "COLD, PAGEOUT, WILLNEED and COLLAPSE for others, all for the caller";
    462 mseal(address, map_len, number) super::memory::mseal, "all";
    237 mbind(address, map_len, number, &bytes, count, number) super::memory_policy::mbind, "checked: there is one node";
    238 set_mempolicy(number, &bytes, count) super::memory_policy::set_mempolicy, "kept and told: there is one node";
    239 get_mempolicy(&out, &out, count, address, number) super::memory_policy::get_mempolicy, "a region's is the thread's";
    256 migrate_pages(pid, count, &bytes, &bytes) super::memory_policy::migrate_pages, "checked: there is one node";
    279 move_pages(pid, count, &bytes, &bytes, &out, number) super::memory_policy::move_pages, "checked: there is one node";
    149 mlock(address, map_len) super::memory::mlock, "all; nothing is ever paged out";
    150 munlock(address, map_len) super::memory::munlock, "all";
    151 mlockall(mlockall_flags) super::memory::mlockall, "all";
    152 munlockall() super::memory::munlockall, "all";
    324 membarrier(membarrier_command, number) super::memory::membarrier, "GLOBAL, and the expedited commands without rseq";
    325 mlock2(address, map_len, number) super::memory::mlock2, "all";
    329 pkey_mprotect(address, map_len, protection, number) super::memory::pkey_mprotect, "without a key";
    // keys
    248 add_key(&string, &string, &bytes, len, number) super::keys::add_key, "user, logon, big_key and keyring; no thread keyring";
    249 request_key(&string, &string, &string, number) super::keys::request_key, "keys that there are; nothing makes others";
    250 keyctl(number, number, &bytes, &bytes, number) super::keys::keyctl, "GET_KEYRING_ID, JOIN_SESSION_KEYRING, UPDATE, REVOKE, CHOWN, SETPERM, DESCRIBE, CLEAR, LINK, UNLINK, SEARCH, READ, SET_TIMEOUT, INVALIDATE";
    // processes
    39 getpid() -> pid super::process::getpid, "all";
    #[all_registers] 56 clone(clone_flags, stack, &int_cell, &int_cell, address) -> pid super::process::clone, "threads and processes; namespaces of mounts, users, names, control groups, process ids, System V objects and networks";
    #[all_registers] 57 fork() -> pid super::process::fork, "all";
    #[all_registers] 58 vfork() -> pid super::process::vfork, "all";
    #[all_registers] 59 execve(&executable, &string_array, &string_array) super::process::execve, "ELF programs and #! scripts; set-ID bits and capabilities of files";
    #[all_registers] 60 exit(number) super::process::exit, "all";
    61 wait4(pid, &out, wait_options, &out) super::process::wait4, "all";
    109 setpgid(pid, pid) super::process::setpgid, "all";
    110 getppid() super::process::getppid, "all";
    111 getpgrp() -> pid super::process::getpgrp, "all";
    112 setsid() -> pid super::process::setsid, "all";
    121 getpgid(pid) -> pid super::process::getpgid, "all";
    124 getsid(pid) -> pid super::process::getsid, "all";
    153 vhangup() super::process::vhangup, "pseudo-terminals";
    219 restart_syscall() super::signal::restart_syscall, "EINTR: calls that are started again are made anew";
    #[all_registers] 231 exit_group(number) super::process::exit_group, "all";
    247 waitid(wait_type, pid, &out, wait_options, &out) super::process::waitid, "P_ALL, P_PID, P_PGID, P_PIDFD";
    #[all_registers] 322 execveat(dirfd, &executable, &string_array, &string_array, at_flags) super::process::execveat, "all";
    101 ptrace(ptrace_request, pid, address, number) super::ptrace::ptrace, "all but debug registers";
    310 process_vm_readv(pid, &iovecs, count, &iovecs, count, number) super::other_process::process_vm_readv, "all";
    311 process_vm_writev(pid, &iovecs, count, &iovecs, count, number) super::other_process::process_vm_writev, "all";
    312 kcmp(pid, pid, number, fd, fd) super::other_process::kcmp, "all";
    448 process_mrelease(pidfd, number) super::other_process::process_mrelease, "all";
    438 pidfd_getfd(pidfd, fd, number) -> fd super::other_process::pidfd_getfd, "all";
    424 pidfd_send_signal(pidfd, signal, &siginfo, number) super::process::pidfd_send_signal, "all";
    434 pidfd_open(pid, fd_flags) -> pidfd super::process::pidfd_open, "all";
    #[all_registers] 435 clone3(&clone_args, clone_args_len) -> pid super::process::clone3, "as clone, and set_tid; cgroups are refused";
    272 unshare(clone_flags) super::namespaces::unshare, "mounts, users, names, control groups, process ids, System V objects, networks (of a loopback, and of programs by /dev/net/tun), clocks since boot, descriptors; all threads of a process";
    308 setns(fd, clone_flags) super::namespaces::setns, "the same, by links of /proc/PID/ns and pidfds";
    // threads
    24 sched_yield() super::thread::sched_yield, "all";
    140 getpriority(priority_type, pid) super::scheduling::getpriority, "all";
    141 setpriority(priority_type, pid, number) super::scheduling::setpriority, "all";
    142 sched_setparam(pid, &int_cell) super::scheduling::sched_setparam, "all";
    143 sched_getparam(pid, &out) super::scheduling::sched_getparam, "all";
    144 sched_setscheduler(pid, scheduler, &int_cell) super::scheduling::sched_setscheduler, "without SCHED_DEADLINE";
    145 sched_getscheduler(pid) super::scheduling::sched_getscheduler, "all";
    146 sched_get_priority_max(scheduler) super::scheduling::sched_get_priority_max, "all";
    147 sched_get_priority_min(scheduler) super::scheduling::sched_get_priority_min, "all";
    148 sched_rr_get_interval(pid, &out) super::scheduling::sched_rr_get_interval, "all";
    317 seccomp(number, number, &bytes) super::seccomp::seccomp, "strict mode and filters, with listeners";
    157 prctl(prctl_option, &int_cell, number, number, number) super::thread::prctl, "names, death signal, dumpable, capability sets and secure bits, no_new_privs, subreaper, timer slack, policy for failing memory, perf events on and off; names for memory are checked, not kept; others that change nothing are accepted";
    158 arch_prctl(arch_prctl_code, address) super::thread::arch_prctl, "FS; GS in protected mode";
    186 gettid() -> pid super::thread::gettid, "all";
    203 sched_setaffinity(pid, len, &bytes) super::thread::sched_setaffinity, "64 CPUs";
    204 sched_getaffinity(pid, len, &out) super::thread::sched_getaffinity, "64 CPUs";
    218 set_tid_address(&int_cell) super::thread::set_tid_address, "all";
    251 ioprio_set(number, pid, number) super::scheduling::ioprio_set, "kept; requests to disks are not sorted by it";
    252 ioprio_get(number, pid) super::scheduling::ioprio_get, "all";
    309 getcpu(&out, &out, &out) super::thread::getcpu, "one NUMA node";
    314 sched_setattr(pid, &bytes, number) super::scheduling::sched_setattr, "without SCHED_DEADLINE and bounds of utilisation";
    315 sched_getattr(pid, &out, len, number) super::scheduling::sched_getattr, "all";
    334 rseq(&bytes, len, number, number) super::thread::rseq, "all";
    // futexes
    202 futex(&futex_word, futex_operation, futex_value, &timespec, &futex_word, number) super::futex::futex, "WAIT, WAKE, BITSET, REQUEUE, CMP_REQUEUE, WAKE_OP, LOCK_PI, LOCK_PI2, TRYLOCK_PI, UNLOCK_PI, WAIT_REQUEUE_PI, CMP_REQUEUE_PI";
    449 futex_waitv(&bytes, count, number, &timespec, clock) super::futex::futex_waitv, "words of 32 bits, as all there are";
    273 set_robust_list(&robust_list, robust_list_len) super::futex::set_robust_list, "all";
    274 get_robust_list(pid, &out, &out) super::futex::get_robust_list, "all";
    // signals
    13 rt_sigaction(signal, &sigaction, &out, sigset_len) super::signal::rt_sigaction, "all";
    14 rt_sigprocmask(sigmask_how, &sigset, &out, sigset_len) super::signal::rt_sigprocmask, "all";
    #[all_registers] 15 rt_sigreturn() super::signal::rt_sigreturn, "all, with extended FPU state";
    34 pause() super::signal::pause, "all";
    62 kill(pid, signal) super::signal::kill, "all";
    127 rt_sigpending(&out, sigset_len) super::signal::rt_sigpending, "all";
    128 rt_sigtimedwait(&sigset, &out, &timespec, sigset_len) super::signal::rt_sigtimedwait, "all";
    129 rt_sigqueueinfo(pid, signal, &siginfo) super::signal::rt_sigqueueinfo, "all";
    130 rt_sigsuspend(&sigset, sigset_len) super::signal::rt_sigsuspend, "all";
    131 sigaltstack(&signal_stack, &out) super::signal::sigaltstack, "all, with SS_AUTODISARM";
    200 tkill(pid, signal) super::signal::tkill, "all";
    234 tgkill(pid, pid, signal) super::signal::tgkill, "all";
    282 signalfd(new_fd, &sigset, sigset_len) -> fd super::signal::signalfd, "all";
    289 signalfd4(new_fd, &sigset, sigset_len, fd_flags) -> fd super::signal::signalfd4, "all";
    297 rt_tgsigqueueinfo(pid, pid, signal, &siginfo) super::signal::rt_tgsigqueueinfo, "all";
    // time
    35 nanosleep(&timespec, &out) super::time::nanosleep, "all";
    36 getitimer(itimer, &out) super::time::getitimer, "all";
    37 alarm(seconds) super::time::alarm, "all";
    38 setitimer(itimer, &itimerval, &out) super::time::setitimer, "all; ITIMER_VIRTUAL counts the kernel's time, too";
    96 gettimeofday(&out, &out) super::time::gettimeofday, "UTC";
    100 times(&out) super::time::times, "CPU time counts as user time";
    159 adjtimex(&bytes) super::time::adjtimex, "no pulse per second";
    164 settimeofday(&timeval, &bytes) super::time::settimeofday, "all";
    201 time(&out) super::time::time, "all";
    222 timer_create(clock, &sigevent, &timer_cell) super::time::timer_create, "SIGEV_NONE, SIGNAL, THREAD_ID";
    223 timer_settime(timer, timer_flags, &itimerspec, &out) super::time::timer_settime, "all";
    224 timer_gettime(timer, &out) super::time::timer_gettime, "all";
    225 timer_getoverrun(timer) super::time::timer_getoverrun, "all";
    226 timer_delete(timer) super::time::timer_delete, "all";
    227 clock_settime(clock, &timespec) super::time::clock_settime, "CLOCK_REALTIME";
    228 clock_gettime(clock, &out) super::time::clock_gettime, "all clocks";
    229 clock_getres(clock, &out) super::time::clock_getres, "all clocks";
    230 clock_nanosleep(clock, timer_flags, &timespec, &out) super::time::clock_nanosleep, "all";
    305 clock_adjtime(clock, &bytes) super::time::clock_adjtime, "CLOCK_REALTIME; no pulse per second";
    283 timerfd_create(clock, fd_flags) -> timerfd super::timerfd::timerfd_create, "real-time and monotonic clocks";
    286 timerfd_settime(timerfd, timer_flags, &itimerspec, &out) super::timerfd::timerfd_settime, "all";
    287 timerfd_gettime(timerfd, &out) super::timerfd::timerfd_gettime, "all";
    // identity
    102 getuid() super::identity::getuid, "all";
    104 getgid() super::identity::getgid, "all";
    105 setuid(uid) super::identity::setuid, "all";
    106 setgid(gid) super::identity::setgid, "all";
    107 geteuid() super::identity::geteuid, "all";
    108 getegid() super::identity::getegid, "all";
    113 setreuid(uid, uid) super::identity::setreuid, "all";
    114 setregid(gid, gid) super::identity::setregid, "all";
    115 getgroups(count, &out) super::identity::getgroups, "all";
    116 setgroups(count, &bytes) super::identity::setgroups, "all";
    117 setresuid(uid, uid, uid) super::identity::setresuid, "all";
    118 getresuid(&out, &out, &out) super::identity::getresuid, "all";
    119 setresgid(gid, gid, gid) super::identity::setresgid, "all";
    120 getresgid(&out, &out, &out) super::identity::getresgid, "all";
    122 setfsuid(uid) super::identity::setfsuid, "all";
    123 setfsgid(gid) super::identity::setfsgid, "all";
    125 capget(&capability_header, &out) super::identity::capget, "all";
    126 capset(&capability_header, &bytes) super::identity::capset, "all";
    // the system
    63 uname(&out) super::system::uname, "all";
    97 getrlimit(resource, &out) super::system::getrlimit, "all; AS, CPU, DATA, FSIZE, MEMLOCK, MSGQUEUE, NICE, NOFILE, NPROC, RTPRIO, SIGPENDING and STACK hold";
    98 getrusage(number, &out) super::system::getrusage, "CPU time, resident set, page faults, switches";
    99 sysinfo(&out) super::system::sysinfo, "all";
    135 personality(number) super::system::personality, "kept and told";
    160 setrlimit(resource, &resource_limit) super::system::setrlimit, "as getrlimit";
    169 reboot(number, number, number, address) super::system::reboot, "ends the machine";
    170 sethostname(&string, len) super::system::sethostname, "all";
    171 setdomainname(&string, len) super::system::setdomainname, "all";
    298 perf_event_open(&perf_attributes, pid, perf_cpu, perf_event, perf_flags) -> perf_event super::perf::perf_event_open, "PERF_TYPE_SOFTWARE of threads and their children, counted in groups; no samples, no events of CPUs";
    302 prlimit64(pid, resource, &resource_limit, &out) super::system::prlimit64, "as getrlimit";
    318 getrandom(&out, len, number) super::system::getrandom, "all";
    // System V IPC
    29 shmget(ipc_key, len, ipc_flags) -> shared_memory super::sysv::shmget, "without SHM_HUGETLB";
    30 shmat(shared_memory, address, shmat_flags) -> address super::sysv::shmat, "all";
    31 shmctl(shared_memory, ipc_command, &out) super::sysv::shmctl, "all";
    64 semget(ipc_key, count, ipc_flags) -> semaphores super::sysv::semget, "all";
    65 semop(semaphores, &semaphore_operations, count) super::sysv::semop, "all";
    66 semctl(semaphores, count, ipc_command, &out) super::sysv::semctl, "all";
    67 shmdt(address) super::sysv::shmdt, "all";
    68 msgget(ipc_key, ipc_flags) -> message_queue super::sysv::msgget, "all";
    69 msgsnd(message_queue, &typed_message, len, ipc_flags) super::sysv::msgsnd, "all";
    70 msgrcv(message_queue, &out, len, message_type, ipc_flags) super::sysv::msgrcv, "all";
    71 msgctl(message_queue, ipc_command, &out) super::sysv::msgctl, "all";
    220 semtimedop(semaphores, &semaphore_operations, count, &timespec) super::sysv::semtimedop, "all";
    // POSIX message queues
    240 mq_open(&queue_name, mq_flags, mode, &mq_attributes) -> mq super::mqueue::mq_open, "all";
    241 mq_unlink(&queue_name) super::mqueue::mq_unlink, "all";
    242 mq_timedsend(mq, &bytes, mq_len, mq_priority, &timespec) super::mqueue::mq_timedsend, "all";
    243 mq_timedreceive(mq, &out, mq_len, &out, &timespec) super::mqueue::mq_timedreceive, "all";
    244 mq_notify(mq, &mq_event) super::mqueue::mq_notify, "all";
    245 mq_getsetattr(mq, &mq_attributes, &out) super::mqueue::mq_getsetattr, "all";

    // asynchronous input and output
    206 io_setup(count, &out) super::aio::io_setup, "all";
    207 io_destroy(address) super::aio::io_destroy, "all";
    208 io_getevents(address, number, number, &out, &timespec) super::aio::io_getevents, "all";
    209 io_submit(address, count, &bytes) super::aio::io_submit, "waits for what it does, but for transfers of files with O_DIRECT on disks; no IOCB_CMD_POLL";
    210 io_cancel(address, &bytes, &out) super::aio::io_cancel, "EINVAL: what was submitted is complete";
    425 io_uring_setup(count, &io_uring_params) -> io_uring super::uring::io_uring_setup, "all flags but IOPOLL and the rings in the program's own memory";
    426 io_uring_enter(io_uring, count, count, io_uring_enter_flags, &sigset, sigset_len) super::uring::io_uring_enter, "without registered rings";
    427 io_uring_register(io_uring, io_uring_register_operation, &out, count) super::uring::io_uring_register, "buffers, files, eventfd, probe, rings of provided buffers, enabling, cancelling";
    333 io_pgetevents(address, number, number, &out, &timespec, &sigset_argument) super::aio::io_pgetevents, "all";

    // sockets
    41 socket(address_family, socket_type, protocol) -> socket super::socket::socket, "AF_INET and AF_INET6 for TCP, UDP and UDP-Lite, AF_UNIX, AF_VSOCK, AF_PACKET, AF_NETLINK (NETLINK_ROUTE)";
    42 connect(socket, &socket_address, address_len) super::socket::connect, "yes; waits for DHCP if that has not answered yet";
    43 accept(socket, &out, &length_cell) -> socket super::socket::accept, "yes";
    44 sendto(socket, &bytes, len, message_flags, &socket_address, address_len) super::socket::sendto, "MSG_OOB and MSG_FASTOPEN for TCP; MSG_ZEROCOPY copies, and says so";
    45 recvfrom(socket, &out, len, message_flags, &out, &length_cell) super::socket::recvfrom, "MSG_OOB for TCP; the error queue has notices of MSG_ZEROCOPY, and errors of UDP and raw sockets";
    46 sendmsg(socket, &message, message_flags) super::socket::sendmsg, "control data: SCM_RIGHTS, SCM_CREDENTIALS, IP_PKTINFO";
    47 recvmsg(socket, &message, message_flags) super::socket::recvmsg, "control data: SCM_RIGHTS, SCM_CREDENTIALS, IP_PKTINFO";
    48 shutdown(socket, shutdown_how) super::socket::shutdown, "yes";
    49 bind(socket, &socket_address, address_len) super::socket::bind, "yes";
    50 listen(socket, count) super::socket::listen, "yes";
    51 getsockname(socket, &out, &length_cell) super::socket::getsockname, "yes";
    52 getpeername(socket, &out, &length_cell) super::socket::getpeername, "yes";
    53 socketpair(address_family, socket_type, protocol, &socket_pair) super::socket::socketpair, "AF_UNIX";
    54 setsockopt(socket, socket_level, socket_option, &bytes, option_len) super::socket::setsockopt, "the options of socket(7), ip(7), ipv6(7), tcp(7), udp(7); hints are remembered; no filters";
    55 getsockopt(socket, socket_level, socket_option, &out, &length_cell) super::socket::getsockopt, "likewise; TCP_INFO up to tcpi_total_retrans";
    288 accept4(socket, &out, &length_cell, fd_flags) -> socket super::socket::accept4, "yes";
    299 recvmmsg(socket, &messages, count, message_flags, &timespec) super::socket::recvmmsg, "yes";
    307 sendmmsg(socket, &messages, count, message_flags) super::socket::sendmmsg, "yes";
}
