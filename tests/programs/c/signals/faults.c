// Division by zero, undefined and privileged instructions, breakpoints: each its signal, code and address.
// arch: x86-64
#include "t.h"
#include <setjmp.h>

static sigjmp_buf out;
static int number, code;
static void *where;
static void caught(int signal, siginfo_t *info, void *context) {
    (void)context;
    number = signal;
    code = info->si_code;
    where = info->si_addr;
    siglongjmp(out, 1);
}
#define ATTEMPT(name, statement)                                                                                 \
    if (sigsetjmp(out, 1) == 0) {                                                                                \
        statement;                                                                                               \
        puts(name ": nothing");                                                                                  \
    } else                                                                                                       \
        printf(name ": signal %d code %d\n", number, code)

int main(void) {
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO};
    int signals[] = {SIGSEGV, SIGFPE, SIGILL, SIGBUS, SIGTRAP};
    for (int i = 0; i < 5; i++)
        sigaction(signals[i], &action, NULL);
    volatile int zero = 0;
    volatile int low = INT_MIN;
    ATTEMPT("divide by zero", zero = 100 / zero);
    ATTEMPT("divide overflow", low = low / (zero - 1));
    ATTEMPT("ud2", asm volatile("ud2"));
    ATTEMPT("int3", asm volatile("int3"));
    DONE();
}
