// Restartable sequences: registration, where the thread runs, and sections that a signal and a preemption abort.
// flags: -pthread
#include "t.h"
#include <pthread.h>
#include <sched.h>
#include <sys/rseq.h>
#include <sys/time.h>
#include <sys/wait.h>

enum { SIGNATURE = RSEQ_SIG };
struct area {
    uint32_t cpu_id_start, cpu_id;
    uint64_t section;
    uint32_t flags, node_id, mm_cid, end;
} __attribute__((aligned(32)));
static struct area own, other;
static volatile sig_atomic_t handled, in_section_at_handler;

static long rseq(void *area, uint32_t len, int flags, uint32_t signature) {
    return syscall(SYS_rseq, area, len, flags, signature);
}

// Spins in a section until it is aborted: a section that nothing aborts never ends.
__attribute__((noinline)) static int section(struct area *area) {
    int aborted;
#ifdef __aarch64__
    __asm__ volatile(".pushsection .data\n"
                     ".balign 32\n"
                     "3: .long 0, 0\n"
                     ".quad 1f, 2f - 1f, 4f\n"
                     ".popsection\n"
                     "adrp x9, 3b\n"
                     "add x9, x9, :lo12:3b\n"
                     "str x9, [%1, #8]\n"
                     "1: yield\n"
                     "b 1b\n"
                     "2: .inst 0xd428bc00\n"
                     "4: mov %w0, #1\n"
                     : "=r"(aborted)
                     : "r"(area)
                     : "x9", "memory");
#else
    __asm__ volatile(".pushsection .data\n"
                     ".balign 32\n"
                     "3: .long 0, 0\n"
                     ".quad 1f, 2f - 1f, 4f\n"
                     ".popsection\n"
                     "leaq 3b(%%rip), %%rax\n"
                     "movq %%rax, 8(%1)\n"
                     "1: pause\n"
                     "jmp 1b\n"
                     "2: .long 0x53053053\n"
                     "4: movl $1, %0\n"
                     : "=r"(aborted)
                     : "r"(area)
                     : "rax", "memory");
#endif
    return aborted;
}

static void handler(int signal) {
    (void)signal;
    handled++;
    in_section_at_handler = own.section != 0;
}

static volatile int stop;
static void *busy(void *unused) {
    (void)unused;
    while (!stop) {
    }
    return NULL;
}

int main(void) {
    // The C library's own area, if it has one.
    void *area = (char *)__builtin_thread_pointer() + __rseq_offset;
    if (__rseq_size != 0) {
        CHECK(rseq(area, 32, 0, SIGNATURE) == -1 && errno == EBUSY);
        CHECK(rseq(area, 32, 1, SIGNATURE) == 0);
    }
    SHOW(rseq(&own, 32, 2, SIGNATURE));
    SHOW(rseq(&own, 16, 0, SIGNATURE));
    SHOW(rseq((char *)&own + 8, 32, 0, SIGNATURE));
    SHOW(rseq(&own, 32, 1, SIGNATURE));
    SHOW(rseq(&own, 32, 0, SIGNATURE));
    SHOW(rseq(&own, 32, 0, SIGNATURE));
    SHOW(rseq(&own, 32, 0, 1));
    SHOW(rseq(&other, 32, 0, SIGNATURE));
    SHOW(rseq(&other, 32, 1, SIGNATURE));
    SHOW(rseq(&own, 32, 1, 1));

    // Where it runs, however often it moves.
    unsigned cpu, node;
    WAIT_UNTIL(syscall(SYS_getcpu, &cpu, &node, NULL) == 0 && ((volatile struct area *)&own)->cpu_id == cpu);
    CHECK(own.cpu_id_start == own.cpu_id);

    // A signal.
    signal(SIGALRM, handler);
    struct itimerval soon = {{0, 0}, {0, 20000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    SHOW(section(&own));
    while (!handled)
        section(&own);
    SHOW(in_section_at_handler);
    SHOW(own.section != 0);

    // Another thread on the same CPU.
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(own.cpu_id, &one);
    NEED(sched_setaffinity(0, sizeof one, &one) == 0);
    pthread_t thread;
    NEED(pthread_create(&thread, NULL, busy, NULL) == 0);
    SHOW(section(&own));
    SHOW(own.section != 0);
    stop = 1;
    NEED(pthread_join(thread, NULL) == 0);

    // fork(2) keeps the area.
    fflush(stdout);
    if (fork() == 0) {
        _exit(rseq(&own, 32, 1, SIGNATURE) == 0 && own.cpu_id == UINT32_MAX ? 7 : 8);
    }
    int status;
    NEED(wait(&status) > 0);
    SHOW(WEXITSTATUS(status));
    SHOW(rseq(&own, 32, 1, SIGNATURE));
    SHOW((int)own.cpu_id);
    DONE();
}
