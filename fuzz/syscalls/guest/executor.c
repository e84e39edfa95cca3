/*
 * executor.c: runs programs of the fuzzer of system calls, as the first process of a Coracle guest.
 *
 * What it executes destroys the machine it runs on: it refuses to run anywhere but in a Coracle guest, as process 1.
 *
 * A batch of programs lies in the image as /fuzz/batch; ../src/encode.rs writes it. Each program runs in a process of its own,
 * with descriptors of most kinds open, in an empty directory. When it has ended, or TIME_LIMIT_MS later, everything
 * it has left behind is killed and removed. A process that outlives SIGKILL is a fault of the kernel, and is reported.
 *
 * The plugin (../plugin/edges.c) sees which program runs by the mark that is executed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The layout of the batch and of memory. Keep these equal to ../src/encode.rs. */
#define BATCH_MAGIC 0x314854414253594bULL
#define ARENA 0x20000000UL       /* where the arguments of threads lie, ARENA_BYTES for each */
#define ARENA_BYTES 0x100000UL
#define MAX_THREADS 3
#define PLAYGROUND 0x21000000UL  /* mapped memory for calls that change mappings */
#define PLAYGROUND_BYTES 0x40000UL
#define MARKS 0x40000000UL       /* executing byte N says that program N - 1 begins; byte 0, that none runs */
#define MARKS_BYTES 0x10000UL
#define COUNTS 0x5a5a50000000UL  /* shared by all processes: how often each call was made, and succeeded */
#define MAX_RESULTS 256
#define MAX_NUMBER 512
#define MAX_ARGUMENTS 6

enum operation { END, DATA, STORE, CALL, COPY_OUT };
enum { CONSTANT, RESULT };

/* How long a program may run, in the guest's time. */
#define TIME_LIMIT_MS 400
/* A thread that sleeps in a call gets a signal this often, so that it goes on. */
#define NUDGE_MS 15
/* How long the end of killed processes may take. */
#define REAP_LIMIT_MS 20000
/* Forks a program may make: each copy runs the rest of the program. */
#define MAX_FORKS 4

/* Code at known addresses (the Makefile of nobody: ../src/guest.rs passes --section-start). */
__asm__(".pushsection .fuzzcode,\"ax\",@progbits\n"
        ".globl fuzz_handler, fuzz_restorer, fuzz_child\n"
        "fuzz_handler: ret\n"
        ".org 0x10\n"
        "fuzz_restorer: mov $15, %eax; syscall; hlt\n"
        /* A new thread without a stack of its own to rely on: a few calls, then its end. */
        ".org 0x20\n"
        "fuzz_child: mov $24, %eax; syscall; mov $39, %eax; syscall; mov $24, %eax; syscall\n"
        "xor %edi, %edi; mov $60, %eax; syscall; hlt\n"
        ".popsection");

struct counts {
    uint32_t made[MAX_NUMBER];
    uint32_t succeeded[MAX_NUMBER];
    uint32_t forks;
};
static volatile struct counts *const counts = (volatile struct counts *)COUNTS;
static volatile uint64_t results[MAX_RESULTS];
static const uint64_t *streams[MAX_THREADS];
static volatile int started;
static unsigned threads;

/* Says that program `number` - 1 begins; 0: that none runs. */
static void mark(uint64_t number)
{
    ((void (*)(void))(MARKS + number))();
}

static void report(const char *what, unsigned long program)
{
    char line[128];
    int len = snprintf(line, sizeof line, "\nfuzz: %s %lu\n", what, program);
    (void)!write(1, line, len);
}

static long call(uint64_t number, const uint64_t *a, bool child_ends)
{
    register uint64_t r10 __asm__("r10") = a[3];
    register uint64_t r8 __asm__("r8") = a[4];
    register uint64_t r9 __asm__("r9") = a[5];
    register uint64_t ends __asm__("r12") = child_ends;
    long result;
    __asm__ volatile("syscall\n"
                     "test %%rax, %%rax\n"
                     "jnz 1f\n"
                     "test %%r12, %%r12\n"
                     "jnz fuzz_child\n"
                     "1:"
                     : "=a"(result)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9), "r"(ends)
                     : "rcx", "r11", "memory", "cc");
    return result;
}

/* Whether a call makes a child that shares this thread's memory beside it, and so can't go on with its stack. */
static bool child_shares_stack(uint64_t number, const uint64_t *a)
{
    uint64_t flags = 0;
    uint64_t stack = 0;
    if (number == SYS_clone) {
        flags = a[0];
        stack = a[1];
    } else if (number == SYS_clone3) {
        if (a[0] < ARENA || a[0] >= ARENA + MAX_THREADS * ARENA_BYTES - 64) {
            return true;
        }
        flags = *(uint64_t *)a[0];
        stack = ((uint64_t *)a[0])[5];
    }
    return stack != 0 || ((flags & CLONE_VM) && !(flags & CLONE_VFORK));
}

static bool forks(uint64_t number)
{
    return number == SYS_fork || number == SYS_vfork || number == SYS_clone || number == SYS_clone3;
}

