// Short sleeps of one process beside another that does nothing but system calls: every sleep ends, although the timer's
// interrupt comes at every instruction of the way into a call and out of it in its turn.
// link: static
// machines: all
#include "t.h"
#include <sys/wait.h>

#define SLEEPS 1000
#define SLEEP_NS 200000

int main(void) {
    pid_t caller = fork();
    if (caller == 0)
        for (;;)
            getppid();
    CHECK(caller > 0);
    struct timespec nap = {0, SLEEP_NS};
    int ended = 0;
    for (int i = 0; i < SLEEPS; i++)
        ended += nanosleep(&nap, NULL) == 0;
    SHOW(ended);
    SHOW(kill(caller, SIGKILL));
    int status;
    CHECK(waitpid(caller, &status, 0) == caller);
    SHOW(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    DONE();
}
