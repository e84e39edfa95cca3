// INT with the number of an interrupt that no device has is nothing to the machine: threads sleep and wake afterwards as before. Linux and
// protected programs get SIGSEGV for it, which skips the instruction; a program in unikernel mode raises the interrupt.
// arch: x86-64
// machines: all
#include "t.h"
#include <ucontext.h>

static void skip(int signal, siginfo_t *info, void *context) {
    enum { INT_BYTES = 2 };
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += INT_BYTES;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = skip, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    asm volatile("int $0x58");
    struct timespec pause = {.tv_nsec = 20000000};
    for (int i = 0; i < 3; i++)
        CHECK(nanosleep(&pause, NULL) == 0);
    printf("slept\n");
    DONE();
}