static void run_stream(const uint64_t *at)
{
    for (;;) {
        switch (at[0]) {
        case DATA:
            memcpy((void *)at[1], &at[3], at[2]);
            at += 3 + (at[2] + 7) / 8;
            break;
        case STORE:
            memcpy((void *)at[1], (const void *)&results[at[3]], at[2]);
            at += 4;
            break;
        case COPY_OUT: {
            uint32_t value;
            memcpy(&value, (void *)at[1], sizeof value);
            results[at[2]] = value;
            at += 3;
            break;
        }
        case CALL: {
            uint64_t a[MAX_ARGUMENTS] = {0};
            uint64_t number = at[1], result_index = at[2], times = at[3], len = at[4];
            for (uint64_t i = 0; i < len; i++) {
                a[i] = at[5 + 2 * i] == RESULT ? results[at[6 + 2 * i]] : at[6 + 2 * i];
            }
            at += 5 + 2 * len;
            for (; times > 0; times--) {
                if (forks(number) && __atomic_add_fetch(&counts->forks, 1, __ATOMIC_RELAXED) > MAX_FORKS) {
                    break;
                }
                if (number < MAX_NUMBER) {
                    counts->made[number]++;
                }
                long result = call(number, a, child_shares_stack(number, a));
                results[result_index] = (uint64_t)result;
                if (number < MAX_NUMBER && (unsigned long)result < -4095UL) {
                    counts->succeeded[number]++;
                }
            }
            break;
        }
        default:
            return;
        }
    }
}

/* Has this thread woken from calls that sleep. */
static void nudge(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
    event._sigev_un._tid = gettid();
    timer_t timer;
    struct itimerspec often = {{0, NUDGE_MS * 1000000}, {0, NUDGE_MS * 1000000}};
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) == 0) {
        timer_settime(timer, 0, &often, NULL);
    }
}

static void *thread(void *number)
{
    nudge();
    __atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&started, __ATOMIC_SEQ_CST) < (int)threads) {
        sched_yield();
    }
    run_stream(streams[(uintptr_t)number]);
    return NULL;
}

static void on_nudge(int signal)
{
    (void)signal;
}

static void on_fault(int signal)
{
    (void)signal;
    syscall(SYS_exit, 1);
}

/* Files and directories under the names that programs use (../src/kinds/paths.rs), and descriptors 3 and up: some of each
 * kind that programs work with (../src/kinds/numbers.rs has their numbers). */
static void open_descriptors(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int pair[2];
    sigset_t some;
    sigemptyset(&some);
    sigaddset(&some, SIGUSR1);
    mkdir("d0", 0755);
    mkdir("d0/d1", 0755);
    (void)!symlink("d0", "l0");
    mkfifo("p0", 0644);
    close(open("d0/f0", O_RDWR | O_CREAT, 0644));
    int file = open("f0", O_RDWR | O_CREAT, 0644);
    (void)!write(file, "some bytes of a file", 20);
    open(".", O_RDONLY | O_DIRECTORY);
    (void)!pipe2(pair, O_NONBLOCK);
    (void)!pipe(pair);
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
    eventfd(1, 0);
    epoll_create1(0);
    timerfd_create(CLOCK_MONOTONIC, 0);
    signalfd(-1, &some, 0);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    bind(listener, (struct sockaddr *)&any, sizeof any);
    listen(listener, 4);
    socklen_t len = sizeof any;
    getsockname(listener, (struct sockaddr *)&any, &len);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    connect(client, (struct sockaddr *)&any, sizeof any);
    accept(listener, NULL, NULL);
    int datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    any.sin_port = 0;
    bind(datagrams, (struct sockaddr *)&any, sizeof any);
    socket(AF_INET6, SOCK_STREAM, 0);
    syscall(SYS_memfd_create, "m", 2 /* MFD_ALLOW_SEALING */);
    open("/proc/self/maps", O_RDONLY);
    open("/proc/self", O_RDONLY | O_DIRECTORY);
    open("/dev/zero", O_RDWR);
    open("f1", O_RDWR | O_CREAT, 0644);
    syscall(SYS_pidfd_open, getpid(), 0);
    struct mq_attr small = {.mq_maxmsg = 2, .mq_msgsize = 8};
    mq_open("/a", O_RDWR | O_CREAT | O_NONBLOCK, 0666, &small);
    mq_open("/b", O_RDWR | O_CREAT, 0666, NULL);
}

static void *map(uintptr_t address, size_t bytes, int protection, int sharing)
{
    return mmap((void *)address, bytes, protection, MAP_FIXED | MAP_ANONYMOUS | sharing, -1, 0);
}

/* The process of one program. `program`: whether it is root's, the number of threads, the length of each stream in words,
 * the streams. */
