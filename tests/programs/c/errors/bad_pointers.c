// Pointers to nowhere, to read-only pages and across the end of a mapping give EFAULT, not a crash.
#include "net.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>

// Calls that newer architectures never had, by numbers that are none.
#ifndef SYS_open
enum { SYS_open = -1, SYS_stat = -2, SYS_pipe = -3, SYS_poll = -4, SYS_epoll_wait = -5 };
#define HAS_NO_OLD_CALLS
#endif

static long call(long n, long a, long b, long c, long d) {
#ifdef HAS_NO_OLD_CALLS
    switch (n) {
    case SYS_open: return syscall(SYS_openat, AT_FDCWD, a, b, c);
    case SYS_stat: return syscall(SYS_newfstatat, AT_FDCWD, a, b, 0);
    case SYS_pipe: return syscall(SYS_pipe2, a, 0);
    case SYS_poll: return syscall(SYS_ppoll, a, b, NULL, NULL, 0);
    case SYS_epoll_wait: return syscall(SYS_epoll_pwait, a, b, c, d, NULL, 0);
    }
#endif
    long r = syscall(n, a, b, c, d, 0, 0);
    return r;
}

int main(void) {
    enter_scratch();
    write_file("f", "0123456789abcdef");
    int f = open("f", O_RDWR), p[2], s[2];
    NEED(pipe(p) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(page + 4096, 4096, PROT_NONE);
    char *edge = page + 4096 - 4;
    void *ro = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    long bad[] = {8, (long)0xffff800000000000, (long)0xffffffffffffff00, 0x7ffffffff000, (long)0x8000000000001000};
    const char *names[] = {"low", "kernel", "last page", "end of user space", "non-canonical"};
    for (int i = 0; i < 5; i++) {
        long x = bad[i];
        puts(names[i]);
        SHOW(call(SYS_open, x, O_RDONLY, 0, 0));
        SHOW(call(SYS_stat, x, (long)page, 0, 0));
        SHOW(call(SYS_stat, (long)"f", x, 0, 0));
        lseek(f, 0, SEEK_SET);
        SHOW(call(SYS_read, f, x, 4, 0));
        SHOW(call(SYS_write, f, x, 4, 0));
        SHOW(call(SYS_write, p[1], x, 4, 0));
        SHOW(call(SYS_writev, f, x, 1, 0));
        SHOW(call(SYS_pipe, x, 0, 0, 0));
        SHOW(call(SYS_nanosleep, x, 0, 0, 0));
        SHOW(call(SYS_clock_gettime, CLOCK_MONOTONIC, x, 0, 0));
        SHOW(call(SYS_rt_sigaction, SIGUSR1, x, 0, 8));
        SHOW(call(SYS_rt_sigprocmask, SIG_BLOCK, x, 0, 8));
        SHOW(call(SYS_poll, x, 1, 0, 0));
        SHOW(call(SYS_futex, x & ~3, 0, 0, 0));
        SHOW(call(SYS_uname, x, 0, 0, 0));
        SHOW(call(SYS_getcwd, x, 100, 0, 0));
        SHOW(call(SYS_getrlimit, RLIMIT_NOFILE, x, 0, 0));
        SHOW(call(SYS_connect, s[0], x, 16, 0));
        SHOW(call(SYS_sendto, s[0], x, 4, 0));
        SHOW(call(SYS_sendmsg, s[0], x, 0, 0));
        SHOW(call(SYS_getsockname, s[0], (long)page, x, 0));
        SHOW(call(SYS_sigaltstack, x, 0, 0, 0));
        SHOW(call(SYS_getrandom, x, 16, 0, 0));
        SHOW(call(SYS_sysinfo, x, 0, 0, 0));
    }
    puts("edges");
    lseek(f, 0, SEEK_SET);
    SHOW(read(f, edge, 4));
    SHOW(read(f, edge, 8) >= -1);
    SHOW(read(f, ro, 4));
    SHOW(write(f, ro, 4));
    SHOW(write(p[1], edge, 4));
    SHOW(stat("f", (struct stat *)edge));
    strcpy(edge, "f");
    SHOW(open(edge, O_RDONLY) >= 0);
    memset(edge, 'f', 4);
    SHOW(open(edge, O_RDONLY));
    struct iovec v[2] = {{"ok", 2}, {(void *)8, 4}};
    SHOW(writev(p[1], v, 2) >= -1);
    SHOW(getcwd(ro, 4096) == NULL ? -1 : 0);
    SHOW(call(SYS_epoll_wait, 999, 8, 1, 0));
    DONE();
}
