// Timers of two processes that share a CPU, while one of them makes system calls without a pause: each gets its SIGALRM.
// link: static
// machines: all
#include "t.h"
#include <sched.h>
#include <sys/time.h>
#include <sys/wait.h>

#define ROUNDS 10
#define ALARM_US 50000

static volatile sig_atomic_t stop;
static void handler(int signal) {
    (void)signal;
    stop = 1;
}

static void set_alarm(void) {
    struct itimerval once = {{0, 0}, {0, ALARM_US}};
    CHECK(setitimer(ITIMER_REAL, &once, NULL) == 0);
}

int main(void) {
    // With SA_RESTART no call of this test fails, whenever the signal comes.
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    int stopped = 0, alarmed = 0;
    for (int i = 0; i < ROUNDS; i++) {
        stop = 0;
        set_alarm();
        pid_t child = fork();
        if (child == 0) {
            // Timers are not inherited (setitimer(2)).
            stop = 0;
            set_alarm();
            cpu_set_t first;
            CPU_ZERO(&first);
            CPU_SET(0, &first);
            while (!stop)
                sched_setaffinity(0, sizeof first, &first);
            _exit(7);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        stopped += WIFEXITED(status) && WEXITSTATUS(status) == 7;
        while (!stop)
            usleep(1000);
        alarmed++;
    }
    SHOW(stopped);
    SHOW(alarmed);
    DONE();
}
