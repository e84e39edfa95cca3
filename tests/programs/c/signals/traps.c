// An undefined instruction and a breakpoint: each its signal, its code, and where it happened, as Linux tells on each architecture.
#include "t.h"
#include <setjmp.h>

static sigjmp_buf out;
static volatile int number, code;
static char *volatile where;
static void caught(int signal, siginfo_t *info, void *context) {
    (void)context;
    number = signal;
    code = info->si_code;
    where = info->si_addr;
    siglongjmp(out, 1);
}

extern char undefined_here[], breakpoint_here[];
__attribute__((noinline, noclone)) static void undefined(void) { asm volatile(".globl undefined_here\nundefined_here: " UNDEFINED); }
__attribute__((noinline, noclone)) static void breakpoint(void) {
#ifdef __aarch64__
    asm volatile(".globl breakpoint_here\nbreakpoint_here: brk #0");
#else
    asm volatile(".globl breakpoint_here\nbreakpoint_here: int3");
#endif
}

int main(void) {
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGTRAP, &action, NULL);
#ifdef __aarch64__
    const int of_undefined = ILL_ILLOPC, of_breakpoint = TRAP_BRKPT;
    const char *at_breakpoint = breakpoint_here;
#else
    const int of_undefined = ILL_ILLOPN, of_breakpoint = SI_KERNEL;
    const char *at_breakpoint = NULL;
#endif
    if (sigsetjmp(out, 1) == 0)
        undefined();
    SHOW(number);
    SHOW(code == of_undefined);
    SHOW(where == undefined_here);
    if (sigsetjmp(out, 1) == 0)
        breakpoint();
    SHOW(number);
    SHOW(code == of_breakpoint);
    SHOW(where == at_breakpoint);
    DONE();
}
