/* Makes 200,000 calls, numbered by an argument, as fast as it can once it gets SIGUSR1, says so, and waits for ever. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
    sigset_t set;
    int signal;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    puts("ready");
    fflush(stdout);
    sigwait(&set, &signal);
    for (long i = 0; i < 200000; i++) {
        lseek(-1, i, SEEK_SET);
    }
    puts("done");
    fflush(stdout);
    for (;;) {
        pause();
    }
}
