// Calls through pointers that lead nowhere: below, between and above the halves of the address space, and into the kernel's.
// machines: all
#include "t.h"
#include <setjmp.h>

static sigjmp_buf out;
static int number;
static void caught(int signal, siginfo_t *info, void *context) {
    (void)info, (void)context;
    number = signal;
    siglongjmp(out, 1);
}

static void jump(const char *name, uintptr_t address) {
    if (sigsetjmp(out, 1) == 0) {
        ((void (*)(void))address)();
        printf("%s: nothing\n", name);
    } else
        printf("%s: signal %d\n", name, number);
}

int main(void) {
    static char stack[65536];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    NEED(sigaltstack(&alternate, NULL) == 0);
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    for (int signal = SIGILL; signal <= SIGSEGV; signal++)
        if (signal != SIGKILL)
            sigaction(signal, &action, NULL);
    jump("null", 0);
    jump("data", (uintptr_t)stack);
    jump("end of the lower half", 0x7fffffffe000);
    jump("no address, above the lower half", 0x900000000000);
    jump("no address, below the upper half", 0x8000000000000000);
    jump("start of the upper half", 0xffff800000000000);
    jump("upper half", 0xffffc00000000000);
    jump("last 2 GiB", 0xffffffff80000000);
    jump("last page", 0xfffffffffffff000);
    jump("all ones", UINTPTR_MAX);
    DONE();
}
