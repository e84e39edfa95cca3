// A handler that can't be given a stack kills the program instead of looping.
#include "t.h"

static void handler(int signal) { (void)signal; }

int main(void) {
    signal(SIGUSR1, handler);
    puts("before");
#ifdef __aarch64__
    asm volatile("mov x0, %0\n mov x1, %1\n mov x9, #0\n mov sp, x9\n mov x8, #129\n svc #0\n" ::"r"((long)getpid()), "r"((long)SIGUSR1)
                 : "x0", "x1", "x8", "x9");
#else
    asm volatile("mov %0, %%rdi\n mov %1, %%rsi\n xor %%esp, %%esp\n mov $62, %%eax\n syscall\n" ::"r"((long)getpid()), "r"((long)SIGUSR1)
                 : "rdi", "rsi", "rax");
#endif
    return 0;
}
