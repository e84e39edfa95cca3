// Flags that no compiler sets, across system calls, page faults and interrupts: the direction, nested-task, alignment and
// trap flags. Each call is made often, from one instruction, as a library makes it.
// link: static
// flags: -mno-red-zone
// machines: all
// arch: x86-64
#include "t.h"
#include <sys/time.h>

#define TF 0x100
#define DF 0x400
#define NT 0x4000
#define AC 0x40000

#define TIMES 200

// A system call with two arguments, with these flags set before and cleared after.
#define CALL_WITH(set, number, first, second)                                                                    \
    ({                                                                                                           \
        long result;                                                                                             \
        __asm__ volatile("pushfq\n\torq %1, (%%rsp)\n\tpopfq\n\t"                                                \
                         "movl %3, %%eax\n\tsyscall\n\t"                                                         \
                         "pushfq\n\tandq %2, (%%rsp)\n\tpopfq"                                                   \
                         : "=&a"(result)                                                                         \
                         : "i"(set), "i"(~(set)), "i"(number), "D"(first), "S"(second)                           \
                         : "rcx", "r11", "memory", "cc");                                                        \
        result;                                                                                                  \
    })

#define GETPPID_WITH(set) CALL_WITH(set, SYS_getppid, 0L, 0L)

// Writes a byte, which may be to a page that is not there yet, with these flags set.
#define TOUCH_WITH(set, at)                                                                                      \
    __asm__ volatile("pushfq\n\torq %1, (%%rsp)\n\tpopfq\n\t"                                                    \
                     "movb $1, (%0)\n\t"                                                                         \
                     "pushfq\n\tandq %2, (%%rsp)\n\tpopfq" ::"r"(at), "i"(set), "i"(~(set))                      \
                     : "memory", "cc")

static volatile sig_atomic_t steps, ticks;
static void on_step(int signal) {
    (void)signal;
    steps++;
}
static void on_tick(int signal) {
    (void)signal;
    ticks++;
}

int main(void) {
    long parent = getppid();
    int direction = 0, nested = 0, alignment = 0, traced = 0;
    for (int i = 0; i < TIMES; i++) {
        direction += GETPPID_WITH(DF) == parent;
        nested += GETPPID_WITH(NT) == parent;
        alignment += GETPPID_WITH(AC) == parent;
    }
    SHOW(direction);
    SHOW(nested);
    SHOW(alignment);

    // A call that a signal follows is left on another way.
    struct sigaction tick = {.sa_handler = on_tick};
    sigaction(SIGUSR1, &tick, NULL);
    for (int i = 0; i < TIMES; i++)
        CHECK(CALL_WITH(DF | NT | AC, SYS_kill, (long)getpid(), (long)SIGUSR1) == 0);
    SHOW(ticks);

    struct sigaction step = {.sa_handler = on_step};
    sigaction(SIGTRAP, &step, NULL);
    for (int i = 0; i < TIMES; i++) {
        steps = 0;
        traced += GETPPID_WITH(TF) == parent && steps >= 3;
    }
    SHOW(traced);

    char *pages = mmap(NULL, TIMES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(pages != MAP_FAILED);
    for (int i = 0; i < TIMES; i++)
        TOUCH_WITH(DF | NT | AC, pages + i * 4096);
    int touched = 0;
    for (int i = 0; i < TIMES; i++)
        touched += pages[i * 4096];
    SHOW(touched);

    // A handler begins with a clear direction flag, and the interrupted code goes on with its own flags.
    ticks = 0;
    sigaction(SIGALRM, &tick, NULL);
    struct itimerval every = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &every, NULL);
    long kept = 0, wanted = DF | AC;
    while (ticks < 20) {
        long flags;
        __asm__ volatile("pushfq\n\torq %1, (%%rsp)\n\tpopfq\n\t"
                         "movl $100000, %%ecx\n1:\tdecl %%ecx\n\tjnz 1b\n\t"
                         "pushfq\n\tmovq (%%rsp), %0\n\tandq %2, (%%rsp)\n\tpopfq"
                         : "=&r"(flags)
                         : "i"(DF | AC), "i"(~(DF | AC))
                         : "rcx", "memory", "cc");
        kept |= ~flags & wanted;
    }
    SHOW(kept);
    DONE();
}
