// SIGKILL ends a stopped process, be it sent to the process or to one of its threads; other signals wait until it goes on.
// machines: all
#include "t.h"
#include <pthread.h>
#include <sys/wait.h>

static void handler(int signal) { (void)signal; }

static void *sleeper(void *unused) {
    for (;;)
        pause();
    return unused;
}

static pid_t stopped_child(int threads, int stop) {
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        pthread_t t;
        for (int i = 0; i < threads; i++)
            NEED(pthread_create(&t, NULL, sleeper, NULL) == 0);
        signal(SIGUSR1, handler);
        kill(getpid(), stop);
        for (;;)
            pause();
    }
    int status;
    NEED(waitpid(child, &status, WUNTRACED) == child);
    printf("stopped by the signal: %d\n", WIFSTOPPED(status) && WSTOPSIG(status) == stop);
    return child;
}

static void show_end(pid_t child) {
    int status;
    NEED(waitpid(child, &status, 0) == child);
    printf("killed %d by %d\n", WIFSIGNALED(status), WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

int main(void) {
    for (int threads = 0; threads < 4; threads++) {
        pid_t child = stopped_child(threads, SIGSTOP);
        SHOW(kill(child, SIGKILL));
        show_end(child);
    }
    pid_t child = stopped_child(2, SIGSTOP);
    SHOW(syscall(SYS_tgkill, child, child, SIGKILL));
    show_end(child);

    // SIGTERM waits until the process goes on; SIGUSR1 does not let it go on.
    child = stopped_child(1, SIGSTOP);
    SHOW(kill(child, SIGUSR1));
    SHOW(kill(child, SIGTERM));
    sleep_ms(20);
    SHOW(waitpid(child, NULL, WNOHANG));
    SHOW(kill(child, SIGCONT));
    show_end(child);
    DONE();
}
