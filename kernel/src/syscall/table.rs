//! The system-call table: number, name, function, and what of the call is supported. docs/ is generated from this file.
use super::call::Call;
use crate::errno::SysResult;

/// A system call's function.
pub type Handler = fn(&mut Call) -> SysResult;

/// Numbers below this may have a function.
pub const TABLE_SIZE: usize = 462;

/// `number name function "what is supported";` The note is for the documentation and not compiled in.
macro_rules! system_calls {
    ($($number:literal $name:ident $function:path, $note:literal;)*) => {
        /// The function of each system call, by number.
        pub static TABLE: [Option<Handler>; TABLE_SIZE] = {
            let mut table: [Option<Handler>; TABLE_SIZE] = [None; TABLE_SIZE];
            $(table[$number] = Some($function);)*
            table
        };
    };
}

system_calls! {
    // files and descriptors
    0 read super::file::read, "all";
    1 write super::file::write, "all";
    2 open super::path::open_call, "all";
    3 close super::descriptor::close, "all";
    4 stat super::attributes::stat_call, "all";
    5 fstat super::attributes::fstat, "all";
    6 lstat super::attributes::lstat, "all";
    7 poll super::poll::poll, "all";
    8 lseek super::file::lseek, "with SEEK_DATA and SEEK_HOLE";
    16 ioctl super::file::ioctl, "FIONBIO, FIOCLEX, FIONCLEX, FIONREAD; those of terminals and sockets at their files";
    17 pread64 super::file::pread64, "all";
    18 pwrite64 super::file::pwrite64, "all";
    19 readv super::file::readv, "all";
    20 writev super::file::writev, "all";
    21 access super::attributes::access, "as the superuser";
    22 pipe super::descriptor::pipe, "all";
    23 select super::poll::select, "all";
    32 dup super::descriptor::dup, "all";
    33 dup2 super::descriptor::dup2, "all";
    40 sendfile super::file::sendfile, "from files; bytes of the image are handed over in place";
    72 fcntl super::descriptor::fcntl, "descriptors, status flags, record locks of processes and descriptions, pipe sizes, seals; no leases, no SIGIO";
    73 flock super::descriptor::flock, "all";
    74 fsync super::file::fsync, "nothing to do: files are in memory";
    75 fdatasync super::file::fsync, "as fsync";
    76 truncate super::file::truncate, "all";
    77 ftruncate super::file::ftruncate, "all";
    79 getcwd super::path::getcwd, "all";
    80 chdir super::path::chdir, "all";
    81 fchdir super::path::fchdir, "all";
    82 rename super::path::rename, "all";
    83 mkdir super::path::mkdir, "all";
    84 rmdir super::path::rmdir, "all";
    85 creat super::path::creat, "all";
    86 link super::path::link, "all";
    87 unlink super::path::unlink, "all";
    88 symlink super::path::symlink, "all";
    89 readlink super::path::readlink, "all";
    90 chmod super::attributes::chmod, "all";
    91 fchmod super::attributes::fchmod, "all";
    92 chown super::attributes::chown, "kept, not enforced: programs run as the superuser";
    93 fchown super::attributes::fchown, "as chown";
    94 lchown super::attributes::lchown, "as chown";
    95 umask super::path::umask, "all";
    132 utime super::attributes::utime, "all";
    133 mknod super::path::mknod, "files, fifos, sockets, character devices";
    137 statfs super::attributes::statfs, "all";
    138 fstatfs super::attributes::fstatfs, "all";
    161 chroot super::path::chroot, "all";
    162 sync super::file::sync, "nothing to do";
    165 mount super::mount::mount, "tmpfs, proc, sysfs, devtmpfs, bind; one namespace";
    166 umount2 super::mount::umount2, "flags are ignored";
    187 readahead super::file::readahead, "nothing to do";
    188 setxattr super::attributes::xattr, "EOPNOTSUPP";
    189 lsetxattr super::attributes::xattr, "EOPNOTSUPP";
    190 fsetxattr super::attributes::fxattr, "EOPNOTSUPP";
    191 getxattr super::attributes::xattr, "EOPNOTSUPP";
    192 lgetxattr super::attributes::xattr, "EOPNOTSUPP";
    193 fgetxattr super::attributes::fxattr, "EOPNOTSUPP";
    194 listxattr super::attributes::listxattr, "none";
    195 llistxattr super::attributes::listxattr, "none";
    196 flistxattr super::attributes::flistxattr, "none";
    197 removexattr super::attributes::xattr, "EOPNOTSUPP";
    198 lremovexattr super::attributes::xattr, "EOPNOTSUPP";
    199 fremovexattr super::attributes::fxattr, "EOPNOTSUPP";
    213 epoll_create super::epoll::epoll_create, "all";
    217 getdents64 super::path::getdents64, "all";
    221 fadvise64 super::file::fadvise64, "checked, not followed";
    232 epoll_wait super::epoll::epoll_wait, "all";
    233 epoll_ctl super::epoll::epoll_ctl, "level, edge, one-shot, exclusive; nested sets";
    235 utimes super::attributes::utimes, "all";
    257 openat super::path::openat, "with O_PATH and O_TMPFILE";
    258 mkdirat super::path::mkdirat, "all";
    259 mknodat super::path::mknodat, "as mknod";
    260 fchownat super::attributes::fchownat, "as chown";
    261 futimesat super::attributes::futimesat, "all";
    262 newfstatat super::attributes::newfstatat, "all";
    263 unlinkat super::path::unlinkat, "all";
    264 renameat super::path::renameat, "all";
    265 linkat super::path::linkat, "all";
    266 symlinkat super::path::symlinkat, "all";
    267 readlinkat super::path::readlinkat, "all";
    268 fchmodat super::attributes::fchmodat, "all";
    269 faccessat super::attributes::faccessat, "all";
    270 pselect6 super::poll::pselect6, "all";
    271 ppoll super::poll::ppoll, "all";
    275 splice super::file::splice, "by copying";
    276 tee super::file::tee, "by copying";
    277 sync_file_range super::file::sync_file_range, "nothing to do";
    278 vmsplice super::file::vmsplice, "by copying";
    280 utimensat super::attributes::utimensat, "all";
    281 epoll_pwait super::epoll::epoll_pwait, "all";
    284 eventfd super::descriptor::eventfd, "all";
    285 fallocate super::file::fallocate, "allocating, punching holes, zeroing";
    290 eventfd2 super::descriptor::eventfd2, "all";
    291 epoll_create1 super::epoll::epoll_create1, "all";
    292 dup3 super::descriptor::dup3, "all";
    293 pipe2 super::descriptor::pipe2, "O_DIRECT is accepted, and bytes stay a stream";
    295 preadv super::file::preadv, "all";
    296 pwritev super::file::pwritev, "all";
    306 syncfs super::file::syncfs, "nothing to do";
    316 renameat2 super::path::renameat2, "RENAME_NOREPLACE, RENAME_EXCHANGE";
    319 memfd_create super::descriptor::memfd_create, "with seals; no huge pages";
    326 copy_file_range super::file::copy_file_range, "all";
    327 preadv2 super::file::preadv2, "RWF_NOWAIT on streams";
    328 pwritev2 super::file::pwritev2, "RWF_APPEND, RWF_NOWAIT on streams";
    332 statx super::attributes::statx, "without birth time";
    436 close_range super::descriptor::close_range, "all";
    437 openat2 super::path::openat2, "all";
    439 faccessat2 super::attributes::faccessat2, "all";
    441 epoll_pwait2 super::epoll::epoll_pwait2, "all";
    452 fchmodat2 super::attributes::fchmodat2, "all";
    // memory
    9 mmap super::memory::mmap, "private and shared, anonymous and files; MAP_FIXED(_NOREPLACE), 32BIT, GROWSDOWN, POPULATE; MAP_HUGETLB gives ENOMEM";
    10 mprotect super::memory::mprotect, "all";
    11 munmap super::memory::munmap, "all";
    12 brk super::memory::brk, "all";
    25 mremap super::memory::mremap, "within one mapping; MREMAP_MAYMOVE, FIXED, DONTUNMAP";
    26 msync super::memory::msync, "checks its arguments: files live in memory";
    27 mincore super::memory::mincore, "all";
    28 madvise super::memory::madvise, "DONTNEED, FREE, DONTFORK, WIPEONFORK, POPULATE_*; hints are accepted; REMOVE is EINVAL";
    149 mlock super::memory::mlock, "makes pages present: nothing is ever paged out";
    150 munlock super::memory::munlock, "all";
    151 mlockall super::memory::mlockall, "accepted: nothing is ever paged out";
    152 munlockall super::memory::munlockall, "accepted";
    324 membarrier super::memory::membarrier, "GLOBAL, and the expedited commands without rseq";
    325 mlock2 super::memory::mlock2, "all";
    329 pkey_mprotect super::memory::pkey_mprotect, "without a key";
    // processes
    39 getpid super::process::getpid, "all";
    56 clone super::process::clone, "threads and processes; no namespaces";
    57 fork super::process::fork, "all";
    58 vfork super::process::vfork, "all";
    59 execve super::process::execve, "ELF programs and #! scripts";
    60 exit super::process::exit, "all";
    61 wait4 super::process::wait4, "rusage tells CPU time alone";
    109 setpgid super::process::setpgid, "all";
    110 getppid super::process::getppid, "all";
    111 getpgrp super::process::getpgrp, "all";
    112 setsid super::process::setsid, "all";
    121 getpgid super::process::getpgid, "all";
    124 getsid super::process::getsid, "all";
    231 exit_group super::process::exit_group, "all";
    247 waitid super::process::waitid, "P_ALL, P_PID, P_PGID, P_PIDFD";
    322 execveat super::process::execveat, "all";
    424 pidfd_send_signal super::process::pidfd_send_signal, "all";
    434 pidfd_open super::process::pidfd_open, "all";
    435 clone3 super::process::clone3, "as clone; set_tid and cgroups are refused";
    // threads
    24 sched_yield super::thread::sched_yield, "all";
    140 getpriority super::thread::getpriority, "of one thread";
    141 setpriority super::thread::setpriority, "kept and told; no effect on scheduling";
    142 sched_setparam super::thread::sched_setparam, "kept and told; no effect on scheduling";
    143 sched_getparam super::thread::sched_getparam, "all";
    144 sched_setscheduler super::thread::sched_setscheduler, "kept and told; no effect on scheduling";
    145 sched_getscheduler super::thread::sched_getscheduler, "all";
    146 sched_get_priority_max super::thread::sched_get_priority_max, "all";
    147 sched_get_priority_min super::thread::sched_get_priority_min, "all";
    148 sched_rr_get_interval super::thread::sched_rr_get_interval, "tells the time slice";
    157 prctl super::thread::prctl, "names, death signal, dumpable, no_new_privs, subreaper; others that change nothing are accepted";
    158 arch_prctl super::thread::arch_prctl, "FS; GS in protected mode";
    186 gettid super::thread::gettid, "all";
    203 sched_setaffinity super::thread::sched_setaffinity, "64 CPUs";
    204 sched_getaffinity super::thread::sched_getaffinity, "64 CPUs";
    218 set_tid_address super::thread::set_tid_address, "all";
    251 ioprio_set super::thread::ioprio_set, "accepted";
    252 ioprio_get super::thread::ioprio_get, "tells no class";
    309 getcpu super::thread::getcpu, "one NUMA node";
    315 sched_getattr super::thread::sched_getattr, "all";
    334 rseq super::thread::rseq, "ENOSYS: not offered";
    // futexes
    202 futex super::futex::futex, "WAIT, WAKE, BITSET, REQUEUE, CMP_REQUEUE, WAKE_OP; the PI operations give ENOSYS";
    273 set_robust_list super::futex::set_robust_list, "all";
    274 get_robust_list super::futex::get_robust_list, "all";
    // signals
    13 rt_sigaction super::signal::rt_sigaction, "all";
    14 rt_sigprocmask super::signal::rt_sigprocmask, "all";
    15 rt_sigreturn super::signal::rt_sigreturn, "all, with extended FPU state";
    34 pause super::signal::pause, "all";
    62 kill super::signal::kill, "all";
    127 rt_sigpending super::signal::rt_sigpending, "all";
    128 rt_sigtimedwait super::signal::rt_sigtimedwait, "all";
    129 rt_sigqueueinfo super::signal::rt_sigqueueinfo, "all";
    130 rt_sigsuspend super::signal::rt_sigsuspend, "all";
    131 sigaltstack super::signal::sigaltstack, "all, with SS_AUTODISARM";
    200 tkill super::signal::tkill, "all";
    234 tgkill super::signal::tgkill, "all";
    282 signalfd super::signal::signalfd, "all";
    289 signalfd4 super::signal::signalfd4, "all";
    297 rt_tgsigqueueinfo super::signal::rt_tgsigqueueinfo, "all";
    // time
    35 nanosleep super::time::nanosleep, "all";
    36 getitimer super::time::getitimer, "ITIMER_REAL; VIRTUAL and PROF run in real time";
    37 alarm super::time::alarm, "all";
    38 setitimer super::time::setitimer, "ITIMER_REAL; VIRTUAL and PROF run in real time";
    96 gettimeofday super::time::gettimeofday, "UTC";
    100 times super::time::times, "CPU time counts as user time";
    159 adjtimex super::time::adjtimex, "tells that the clock isn't steered";
    164 settimeofday super::time::settimeofday, "all";
    201 time super::time::time, "all";
    222 timer_create super::time::timer_create, "SIGEV_NONE, SIGNAL, THREAD_ID";
    223 timer_settime super::time::timer_settime, "all";
    224 timer_gettime super::time::timer_gettime, "all";
    225 timer_getoverrun super::time::timer_getoverrun, "all";
    226 timer_delete super::time::timer_delete, "all";
    227 clock_settime super::time::clock_settime, "CLOCK_REALTIME";
    228 clock_gettime super::time::clock_gettime, "all clocks";
    229 clock_getres super::time::clock_getres, "all clocks";
    230 clock_nanosleep super::time::clock_nanosleep, "all";
    283 timerfd_create crate::ipc::timerfd::create, "real-time and monotonic clocks";
    286 timerfd_settime crate::ipc::timerfd::settime, "TFD_TIMER_CANCEL_ON_SET is accepted: the clock doesn't jump";
    287 timerfd_gettime crate::ipc::timerfd::gettime, "all";
    // identity
    102 getuid super::identity::getuid, "all";
    104 getgid super::identity::getgid, "all";
    105 setuid super::identity::setuid, "all";
    106 setgid super::identity::setgid, "all";
    107 geteuid super::identity::geteuid, "all";
    108 getegid super::identity::getegid, "all";
    113 setreuid super::identity::setreuid, "all";
    114 setregid super::identity::setregid, "all";
    115 getgroups super::identity::getgroups, "all";
    116 setgroups super::identity::setgroups, "all";
    117 setresuid super::identity::setresuid, "all";
    118 getresuid super::identity::getresuid, "all";
    119 setresgid super::identity::setresgid, "all";
    120 getresgid super::identity::getresgid, "all";
    122 setfsuid super::identity::setfsuid, "all";
    123 setfsgid super::identity::setfsgid, "all";
    125 capget super::identity::capget, "all";
    126 capset super::identity::capset, "sets may shrink";
    // the system
    63 uname super::system::uname, "all";
    97 getrlimit super::system::getrlimit, "all; NOFILE, STACK and DATA are enforced";
    98 getrusage super::system::getrusage, "CPU time, resident set, page faults, switches";
    99 sysinfo super::system::sysinfo, "all";
    135 personality super::system::personality, "kept and told";
    160 setrlimit super::system::setrlimit, "as getrlimit";
    169 reboot super::system::reboot, "ends the machine";
    170 sethostname super::system::sethostname, "all";
    171 setdomainname super::system::setdomainname, "all";
    302 prlimit64 super::system::prlimit64, "as getrlimit";
    318 getrandom super::system::getrandom, "all";
    // sockets (helper DRV)
}
