// A handler that can't be given a stack kills the program instead of looping.
#include "t.h"

static void handler(int signal) { (void)signal; }

int main(void) {
    signal(SIGUSR1, handler);
    puts("before");
    asm volatile("mov %0, %%rdi\n mov %1, %%rsi\n xor %%esp, %%esp\n mov $62, %%eax\n syscall\n" ::"r"((long)getpid()), "r"((long)SIGUSR1)
                 : "rdi", "rsi", "rax");
    return 0;
}
