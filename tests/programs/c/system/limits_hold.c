// Limits of resources hold: RLIMIT_CPU with SIGXCPU and SIGKILL, RLIMIT_AS, RLIMIT_DATA, RLIMIT_FSIZE with SIGXFSZ and
// RLIMIT_NPROC (getrlimit(2)); a limit is inherited, and is of the process that set it alone.
// machines: all
#include "../t.h"
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/wait.h>

#define MIB (1l << 20)

static void limit(int which, rlim_t soft, rlim_t hard) {
    struct rlimit limits = {soft, hard};
    CHECK(setrlimit(which, &limits) == 0);
}

static volatile sig_atomic_t seen_cpu, seen_size;
static void on_cpu(int signal) { (void)signal, seen_cpu++; }
static void on_size(int signal) { (void)signal, seen_size++; }

// Runs `body` in a child, and prints how that ended.
static void in_child(const char *name, void (*body)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        body();
        fflush(stdout);
        _exit(t_failures != 0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status))
        printf("%s: %s\n", name, strsignal(WTERMSIG(status)));
    else
        printf("%s: exit %d\n", name, WEXITSTATUS(status));
}

static void spin(void) {
    for (;;) {
    }
}

static void cpu_soft(void) {
    limit(RLIMIT_CPU, 0, 10);
    spin();
}

static void cpu_hard(void) {
    signal(SIGXCPU, SIG_IGN);
    limit(RLIMIT_CPU, 0, 1);
    spin();
}

static void cpu_handler(void) {
    signal(SIGXCPU, on_cpu);
    limit(RLIMIT_CPU, 0, 10);
    while (!seen_cpu) {
    }
    struct rlimit now;
    CHECK(getrlimit(RLIMIT_CPU, &now) == 0);
    printf("the soft limit has moved on: %d, the hard one is the same: %d\n", now.rlim_cur >= 1, now.rlim_max == 10);
}

static void cpu_inherited(void) {
    limit(RLIMIT_CPU, 1, 10);
    pid_t child = fork();
    if (child == 0)
        spin();
    int status;
    // The parent sleeps meanwhile, and is not limited by what the child uses.
    CHECK(waitpid(child, &status, 0) == child);
    printf("the child: %s\n", strsignal(WTERMSIG(status)));
}

static long mapped(void *at) { return at == MAP_FAILED ? -1 : 0; }

static void space(void) {
    long before = 64 * MIB;
    limit(RLIMIT_AS, before, RLIM_INFINITY);
    int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
    char *small = mmap(0, MIB, protection, flags, -1, 0);
    CHECK(small != MAP_FAILED);
    SHOW(mapped(mmap(0, 64 * MIB, protection, flags, -1, 0)));
    SHOW(mapped(mmap(0, 64 * MIB, PROT_NONE, flags, -1, 0)));
    SHOW(mapped(mmap(0, 64 * MIB, protection, MAP_SHARED | MAP_ANONYMOUS, -1, 0)));
    SHOW(mapped(mremap(small, MIB, 64 * MIB, MREMAP_MAYMOVE)));
    // What lies there already does not count twice.
    SHOW(mmap(small, MIB, protection, flags | MAP_FIXED, -1, 0) == small);
    SHOW(mapped(sbrk(64 * MIB)));
    SHOW(malloc(64 * MIB) == NULL);
    SHOW(munmap(small, MIB));
}

static void data(void) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    char *unused = mmap(0, 64 * MIB, PROT_NONE, flags, -1, 0);
    limit(RLIMIT_DATA, 32 * MIB, RLIM_INFINITY);
    SHOW(mapped(mmap(0, 64 * MIB, PROT_READ | PROT_WRITE, flags, -1, 0)));
    SHOW(mapped(mmap(0, 64 * MIB, PROT_READ, flags, -1, 0)));
    SHOW(mapped(mmap(0, 64 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)));
    SHOW(mprotect(unused, 64 * MIB, PROT_READ | PROT_WRITE));
    SHOW(mprotect(unused, MIB, PROT_READ | PROT_WRITE));
    SHOW(mapped(sbrk(64 * MIB)));
}

static void file_size(void) {
    char path[] = "/tmp/limits_hold_XXXXXX", bytes[4096] = {1};
    int fd = mkstemp(path), pipes[2];
    CHECK(fd >= 0 && unlink(path) == 0 && pipe(pipes) == 0);
    signal(SIGXFSZ, on_size);
    limit(RLIMIT_FSIZE, 6000, RLIM_INFINITY);
#define SHOW_SIGNALS(call)                                                                                       \
    do {                                                                                                         \
        seen_size = 0;                                                                                           \
        SHOW(call);                                                                                              \
        printf("SIGXFSZ: %d\n", seen_size);                                                                      \
    } while (0)
    SHOW_SIGNALS(write(fd, bytes, 4096));
    SHOW_SIGNALS(write(fd, bytes, 4096));
    SHOW_SIGNALS(write(fd, bytes, 4096));
    SHOW_SIGNALS(write(fd, bytes, 0));
    SHOW_SIGNALS(pwrite(fd, bytes, 10, 5995));
    SHOW_SIGNALS(pwrite(fd, bytes, 10, 6000));
    SHOW_SIGNALS(pwrite(fd, bytes, 10, 7000));
    SHOW_SIGNALS(ftruncate(fd, 6001));
    SHOW_SIGNALS(ftruncate(fd, 6000));
    SHOW_SIGNALS(fallocate(fd, 0, 0, 6001));
    SHOW_SIGNALS(ftruncate(fd, 5000));
    CHECK(fcntl(fd, F_SETFL, O_APPEND) == 0);
    SHOW_SIGNALS(write(fd, bytes, 4096));
    SHOW_SIGNALS(write(fd, bytes, 1));
    // Streams have no size.
    SHOW_SIGNALS(write(pipes[1], bytes, 4096));
    SHOW_SIGNALS(lseek(fd, 0, SEEK_END));
    // By default the signal ends the process.
    signal(SIGXFSZ, SIG_DFL);
    SHOW(write(fd, bytes, 1));
}

static void processes(void) {
    // A user without other processes, and without rights.
    CHECK(setgid(45678) == 0 && setuid(45678) == 0);
    limit(RLIMIT_NPROC, 2, 2);
    pid_t child = fork();
    if (child == 0)
        pause();
    SHOW(child > 0);
    SHOW(fork());
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    child = fork();
    if (child == 0)
        _exit(0);
    SHOW(child > 0);
    CHECK(waitpid(child, NULL, 0) == child);
}

static void raised(void) {
    CHECK(setgid(45678) == 0 && setuid(45678) == 0);
    limit(RLIMIT_CORE, 0, 10);
    struct rlimit more = {0, 11};
    SHOW(setrlimit(RLIMIT_CORE, &more));
    SHOW(prlimit(getppid(), RLIMIT_CORE, NULL, &more));
    SHOW(prlimit(getpid(), RLIMIT_CORE, NULL, &more));
}

int main(void) {
    in_child("soft limit of CPU time", cpu_soft);
    in_child("hard limit of CPU time", cpu_hard);
    in_child("handler for CPU time", cpu_handler);
    in_child("inherited limit of CPU time", cpu_inherited);
    in_child("address space", space);
    in_child("data", data);
    in_child("file size", file_size);
    if (getuid() == 0) {
        in_child("processes", processes);
        in_child("raised", raised);
    }
    return t_failures != 0;
}
