// Accesses to the kernel's half of the addresses: SEGV_MAPERR, and an error code that shows nothing of what lies there.
// modes: protected
// arch: x86-64
#include "t.h"
#include <setjmp.h>
#include <ucontext.h>

static sigjmp_buf back;
static volatile long long trap, code;
static volatile int si_code;

static void handler(int signal, siginfo_t *info, void *context) {
    (void)signal;
    ucontext_t *at = context;
    trap = at->uc_mcontext.gregs[REG_TRAPNO];
    code = at->uc_mcontext.gregs[REG_ERR];
    si_code = info->si_code;
    siglongjmp(back, 1);
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    NEED(sigaction(SIGSEGV, &action, NULL) == 0);
    const uintptr_t addresses[] = {0xffff800000000000, 0xffffffff80000000, 0xfffffffffffff000};
    for (int i = 0; i < 3; i++)
        for (int kind = 0; kind < 3; kind++) {
            volatile char *at = (volatile char *)addresses[i];
            if (sigsetjmp(back, 1) == 0) {
                if (kind == 0)
                    (void)*at;
                else if (kind == 1)
                    *at = 1;
                else
                    ((void (*)(void))at)();
            }
            printf("%d %d: code %d, trap %lld, error %llx\n", i, kind, si_code, trap, code);
        }
    DONE();
}