static void run_program(const uint64_t *program)
{
    bool root = program[0] != 0;
    threads = program[1] < MAX_THREADS ? program[1] : MAX_THREADS;
    const uint64_t *stream = program + 2 + threads;
    for (unsigned i = 0; i < threads; i++) {
        streams[i] = stream;
        stream += program[2 + i];
    }
    setsid();
    int null = open("/dev/null", O_RDWR);
    dup2(null, 1);
    dup2(null, 2);
    close(null);
    map(ARENA, MAX_THREADS * ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    map(PLAYGROUND, PLAYGROUND_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    for (unsigned i = 0; i < MAX_RESULTS; i++) {
        results[i] = (uint64_t)-1;
    }
    if (!root && (setgid(1000) != 0 || setuid(1000) != 0)) {
        _exit(1);
    }
    open_descriptors();
    struct sigaction nudged = {.sa_handler = on_nudge}, fault = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
    sigaction(SIGALRM, &nudged, NULL);
    int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    for (unsigned i = 0; i < sizeof faults / sizeof *faults; i++) {
        sigaction(faults[i], &fault, NULL);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    pthread_t handle;
    for (uintptr_t i = 1; i < threads; i++) {
        if (pthread_create(&handle, NULL, thread, (void *)i) != 0) {
            __atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
        }
    }
    thread((void *)0);
    for (unsigned i = 1; i < threads; i++) {
        sched_yield();
    }
    /* The other threads get to their ends, or to the limit. */
    syscall(SYS_exit, 0);
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *place)
{
    (void)stat;
    (void)type;
    (void)place;
    return remove(path) == 0 ? 0 : 0;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Waits until a child ends, or until then. */
static void wait_for_child(uint64_t until_ms)
{
    uint64_t now = now_ms();
    uint64_t left = until_ms > now ? until_ms - now : 0;
    struct timespec limit = {(time_t)(left / 1000), (long)(left % 1000) * 1000000};
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigtimedwait(&child, NULL, &limit);
}

/* Kills what is left of a program, and buries it. */
static bool bury(void)
{
    uint64_t until = now_ms() + REAP_LIMIT_MS;
    for (;;) {
        kill(-1, SIGKILL);
        int status;
        pid_t pid;
        while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
        }
        if (pid < 0 && errno == ECHILD) {
            return true;
        }
        if (now_ms() > until) {
            return false;
        }
        wait_for_child(now_ms() + 50);
    }
}

static const uint64_t *read_batch(size_t *words)
{
    int fd = open("/fuzz/batch", O_RDONLY | O_CLOEXEC);
    struct stat stat;
    if (fd < 0 || fstat(fd, &stat) != 0) {
        return NULL;
    }
    *words = (size_t)stat.st_size / 8;
    uint64_t *batch = malloc((size_t)stat.st_size + 8);
    size_t done = 0;
    while (batch && done < (size_t)stat.st_size) {
        ssize_t n = read(fd, (char *)batch + done, (size_t)stat.st_size - done);
        if (n <= 0) {
            return NULL;
        }
        done += (size_t)n;
    }
    close(fd);
    return batch && *words >= 2 && batch[0] == BATCH_MAGIC ? batch : NULL;
}

int main(void)
{
    struct utsname name;
    if (uname(&name) != 0 || strstr(name.version, "Coracle") == NULL || strstr(name.release, "-coracle") == NULL) {
        fprintf(stderr, "executor: this is not a Coracle guest, and what I run would destroy this machine: refused\n");
        return 2;
    }
    if (getpid() != 1) {
        return 0; /* A program under test executed this file. */
    }
    size_t words;
    const uint64_t *batch = read_batch(&words);
    if (!batch) {
        fprintf(stderr, "executor: no batch in /fuzz/batch\n");
        return 2;
    }
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    if (map(MARKS, MARKS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE) == MAP_FAILED ||
        map(COUNTS, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED) == MAP_FAILED) {
        perror("executor: mmap");
        return 2;
    }
    const unsigned char return_instruction = 0xc3;
    memset((void *)MARKS, return_instruction, MARKS_BYTES);
    mprotect((void *)MARKS, MARKS_BYTES, PROT_READ | PROT_EXEC);
    const uint64_t *program = batch + 2;
    for (uint64_t i = 0; i < batch[1]; i++, program += 1 + program[0]) {
        mkdir("/tmp", 0777);
        mkdir("/tmp/w", 0777);
        chmod("/tmp/w", 0777);
        mark(i + 1);
        started = 0;
        counts->forks = 0;
        pid_t child = fork();
        if (child == 0) {
            if (chdir("/tmp/w") != 0) {
                _exit(1);
            }
            run_program(program + 1);
        }
        if (child < 0) {
            report("cannot fork before program", i);
            return 3;
        }
        uint64_t until = now_ms() + TIME_LIMIT_MS;
        while (now_ms() < until && waitpid(child, NULL, WNOHANG) == 0) {
            wait_for_child(until);
        }
        if (!bury()) {
            report("a process outlives SIGKILL after program", i);
            return 4;
        }
        nftw("/tmp/w", remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
        mark(0);
    }
    for (unsigned number = 0; number < MAX_NUMBER; number++) {
        if (counts->made[number] != 0) {
            printf("\nfuzz: call %u made %u succeeded %u\n", number, counts->made[number], counts->succeeded[number]);
        }
    }
    report("done", batch[1]);
    return 0;
}
