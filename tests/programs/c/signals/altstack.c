// sigaltstack: handlers run there, it reports that it is in use, and can be given back.
#include "t.h"

static char stack[65536];
static volatile int on;
static void handler(int signal) {
    (void)signal;
    char here;
    on = &here >= stack && &here < stack + sizeof stack;
    stack_t s;
    SHOW(sigaltstack(NULL, &s));
    SHOW(s.ss_flags);
    s.ss_flags = 0;
    s.ss_size = 8192;
    if (on)
        SHOW(sigaltstack(&s, NULL));
    if (on == 1 && signal == SIGUSR1)
        raise(SIGUSR2);
}

int main(void) {
    stack_t s = {.ss_sp = stack, .ss_size = sizeof stack}, old;
    SHOW(sigaltstack(&s, &old));
    SHOW(old.ss_flags == SS_DISABLE);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    raise(SIGUSR1);
    SHOW(on);
    action.sa_flags = 0;
    sigaction(SIGUSR2, &action, NULL);
    raise(SIGUSR2);
    SHOW(on);
    s.ss_size = 100;
    SHOW(sigaltstack(&s, NULL));
    s.ss_flags = 77;
    SHOW(sigaltstack(&s, NULL));
    s.ss_flags = SS_DISABLE;
    SHOW(sigaltstack(&s, NULL));
    action.sa_flags = SA_ONSTACK;
    sigaction(SIGUSR2, &action, NULL);
    raise(SIGUSR2);
    SHOW(on);
    DONE();
}
