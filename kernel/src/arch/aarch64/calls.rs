//! The numbers of system calls (Linux's include/uapi/asm-generic/unistd.h), by their names in the table. A call of the table that
//! is not here is an error of the compiler.

/// `Some` of the number of a call. Calls that this architecture never had, because newer ones do the same, have none.
macro_rules! call_number {
    ($table:literal read) => {
        Some(linux_raw_sys::general::__NR_read as usize)
    };
    ($table:literal write) => {
        Some(linux_raw_sys::general::__NR_write as usize)
    };
    ($table:literal open) => {
        None::<usize>
    };
    ($table:literal close) => {
        Some(linux_raw_sys::general::__NR_close as usize)
    };
    ($table:literal stat) => {
        None::<usize>
    };
    ($table:literal fstat) => {
        Some(linux_raw_sys::general::__NR_fstat as usize)
    };
    ($table:literal lstat) => {
        None::<usize>
    };
    ($table:literal poll) => {
        None::<usize>
    };
    ($table:literal lseek) => {
        Some(linux_raw_sys::general::__NR_lseek as usize)
    };
    ($table:literal ioctl) => {
        Some(linux_raw_sys::general::__NR_ioctl as usize)
    };
    ($table:literal pread64) => {
        Some(linux_raw_sys::general::__NR_pread64 as usize)
    };
    ($table:literal pwrite64) => {
        Some(linux_raw_sys::general::__NR_pwrite64 as usize)
    };
    ($table:literal readv) => {
        Some(linux_raw_sys::general::__NR_readv as usize)
    };
    ($table:literal writev) => {
        Some(linux_raw_sys::general::__NR_writev as usize)
    };
    ($table:literal access) => {
        None::<usize>
    };
    ($table:literal pipe) => {
        None::<usize>
    };
    ($table:literal select) => {
        None::<usize>
    };
    ($table:literal dup) => {
        Some(linux_raw_sys::general::__NR_dup as usize)
    };
    ($table:literal dup2) => {
        None::<usize>
    };
    ($table:literal sendfile) => {
        Some(linux_raw_sys::general::__NR_sendfile as usize)
    };
    ($table:literal fcntl) => {
        Some(linux_raw_sys::general::__NR_fcntl as usize)
    };
    ($table:literal flock) => {
        Some(linux_raw_sys::general::__NR_flock as usize)
    };
    ($table:literal fsync) => {
        Some(linux_raw_sys::general::__NR_fsync as usize)
    };
    ($table:literal fdatasync) => {
        Some(linux_raw_sys::general::__NR_fdatasync as usize)
    };
    ($table:literal truncate) => {
        Some(linux_raw_sys::general::__NR_truncate as usize)
    };
    ($table:literal ftruncate) => {
        Some(linux_raw_sys::general::__NR_ftruncate as usize)
    };
    ($table:literal getcwd) => {
        Some(linux_raw_sys::general::__NR_getcwd as usize)
    };
    ($table:literal chdir) => {
        Some(linux_raw_sys::general::__NR_chdir as usize)
    };
    ($table:literal fchdir) => {
        Some(linux_raw_sys::general::__NR_fchdir as usize)
    };
    ($table:literal rename) => {
        None::<usize>
    };
    ($table:literal mkdir) => {
        None::<usize>
    };
    ($table:literal rmdir) => {
        None::<usize>
    };
    ($table:literal creat) => {
        None::<usize>
    };
    ($table:literal link) => {
        None::<usize>
    };
    ($table:literal unlink) => {
        None::<usize>
    };
    ($table:literal symlink) => {
        None::<usize>
    };
    ($table:literal readlink) => {
        None::<usize>
    };
    ($table:literal chmod) => {
        None::<usize>
    };
    ($table:literal fchmod) => {
        Some(linux_raw_sys::general::__NR_fchmod as usize)
    };
    ($table:literal chown) => {
        None::<usize>
    };
    ($table:literal fchown) => {
        Some(linux_raw_sys::general::__NR_fchown as usize)
    };
    ($table:literal lchown) => {
        None::<usize>
    };
    ($table:literal umask) => {
        Some(linux_raw_sys::general::__NR_umask as usize)
    };
    ($table:literal utime) => {
        None::<usize>
    };
    ($table:literal mknod) => {
        None::<usize>
    };
    ($table:literal statfs) => {
        Some(linux_raw_sys::general::__NR_statfs as usize)
    };
    ($table:literal fstatfs) => {
        Some(linux_raw_sys::general::__NR_fstatfs as usize)
    };
    ($table:literal chroot) => {
        Some(linux_raw_sys::general::__NR_chroot as usize)
    };
    ($table:literal sync) => {
        Some(linux_raw_sys::general::__NR_sync as usize)
    };
    ($table:literal mount) => {
        Some(linux_raw_sys::general::__NR_mount as usize)
    };
    ($table:literal umount2) => {
        Some(linux_raw_sys::general::__NR_umount2 as usize)
    };
    ($table:literal readahead) => {
        Some(linux_raw_sys::general::__NR_readahead as usize)
    };
    ($table:literal setxattr) => {
        Some(linux_raw_sys::general::__NR_setxattr as usize)
    };
    ($table:literal lsetxattr) => {
        Some(linux_raw_sys::general::__NR_lsetxattr as usize)
    };
    ($table:literal fsetxattr) => {
        Some(linux_raw_sys::general::__NR_fsetxattr as usize)
    };
    ($table:literal getxattr) => {
        Some(linux_raw_sys::general::__NR_getxattr as usize)
    };
    ($table:literal lgetxattr) => {
        Some(linux_raw_sys::general::__NR_lgetxattr as usize)
    };
    ($table:literal fgetxattr) => {
        Some(linux_raw_sys::general::__NR_fgetxattr as usize)
    };
    ($table:literal listxattr) => {
        Some(linux_raw_sys::general::__NR_listxattr as usize)
    };
    ($table:literal llistxattr) => {
        Some(linux_raw_sys::general::__NR_llistxattr as usize)
    };
    ($table:literal flistxattr) => {
        Some(linux_raw_sys::general::__NR_flistxattr as usize)
    };
    ($table:literal removexattr) => {
        Some(linux_raw_sys::general::__NR_removexattr as usize)
    };
    ($table:literal lremovexattr) => {
        Some(linux_raw_sys::general::__NR_lremovexattr as usize)
    };
    ($table:literal fremovexattr) => {
        Some(linux_raw_sys::general::__NR_fremovexattr as usize)
    };
    ($table:literal epoll_create) => {
        None::<usize>
    };
    ($table:literal getdents64) => {
        Some(linux_raw_sys::general::__NR_getdents64 as usize)
    };
    ($table:literal fadvise64) => {
        Some(linux_raw_sys::general::__NR_fadvise64 as usize)
    };
    ($table:literal epoll_wait) => {
        None::<usize>
    };
    ($table:literal epoll_ctl) => {
        Some(linux_raw_sys::general::__NR_epoll_ctl as usize)
    };
    ($table:literal utimes) => {
        None::<usize>
    };
    ($table:literal inotify_init) => {
        None::<usize>
    };
    ($table:literal inotify_add_watch) => {
        Some(linux_raw_sys::general::__NR_inotify_add_watch as usize)
    };
    ($table:literal inotify_rm_watch) => {
        Some(linux_raw_sys::general::__NR_inotify_rm_watch as usize)
    };
    ($table:literal inotify_init1) => {
        Some(linux_raw_sys::general::__NR_inotify_init1 as usize)
    };
    ($table:literal openat) => {
        Some(linux_raw_sys::general::__NR_openat as usize)
    };
    ($table:literal mkdirat) => {
        Some(linux_raw_sys::general::__NR_mkdirat as usize)
    };
    ($table:literal mknodat) => {
        Some(linux_raw_sys::general::__NR_mknodat as usize)
    };
    ($table:literal fchownat) => {
        Some(linux_raw_sys::general::__NR_fchownat as usize)
    };
    ($table:literal futimesat) => {
        None::<usize>
    };
    ($table:literal newfstatat) => {
        Some(linux_raw_sys::general::__NR_newfstatat as usize)
    };
    ($table:literal unlinkat) => {
        Some(linux_raw_sys::general::__NR_unlinkat as usize)
    };
    ($table:literal renameat) => {
        Some(linux_raw_sys::general::__NR_renameat as usize)
    };
    ($table:literal linkat) => {
        Some(linux_raw_sys::general::__NR_linkat as usize)
    };
    ($table:literal symlinkat) => {
        Some(linux_raw_sys::general::__NR_symlinkat as usize)
    };
    ($table:literal readlinkat) => {
        Some(linux_raw_sys::general::__NR_readlinkat as usize)
    };
    ($table:literal fchmodat) => {
        Some(linux_raw_sys::general::__NR_fchmodat as usize)
    };
    ($table:literal faccessat) => {
        Some(linux_raw_sys::general::__NR_faccessat as usize)
    };
    ($table:literal pselect6) => {
        Some(linux_raw_sys::general::__NR_pselect6 as usize)
    };
    ($table:literal ppoll) => {
        Some(linux_raw_sys::general::__NR_ppoll as usize)
    };
    ($table:literal splice) => {
        Some(linux_raw_sys::general::__NR_splice as usize)
    };
    ($table:literal tee) => {
        Some(linux_raw_sys::general::__NR_tee as usize)
    };
    ($table:literal sync_file_range) => {
        Some(linux_raw_sys::general::__NR_sync_file_range as usize)
    };
    ($table:literal vmsplice) => {
        Some(linux_raw_sys::general::__NR_vmsplice as usize)
    };
    ($table:literal utimensat) => {
        Some(linux_raw_sys::general::__NR_utimensat as usize)
    };
    ($table:literal epoll_pwait) => {
        Some(linux_raw_sys::general::__NR_epoll_pwait as usize)
    };
    ($table:literal eventfd) => {
        None::<usize>
    };
    ($table:literal fallocate) => {
        Some(linux_raw_sys::general::__NR_fallocate as usize)
    };
    ($table:literal eventfd2) => {
        Some(linux_raw_sys::general::__NR_eventfd2 as usize)
    };
    ($table:literal epoll_create1) => {
        Some(linux_raw_sys::general::__NR_epoll_create1 as usize)
    };
    ($table:literal dup3) => {
        Some(linux_raw_sys::general::__NR_dup3 as usize)
    };
    ($table:literal pipe2) => {
        Some(linux_raw_sys::general::__NR_pipe2 as usize)
    };
    ($table:literal preadv) => {
        Some(linux_raw_sys::general::__NR_preadv as usize)
    };
    ($table:literal pwritev) => {
        Some(linux_raw_sys::general::__NR_pwritev as usize)
    };
    ($table:literal syncfs) => {
        Some(linux_raw_sys::general::__NR_syncfs as usize)
    };
    ($table:literal renameat2) => {
        Some(linux_raw_sys::general::__NR_renameat2 as usize)
    };
    ($table:literal memfd_create) => {
        Some(linux_raw_sys::general::__NR_memfd_create as usize)
    };
    ($table:literal copy_file_range) => {
        Some(linux_raw_sys::general::__NR_copy_file_range as usize)
    };
    ($table:literal preadv2) => {
        Some(linux_raw_sys::general::__NR_preadv2 as usize)
    };
    ($table:literal pwritev2) => {
        Some(linux_raw_sys::general::__NR_pwritev2 as usize)
    };
    ($table:literal statx) => {
        Some(linux_raw_sys::general::__NR_statx as usize)
    };
    ($table:literal close_range) => {
        Some(linux_raw_sys::general::__NR_close_range as usize)
    };
    ($table:literal openat2) => {
        Some(linux_raw_sys::general::__NR_openat2 as usize)
    };
    ($table:literal faccessat2) => {
        Some(linux_raw_sys::general::__NR_faccessat2 as usize)
    };
    ($table:literal epoll_pwait2) => {
        Some(linux_raw_sys::general::__NR_epoll_pwait2 as usize)
    };
    ($table:literal fchmodat2) => {
        Some(linux_raw_sys::general::__NR_fchmodat2 as usize)
    };
    ($table:literal mmap) => {
        Some(linux_raw_sys::general::__NR_mmap as usize)
    };
    ($table:literal mprotect) => {
        Some(linux_raw_sys::general::__NR_mprotect as usize)
    };
    ($table:literal munmap) => {
        Some(linux_raw_sys::general::__NR_munmap as usize)
    };
    ($table:literal brk) => {
        Some(linux_raw_sys::general::__NR_brk as usize)
    };
    ($table:literal mremap) => {
        Some(linux_raw_sys::general::__NR_mremap as usize)
    };
    ($table:literal msync) => {
        Some(linux_raw_sys::general::__NR_msync as usize)
    };
    ($table:literal mincore) => {
        Some(linux_raw_sys::general::__NR_mincore as usize)
    };
    ($table:literal madvise) => {
        Some(linux_raw_sys::general::__NR_madvise as usize)
    };
    ($table:literal mlock) => {
        Some(linux_raw_sys::general::__NR_mlock as usize)
    };
    ($table:literal munlock) => {
        Some(linux_raw_sys::general::__NR_munlock as usize)
    };
    ($table:literal mlockall) => {
        Some(linux_raw_sys::general::__NR_mlockall as usize)
    };
    ($table:literal munlockall) => {
        Some(linux_raw_sys::general::__NR_munlockall as usize)
    };
    ($table:literal membarrier) => {
        Some(linux_raw_sys::general::__NR_membarrier as usize)
    };
    ($table:literal mlock2) => {
        Some(linux_raw_sys::general::__NR_mlock2 as usize)
    };
    ($table:literal pkey_mprotect) => {
        Some(linux_raw_sys::general::__NR_pkey_mprotect as usize)
    };
    ($table:literal getpid) => {
        Some(linux_raw_sys::general::__NR_getpid as usize)
    };
    ($table:literal clone) => {
        Some(linux_raw_sys::general::__NR_clone as usize)
    };
    ($table:literal fork) => {
        None::<usize>
    };
    ($table:literal vfork) => {
        None::<usize>
    };
    ($table:literal execve) => {
        Some(linux_raw_sys::general::__NR_execve as usize)
    };
    ($table:literal exit) => {
        Some(linux_raw_sys::general::__NR_exit as usize)
    };
    ($table:literal wait4) => {
        Some(linux_raw_sys::general::__NR_wait4 as usize)
    };
    ($table:literal setpgid) => {
        Some(linux_raw_sys::general::__NR_setpgid as usize)
    };
    ($table:literal getppid) => {
        Some(linux_raw_sys::general::__NR_getppid as usize)
    };
    ($table:literal getpgrp) => {
        None::<usize>
    };
    ($table:literal setsid) => {
        Some(linux_raw_sys::general::__NR_setsid as usize)
    };
    ($table:literal getpgid) => {
        Some(linux_raw_sys::general::__NR_getpgid as usize)
    };
    ($table:literal getsid) => {
        Some(linux_raw_sys::general::__NR_getsid as usize)
    };
    ($table:literal vhangup) => {
        Some(linux_raw_sys::general::__NR_vhangup as usize)
    };
    ($table:literal restart_syscall) => {
        Some(linux_raw_sys::general::__NR_restart_syscall as usize)
    };
    ($table:literal exit_group) => {
        Some(linux_raw_sys::general::__NR_exit_group as usize)
    };
    ($table:literal waitid) => {
        Some(linux_raw_sys::general::__NR_waitid as usize)
    };
    ($table:literal execveat) => {
        Some(linux_raw_sys::general::__NR_execveat as usize)
    };
    ($table:literal process_vm_readv) => {
        Some(linux_raw_sys::general::__NR_process_vm_readv as usize)
    };
    ($table:literal process_vm_writev) => {
        Some(linux_raw_sys::general::__NR_process_vm_writev as usize)
    };
    ($table:literal kcmp) => {
        Some(linux_raw_sys::general::__NR_kcmp as usize)
    };
    ($table:literal pidfd_getfd) => {
        Some(linux_raw_sys::general::__NR_pidfd_getfd as usize)
    };
    ($table:literal pidfd_send_signal) => {
        Some(linux_raw_sys::general::__NR_pidfd_send_signal as usize)
    };
    ($table:literal pidfd_open) => {
        Some(linux_raw_sys::general::__NR_pidfd_open as usize)
    };
    ($table:literal clone3) => {
        Some(linux_raw_sys::general::__NR_clone3 as usize)
    };
    ($table:literal sched_yield) => {
        Some(linux_raw_sys::general::__NR_sched_yield as usize)
    };
    ($table:literal getpriority) => {
        Some(linux_raw_sys::general::__NR_getpriority as usize)
    };
    ($table:literal setpriority) => {
        Some(linux_raw_sys::general::__NR_setpriority as usize)
    };
    ($table:literal sched_setparam) => {
        Some(linux_raw_sys::general::__NR_sched_setparam as usize)
    };
    ($table:literal sched_getparam) => {
        Some(linux_raw_sys::general::__NR_sched_getparam as usize)
    };
    ($table:literal sched_setscheduler) => {
        Some(linux_raw_sys::general::__NR_sched_setscheduler as usize)
    };
    ($table:literal sched_getscheduler) => {
        Some(linux_raw_sys::general::__NR_sched_getscheduler as usize)
    };
    ($table:literal sched_get_priority_max) => {
        Some(linux_raw_sys::general::__NR_sched_get_priority_max as usize)
    };
    ($table:literal sched_get_priority_min) => {
        Some(linux_raw_sys::general::__NR_sched_get_priority_min as usize)
    };
    ($table:literal sched_rr_get_interval) => {
        Some(linux_raw_sys::general::__NR_sched_rr_get_interval as usize)
    };
    ($table:literal prctl) => {
        Some(linux_raw_sys::general::__NR_prctl as usize)
    };
    ($table:literal arch_prctl) => {
        None::<usize>
    };
    ($table:literal gettid) => {
        Some(linux_raw_sys::general::__NR_gettid as usize)
    };
    ($table:literal sched_setaffinity) => {
        Some(linux_raw_sys::general::__NR_sched_setaffinity as usize)
    };
    ($table:literal sched_getaffinity) => {
        Some(linux_raw_sys::general::__NR_sched_getaffinity as usize)
    };
    ($table:literal set_tid_address) => {
        Some(linux_raw_sys::general::__NR_set_tid_address as usize)
    };
    ($table:literal ioprio_set) => {
        Some(linux_raw_sys::general::__NR_ioprio_set as usize)
    };
    ($table:literal ioprio_get) => {
        Some(linux_raw_sys::general::__NR_ioprio_get as usize)
    };
    ($table:literal getcpu) => {
        Some(linux_raw_sys::general::__NR_getcpu as usize)
    };
    ($table:literal sched_setattr) => {
        Some(linux_raw_sys::general::__NR_sched_setattr as usize)
    };
    ($table:literal sched_getattr) => {
        Some(linux_raw_sys::general::__NR_sched_getattr as usize)
    };
    ($table:literal rseq) => {
        Some(linux_raw_sys::general::__NR_rseq as usize)
    };
    ($table:literal futex) => {
        Some(linux_raw_sys::general::__NR_futex as usize)
    };
    ($table:literal futex_waitv) => {
        Some(linux_raw_sys::general::__NR_futex_waitv as usize)
    };
    ($table:literal set_robust_list) => {
        Some(linux_raw_sys::general::__NR_set_robust_list as usize)
    };
    ($table:literal get_robust_list) => {
        Some(linux_raw_sys::general::__NR_get_robust_list as usize)
    };
    ($table:literal rt_sigaction) => {
        Some(linux_raw_sys::general::__NR_rt_sigaction as usize)
    };
    ($table:literal rt_sigprocmask) => {
        Some(linux_raw_sys::general::__NR_rt_sigprocmask as usize)
    };
    ($table:literal rt_sigreturn) => {
        Some(linux_raw_sys::general::__NR_rt_sigreturn as usize)
    };
    ($table:literal pause) => {
        None::<usize>
    };
    ($table:literal kill) => {
        Some(linux_raw_sys::general::__NR_kill as usize)
    };
    ($table:literal rt_sigpending) => {
        Some(linux_raw_sys::general::__NR_rt_sigpending as usize)
    };
    ($table:literal rt_sigtimedwait) => {
        Some(linux_raw_sys::general::__NR_rt_sigtimedwait as usize)
    };
    ($table:literal rt_sigqueueinfo) => {
        Some(linux_raw_sys::general::__NR_rt_sigqueueinfo as usize)
    };
    ($table:literal rt_sigsuspend) => {
        Some(linux_raw_sys::general::__NR_rt_sigsuspend as usize)
    };
    ($table:literal sigaltstack) => {
        Some(linux_raw_sys::general::__NR_sigaltstack as usize)
    };
    ($table:literal tkill) => {
        Some(linux_raw_sys::general::__NR_tkill as usize)
    };
    ($table:literal tgkill) => {
        Some(linux_raw_sys::general::__NR_tgkill as usize)
    };
    ($table:literal signalfd) => {
        None::<usize>
    };
    ($table:literal signalfd4) => {
        Some(linux_raw_sys::general::__NR_signalfd4 as usize)
    };
    ($table:literal rt_tgsigqueueinfo) => {
        Some(linux_raw_sys::general::__NR_rt_tgsigqueueinfo as usize)
    };
    ($table:literal nanosleep) => {
        Some(linux_raw_sys::general::__NR_nanosleep as usize)
    };
    ($table:literal getitimer) => {
        Some(linux_raw_sys::general::__NR_getitimer as usize)
    };
    ($table:literal alarm) => {
        None::<usize>
    };
    ($table:literal setitimer) => {
        Some(linux_raw_sys::general::__NR_setitimer as usize)
    };
    ($table:literal gettimeofday) => {
        Some(linux_raw_sys::general::__NR_gettimeofday as usize)
    };
    ($table:literal times) => {
        Some(linux_raw_sys::general::__NR_times as usize)
    };
    ($table:literal adjtimex) => {
        Some(linux_raw_sys::general::__NR_adjtimex as usize)
    };
    ($table:literal settimeofday) => {
        Some(linux_raw_sys::general::__NR_settimeofday as usize)
    };
    ($table:literal time) => {
        None::<usize>
    };
    ($table:literal timer_create) => {
        Some(linux_raw_sys::general::__NR_timer_create as usize)
    };
    ($table:literal timer_settime) => {
        Some(linux_raw_sys::general::__NR_timer_settime as usize)
    };
    ($table:literal timer_gettime) => {
        Some(linux_raw_sys::general::__NR_timer_gettime as usize)
    };
    ($table:literal timer_getoverrun) => {
        Some(linux_raw_sys::general::__NR_timer_getoverrun as usize)
    };
    ($table:literal timer_delete) => {
        Some(linux_raw_sys::general::__NR_timer_delete as usize)
    };
    ($table:literal clock_settime) => {
        Some(linux_raw_sys::general::__NR_clock_settime as usize)
    };
    ($table:literal clock_gettime) => {
        Some(linux_raw_sys::general::__NR_clock_gettime as usize)
    };
    ($table:literal clock_getres) => {
        Some(linux_raw_sys::general::__NR_clock_getres as usize)
    };
    ($table:literal clock_nanosleep) => {
        Some(linux_raw_sys::general::__NR_clock_nanosleep as usize)
    };
    ($table:literal timerfd_create) => {
        Some(linux_raw_sys::general::__NR_timerfd_create as usize)
    };
    ($table:literal timerfd_settime) => {
        Some(linux_raw_sys::general::__NR_timerfd_settime as usize)
    };
    ($table:literal timerfd_gettime) => {
        Some(linux_raw_sys::general::__NR_timerfd_gettime as usize)
    };
    ($table:literal getuid) => {
        Some(linux_raw_sys::general::__NR_getuid as usize)
    };
    ($table:literal getgid) => {
        Some(linux_raw_sys::general::__NR_getgid as usize)
    };
    ($table:literal setuid) => {
        Some(linux_raw_sys::general::__NR_setuid as usize)
    };
    ($table:literal setgid) => {
        Some(linux_raw_sys::general::__NR_setgid as usize)
    };
    ($table:literal geteuid) => {
        Some(linux_raw_sys::general::__NR_geteuid as usize)
    };
    ($table:literal getegid) => {
        Some(linux_raw_sys::general::__NR_getegid as usize)
    };
    ($table:literal setreuid) => {
        Some(linux_raw_sys::general::__NR_setreuid as usize)
    };
    ($table:literal setregid) => {
        Some(linux_raw_sys::general::__NR_setregid as usize)
    };
    ($table:literal getgroups) => {
        Some(linux_raw_sys::general::__NR_getgroups as usize)
    };
    ($table:literal setgroups) => {
        Some(linux_raw_sys::general::__NR_setgroups as usize)
    };
    ($table:literal setresuid) => {
        Some(linux_raw_sys::general::__NR_setresuid as usize)
    };
    ($table:literal getresuid) => {
        Some(linux_raw_sys::general::__NR_getresuid as usize)
    };
    ($table:literal setresgid) => {
        Some(linux_raw_sys::general::__NR_setresgid as usize)
    };
    ($table:literal getresgid) => {
        Some(linux_raw_sys::general::__NR_getresgid as usize)
    };
    ($table:literal setfsuid) => {
        Some(linux_raw_sys::general::__NR_setfsuid as usize)
    };
    ($table:literal setfsgid) => {
        Some(linux_raw_sys::general::__NR_setfsgid as usize)
    };
    ($table:literal capget) => {
        Some(linux_raw_sys::general::__NR_capget as usize)
    };
    ($table:literal capset) => {
        Some(linux_raw_sys::general::__NR_capset as usize)
    };
    ($table:literal uname) => {
        Some(linux_raw_sys::general::__NR_uname as usize)
    };
    ($table:literal getrlimit) => {
        Some(linux_raw_sys::general::__NR_getrlimit as usize)
    };
    ($table:literal getrusage) => {
        Some(linux_raw_sys::general::__NR_getrusage as usize)
    };
    ($table:literal sysinfo) => {
        Some(linux_raw_sys::general::__NR_sysinfo as usize)
    };
    ($table:literal personality) => {
        Some(linux_raw_sys::general::__NR_personality as usize)
    };
    ($table:literal setrlimit) => {
        Some(linux_raw_sys::general::__NR_setrlimit as usize)
    };
    ($table:literal reboot) => {
        Some(linux_raw_sys::general::__NR_reboot as usize)
    };
    ($table:literal sethostname) => {
        Some(linux_raw_sys::general::__NR_sethostname as usize)
    };
    ($table:literal setdomainname) => {
        Some(linux_raw_sys::general::__NR_setdomainname as usize)
    };
    ($table:literal prlimit64) => {
        Some(linux_raw_sys::general::__NR_prlimit64 as usize)
    };
    ($table:literal getrandom) => {
        Some(linux_raw_sys::general::__NR_getrandom as usize)
    };
    ($table:literal shmget) => {
        Some(linux_raw_sys::general::__NR_shmget as usize)
    };
    ($table:literal shmat) => {
        Some(linux_raw_sys::general::__NR_shmat as usize)
    };
    ($table:literal shmctl) => {
        Some(linux_raw_sys::general::__NR_shmctl as usize)
    };
    ($table:literal semget) => {
        Some(linux_raw_sys::general::__NR_semget as usize)
    };
    ($table:literal semop) => {
        Some(linux_raw_sys::general::__NR_semop as usize)
    };
    ($table:literal semctl) => {
        Some(linux_raw_sys::general::__NR_semctl as usize)
    };
    ($table:literal shmdt) => {
        Some(linux_raw_sys::general::__NR_shmdt as usize)
    };
    ($table:literal msgget) => {
        Some(linux_raw_sys::general::__NR_msgget as usize)
    };
    ($table:literal msgsnd) => {
        Some(linux_raw_sys::general::__NR_msgsnd as usize)
    };
    ($table:literal msgrcv) => {
        Some(linux_raw_sys::general::__NR_msgrcv as usize)
    };
    ($table:literal msgctl) => {
        Some(linux_raw_sys::general::__NR_msgctl as usize)
    };
    ($table:literal semtimedop) => {
        Some(linux_raw_sys::general::__NR_semtimedop as usize)
    };
    ($table:literal mq_open) => {
        Some(linux_raw_sys::general::__NR_mq_open as usize)
    };
    ($table:literal mq_unlink) => {
        Some(linux_raw_sys::general::__NR_mq_unlink as usize)
    };
    ($table:literal mq_timedsend) => {
        Some(linux_raw_sys::general::__NR_mq_timedsend as usize)
    };
    ($table:literal mq_timedreceive) => {
        Some(linux_raw_sys::general::__NR_mq_timedreceive as usize)
    };
    ($table:literal mq_notify) => {
        Some(linux_raw_sys::general::__NR_mq_notify as usize)
    };
    ($table:literal mq_getsetattr) => {
        Some(linux_raw_sys::general::__NR_mq_getsetattr as usize)
    };
    ($table:literal io_setup) => {
        Some(linux_raw_sys::general::__NR_io_setup as usize)
    };
    ($table:literal io_destroy) => {
        Some(linux_raw_sys::general::__NR_io_destroy as usize)
    };
    ($table:literal io_getevents) => {
        Some(linux_raw_sys::general::__NR_io_getevents as usize)
    };
    ($table:literal io_submit) => {
        Some(linux_raw_sys::general::__NR_io_submit as usize)
    };
    ($table:literal io_cancel) => {
        Some(linux_raw_sys::general::__NR_io_cancel as usize)
    };
    ($table:literal io_pgetevents) => {
        Some(linux_raw_sys::general::__NR_io_pgetevents as usize)
    };
    ($table:literal socket) => {
        Some(linux_raw_sys::general::__NR_socket as usize)
    };
    ($table:literal connect) => {
        Some(linux_raw_sys::general::__NR_connect as usize)
    };
    ($table:literal accept) => {
        Some(linux_raw_sys::general::__NR_accept as usize)
    };
    ($table:literal sendto) => {
        Some(linux_raw_sys::general::__NR_sendto as usize)
    };
    ($table:literal recvfrom) => {
        Some(linux_raw_sys::general::__NR_recvfrom as usize)
    };
    ($table:literal sendmsg) => {
        Some(linux_raw_sys::general::__NR_sendmsg as usize)
    };
    ($table:literal recvmsg) => {
        Some(linux_raw_sys::general::__NR_recvmsg as usize)
    };
    ($table:literal shutdown) => {
        Some(linux_raw_sys::general::__NR_shutdown as usize)
    };
    ($table:literal bind) => {
        Some(linux_raw_sys::general::__NR_bind as usize)
    };
    ($table:literal listen) => {
        Some(linux_raw_sys::general::__NR_listen as usize)
    };
    ($table:literal getsockname) => {
        Some(linux_raw_sys::general::__NR_getsockname as usize)
    };
    ($table:literal getpeername) => {
        Some(linux_raw_sys::general::__NR_getpeername as usize)
    };
    ($table:literal socketpair) => {
        Some(linux_raw_sys::general::__NR_socketpair as usize)
    };
    ($table:literal setsockopt) => {
        Some(linux_raw_sys::general::__NR_setsockopt as usize)
    };
    ($table:literal getsockopt) => {
        Some(linux_raw_sys::general::__NR_getsockopt as usize)
    };
    ($table:literal accept4) => {
        Some(linux_raw_sys::general::__NR_accept4 as usize)
    };
    ($table:literal recvmmsg) => {
        Some(linux_raw_sys::general::__NR_recvmmsg as usize)
    };
    ($table:literal sendmmsg) => {
        Some(linux_raw_sys::general::__NR_sendmmsg as usize)
    };
}
pub(crate) use call_number;
