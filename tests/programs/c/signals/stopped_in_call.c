// A call that waits while its process is stopped waits on when that continues, and returns what it waited for (signal(7),
// "Interruption of system calls and library functions by stop signals"); a handler of SIGCONT ends it or not as any other.
// machines: all
#include "t.h"
#include <poll.h>
#include <sys/wait.h>

static int in[2];

static ssize_t by_read(void) {
    char byte;
    return read(in[0], &byte, 1);
}

static ssize_t by_poll(void) {
    struct pollfd p = {in[0], POLLIN, 0};
    return poll(&p, 1, -1);
}

static ssize_t by_wait(void) {
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0)
        _exit(by_read() == 1 ? 5 : 6);
    int status = 0;
    pid_t waited = waitpid(child, &status, 0);
    return waited == child ? WEXITSTATUS(status) : -1;
}

static void handler(int signal) { (void)signal; }

static ssize_t with_handler(int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    NEED(sigaction(SIGCONT, &action, NULL) == 0);
    return by_read();
}

static ssize_t with_restart(void) { return with_handler(SA_RESTART); }
static ssize_t without_restart(void) { return with_handler(0); }

static void stop(pid_t child) {
    NEED(kill(child, SIGSTOP) == 0);
    int status;
    NEED(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
}

static void stop_in(const char *name, ssize_t (*call)(void)) {
    NEED(pipe(in) == 0);
    fflush(stdout);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        errno = 0;
        ssize_t result = call();
        printf("%s: %zd %s\n", name, result, result < 0 ? strerrorname_np(errno) : "");
        fflush(stdout);
        _exit(0);
    }
    for (int times = 0; times < 3; times++) {
        WAIT_UNTIL(process_state(child) == 'S');
        stop(child);
        NEED(kill(child, SIGCONT) == 0);
        if (call == without_restart)
            break;
    }
    int status;
    if (call != without_restart)
        NEED(write(in[1], "x", 1) == 1);
    NEED(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    NEED(close(in[0]) == 0 && close(in[1]) == 0);
}

int main(void) {
    stop_in("read", by_read);
    stop_in("poll", by_poll);
    stop_in("waitpid", by_wait);
    stop_in("read, SIGCONT with SA_RESTART", with_restart);
    stop_in("read, SIGCONT without", without_restart);
    DONE();
}
