// Random system calls with random arguments: the kernel must survive them, whatever becomes of the program.
// modes: protected
// linux: no
// stdout-has: survived
#include "t.h"
#include <sys/time.h>
#include <sys/wait.h>

enum { LIVES = 100, CALLS = 5000, PATIENCE_MS = 8000 };

// Calls that newer architectures never had, by numbers that are none.
#ifndef SYS_fork
enum { SYS_fork = -1, SYS_vfork = -2, SYS_pause = -3, SYS_alarm = -4, SYS_signalfd = -5, SYS_arch_prctl = -6, SYS_iopl = -7, SYS_modify_ldt = -8, SYS_poll = -9,
       SYS_epoll_wait = -10, SYS_select = -11, SYS_dup2 = -12 };
#endif

static unsigned long state = 0x2545f4914f6cdd1d;
static unsigned long next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}
static char *page;
static unsigned long argument(void) {
    static const unsigned long odd[] = {0, 1, 2, 3, 8, 16, 4095, 4096, 4097, 65535, 1UL << 31, 1UL << 32, 1UL << 47,
                                        (1UL << 47) - 1, 0x7ffffffff000, 0xffff800000000000, 0xffffffff80000000,
                                        0xffffffff81000000, -1UL, -2UL, -100UL, -4096UL, -4095UL, 1UL << 63, (1UL << 63) - 1};
    switch (next() % 8) {
    case 0: return next();
    case 1: return next() & 0xffffffff;
    case 2: return next() & 0xff;
    case 3: return (unsigned long)page + next() % 8192;
    case 4: return (unsigned long)page + 8192 - next() % 16;
    case 5: return (unsigned long)&argument + next() % 4096;
    default: return odd[next() % (sizeof odd / sizeof *odd)];
    }
}

// Ends calls that wait.
static void handler(int signal) { (void)signal; }

// One life of the fuzzer: it may well shoot itself.
static void fuzz(unsigned long seed) {
    state ^= seed * 0x9e3779b97f4a7c15;
    // What it writes anywhere is no output.
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 20000}, {0, 20000}};
    setitimer(ITIMER_REAL, &often, NULL);
    page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct timespec timeout = {0, 1000};
    for (int i = 0; i < CALLS; i++) {
        long number = next() % 20 == 0 ? (long)(next() % 600) : (long)(next() % 335);
        switch (number) {
        // These end or stop the program by design, or take its output away.
        case SYS_exit: case SYS_exit_group: case SYS_pause: case SYS_rt_sigsuspend: case SYS_rt_sigreturn: case SYS_kill:
        case SYS_tkill: case SYS_tgkill: case SYS_rt_sigqueueinfo: case SYS_rt_tgsigqueueinfo: case SYS_reboot:
        case SYS_clone: case SYS_fork: case SYS_vfork: case SYS_execve: case SYS_execveat: case SYS_clone3: case SYS_munmap:
        case SYS_mremap: case SYS_mprotect: case SYS_brk: case SYS_mmap: case SYS_shmat: case SYS_pkey_mprotect: case SYS_madvise:
        case SYS_remap_file_pages: case SYS_arch_prctl: case SYS_set_tid_address: case SYS_set_robust_list: case SYS_rseq:
        case SYS_alarm: case SYS_setitimer: case SYS_nanosleep: case SYS_clock_nanosleep: case SYS_rt_sigtimedwait: case SYS_prctl:
        case SYS_rt_sigaction: case SYS_sigaltstack: case SYS_setrlimit: case SYS_prlimit64: case SYS_timer_create:
        case SYS_timer_settime: case SYS_signalfd: case SYS_signalfd4: case SYS_wait4: case SYS_waitid: case SYS_seccomp:
        case SYS_process_madvise: case SYS_kexec_load: case SYS_iopl: case SYS_modify_ldt: case SYS_userfaultfd:
        case SYS_rt_sigprocmask: case SYS_pidfd_send_signal: case SYS_ptrace: case SYS_vhangup:
            continue;
        default: break;
        }
        unsigned long a[6];
        for (int k = 0; k < 6; k++)
            a[k] = argument();
        // Calls that wait are given no time to.
        if (number == SYS_futex)
            a[3] = (unsigned long)&timeout;
        if (number == SYS_poll || number == SYS_epoll_wait || number == SYS_epoll_pwait)
            a[number == SYS_poll ? 2 : 3] = 0;
        if (number == SYS_select || number == SYS_pselect6)
            a[4] = (unsigned long)&timeout;
        if (number == SYS_ppoll || number == SYS_futex_waitv)
            a[2] = (unsigned long)&timeout;
        if (number == SYS_epoll_pwait2 || number == SYS_mq_timedsend || number == SYS_mq_timedreceive || number == SYS_semtimedop)
            a[4] = a[3] = (unsigned long)&timeout;
        // Standard streams are left alone, sizes of reads and writes small.
        if (a[0] < 3)
            a[0] += 100;
        if (number == SYS_close_range)
            a[0] = 1000;
        if ((number == SYS_dup2 || number == SYS_dup3) && a[1] < 3)
            a[1] += 100;
        if (number == SYS_read || number == SYS_pread64 || number == SYS_write || number == SYS_pwrite64)
            a[2] %= 100000;
        if (number == SYS_sendfile)
            a[3] %= 100000;
        if (number == SYS_splice || number == SYS_copy_file_range || number == SYS_tee)
            a[number == SYS_tee ? 2 : 4] %= 100000;
        if (number == SYS_getrandom)
            a[1] %= 100000;
        syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    _exit(0);
}

int main(void) {
    for (unsigned long life = 1; life <= LIVES; life++) {
        pid_t child = fork();
        NEED(child >= 0);
        if (child == 0)
            fuzz(life);
        // A call may have stopped it for good: then it is ended.
        int status = 0;
        long start = now_ms();
        while (waitpid(child, &status, WNOHANG) == 0) {
            if (now_ms() - start > PATIENCE_MS)
                kill(child, SIGKILL);
            sleep_ms(10);
        }
    }
    puts("survived");
    return 0;
}
