// SA_SIGINFO handlers see sender, code, value and a machine context they can read and change.
#include "t.h"
#include <ucontext.h>

static volatile int done;
static void handler(int signal, siginfo_t *info, void *context) {
    printf("signal %d code %d mine %d value %d\n", signal == SIGUSR1 ? 1 : signal == SIGUSR2 ? 2 : 3, info->si_code,
           info->si_pid == getpid() && info->si_uid == getuid(), info->si_code == SI_QUEUE ? info->si_value.sival_int : 0);
    ucontext_t *u = context;
    CHECK(u->uc_mcontext.gregs[REG_RIP] != 0 && u->uc_mcontext.gregs[REG_RSP] != 0);
    CHECK((u->uc_mcontext.gregs[REG_EFL] & 0x200) != 0);
    CHECK(u->uc_mcontext.fpregs != NULL);
    done++;
}
static void skips(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    ucontext_t *u = context;
    u->uc_mcontext.gregs[REG_RIP] += 2; // the length of ud2
    u->uc_mcontext.gregs[REG_RAX] = 1234;
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
    long rax = 0;
    asm volatile("ud2" : "+a"(rax));
    SHOW(rax);
    DONE();
}
