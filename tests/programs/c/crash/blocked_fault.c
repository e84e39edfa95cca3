// A fault whose signal is blocked kills all the same.
#include "t.h"

int main(void) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    signal(SIGSEGV, SIG_IGN);
    puts("before");
    *(volatile int *)0 = 1;
    return 0;
}
