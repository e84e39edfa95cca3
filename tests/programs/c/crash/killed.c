// SIGKILL can't be blocked: status 137.
#include "t.h"

int main(void) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    puts("bye");
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}
