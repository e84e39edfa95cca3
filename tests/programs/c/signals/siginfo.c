// SA_SIGINFO handlers see sender, code, value and a machine context they can read and change.
#include "t.h"
#include <ucontext.h>

#ifdef __aarch64__
#define PC(context) (context)->uc_mcontext.pc
#define SP(context) (context)->uc_mcontext.sp
#define FIRST(context) (context)->uc_mcontext.regs[0]
#else
#define PC(context) (context)->uc_mcontext.gregs[REG_RIP]
#define SP(context) (context)->uc_mcontext.gregs[REG_RSP]
#define FIRST(context) (context)->uc_mcontext.gregs[REG_RAX]
#endif

static volatile int done;
static void handler(int signal, siginfo_t *info, void *context) {
    printf("signal %d code %d mine %d value %d\n", signal == SIGUSR1 ? 1 : signal == SIGUSR2 ? 2 : 3, info->si_code,
           info->si_pid == getpid() && info->si_uid == getuid(), info->si_code == SI_QUEUE ? info->si_value.sival_int : 0);
    ucontext_t *u = context;
    CHECK(PC(u) != 0 && SP(u) != 0);
#ifdef __x86_64__
    CHECK((u->uc_mcontext.gregs[REG_EFL] & 0x200) != 0);
    CHECK(u->uc_mcontext.fpregs != NULL);
#endif
    done++;
}
static void skips(int signal, siginfo_t *info, void *context) {
    (void)signal;
    ucontext_t *u = context;
    CHECK((uintptr_t)info->si_addr == (uintptr_t)PC(u));
    PC(u) += UNDEFINED_LENGTH;
    FIRST(u) = 1234;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    kill(getpid(), SIGUSR1);
    raise(SIGUSR2);
    SHOW(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 99}));
    SHOW(done);
    action.sa_sigaction = skips;
    sigaction(SIGILL, &action, NULL);
#ifdef __aarch64__
    register long first asm("x0") = 0;
#else
    register long first asm("rax") = 0;
#endif
    asm volatile(UNDEFINED : "+r"(first));
    const long changed = first;
    SHOW(changed);
    DONE();
}
