// Nonsense in flags, sizes and numbers: EINVAL and its kin, from many calls.
#include "net.h"
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/uio.h>

int main(void) {
    enter_scratch();
    write_file("f", "0123456789");
    int f = open("f", O_RDWR), p[2];
    NEED(pipe(p) == 0);
    char b[16];
    SHOW(lseek(f, 0, 77));
    SHOW(pread(f, b, 1, LONG_MIN));
    SHOW(read(f, b, 0));
    SHOW(syscall(SYS_openat2, AT_FDCWD, "f", b, 1));
    SHOW(pipe2(p, 12345));
    SHOW(dup3(f, 99, 12345));
    SHOW(access("f", -1));
    SHOW(unlinkat(AT_FDCWD, "f", 0x40000000));
    SHOW(fstatat(AT_FDCWD, "f", (void *)b, 0x40000000));
    SHOW(linkat(AT_FDCWD, "f", AT_FDCWD, "g", 0x40000000));
    SHOW(renameat2(AT_FDCWD, "f", AT_FDCWD, "g", 0x40000000));
    SHOW(madvise((void *)1, 4096, MADV_DONTNEED));
    SHOW(mprotect((void *)1, 4096, PROT_READ));
    SHOW(mprotect((void *)0x10000, 4096, PROT_READ));
    SHOW(munmap((void *)1, 4096));
    SHOW((long)mmap(NULL, 4096, PROT_READ, 0, f, 0));
    SHOW((long)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, f, 100));
    SHOW((long)mmap(NULL, (size_t)-4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    SHOW(kill(getpid(), -1));
    SHOW(kill(getpid(), 65));
    SHOW(syscall(SYS_rt_sigprocmask, 77, b, NULL, 8));
    SHOW(syscall(SYS_rt_sigprocmask, SIG_BLOCK, b, NULL, 4));
    SHOW(epoll_create1(77));
    SHOW(syscall(SYS_futex, b, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0));
    SHOW(socket(-1, SOCK_STREAM, 0));
    SHOW(socket(AF_INET, SOCK_STREAM | 0x100000, 0));
    SHOW(flock(f, 0));
    SHOW(fcntl(f, F_SETOWN, 0) <= 0);
    SHOW(clock_settime(CLOCK_MONOTONIC, (struct timespec[]){{0, 0}}));
    SHOW(readv(f, (struct iovec[]){{b, 1}}, -1));
    SHOW(symlink("", "s"));
    SHOW(syscall(SYS_getdents64, f, b, 16));
    SHOW(ftruncate(p[0], 1));
    SHOW(syscall(SYS_wait4, -1, NULL, 0, NULL));
    SHOW(syscall(SYS_wait4, -1, NULL, 0x10000, NULL));
    SHOW(syscall(SYS_waitid, 0, 0, NULL, 0, NULL));
    SHOW(syscall(SYS_waitid, 3, -1, NULL, WEXITED, NULL));
    SHOW(syscall(SYS_restart_syscall));
    SHOW(syscall(SYS_sched_setparam, 0, NULL));
    SHOW(syscall(SYS_sched_getparam, 0, NULL));
    SHOW(syscall(SYS_sched_setscheduler, 0, 0, NULL));
    SHOW(syscall(SYS_exit_group + 100000));
    DONE();
}
