// A system call keeps every register but rax, rcx and r11; also one that blocks and one that a signal interrupts.
// arch: x86-64
#include "t.h"
#include <sys/time.h>

static void handler(int signal) { (void)signal; }

// Calls with known values in all registers; returns how many changed.
static int keeps(long number, long a1, long a2) {
    long in[8] = {0x1111, 0x2222, 0x3333, 0x4444, 0x5555, 0x6666, 0x7777, 0x8888}, out[8];
    register long rdi asm("rdi") = a1, rsi asm("rsi") = a2, rax asm("rax") = number;
    asm volatile("sub $128, %%rsp\n push %%rbp\n push %%rbx\n push %%r12\n push %%r13\n push %%r14\n push %%r15\n push %[out]\n"
                 "mov 0(%[in]), %%rbx\n mov 8(%[in]), %%r12\n mov 16(%[in]), %%r13\n mov 24(%[in]), %%r14\n"
                 "mov 32(%[in]), %%r15\n mov 40(%[in]), %%rbp\n mov 48(%[in]), %%r9\n mov 56(%[in]), %%r10\n"
                 "syscall\n"
                 "pop %%r8\n"
                 "mov %%rbx, 0(%%r8)\n mov %%r12, 8(%%r8)\n mov %%r13, 16(%%r8)\n mov %%r14, 24(%%r8)\n"
                 "mov %%r15, 32(%%r8)\n mov %%rbp, 40(%%r8)\n mov %%r9, 48(%%r8)\n mov %%r10, 56(%%r8)\n"
                 "pop %%r15\n pop %%r14\n pop %%r13\n pop %%r12\n pop %%rbx\n pop %%rbp\n add $128, %%rsp\n"
                 : "+r"(rax)
                 : [in] "d"(in), [out] "r"(out), "r"(rdi), "r"(rsi)
                 : "rcx", "r8", "r9", "r10", "r11", "memory");
    int changed = rdi != a1 || rsi != a2;
    for (int i = 0; i < 8; i++)
        changed += in[i] != out[i];
    return changed;
}

int main(void) {
    SHOW(keeps(SYS_getpid, 1, 2));
    struct timespec t = {0, 5000000};
    SHOW(keeps(SYS_nanosleep, (long)&t, 0));
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval it = {.it_value = {0, 20000}};
    setitimer(ITIMER_REAL, &it, NULL);
    SHOW(keeps(SYS_pause, 3, 4));
    SHOW(keeps(99999, 5, 6));
    SHOW(keeps(SYS_sched_yield, 7, 8));
    // Flags: the direction flag is clear after a call, the others are as before.
    unsigned long flags;
    asm volatile("sub $128, %%rsp\n stc\n mov $39, %%eax\n syscall\n pushf\n pop %0\n lea 128(%%rsp), %%rsp\n" : "=r"(flags)::"rax", "rcx", "r11", "cc", "memory");
    SHOW(flags & 1);
    SHOW(flags >> 10 & 1);
    SHOW(flags >> 9 & 1);
    DONE();
}
