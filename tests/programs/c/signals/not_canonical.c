// An address that is none has no si_addr: it is a general protection fault, for reads, writes and jumps.
// arch: x86-64
#include "t.h"
#include <setjmp.h>

static sigjmp_buf out;
static siginfo_t seen;
static void caught(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    seen = *info;
    siglongjmp(out, 1);
}

int main(void) {
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    for (int kind = 0; kind < 3; kind++) {
        volatile long *nowhere = (volatile long *)0x8000000000000000;
        if (sigsetjmp(out, 1) == 0) {
            if (kind == 0)
                *nowhere = 1;
            else if (kind == 1)
                (void)*nowhere;
            else
                ((void (*)(void))nowhere)();
        }
        printf("%d: code %d address %lx\n", kind, seen.si_code, (unsigned long)seen.si_addr);
    }
    DONE();
}
