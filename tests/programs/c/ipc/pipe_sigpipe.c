// Writing to a pipe that nobody reads raises SIGPIPE, or fails with EPIPE where that is ignored or handled.
#include "t.h"
#include <poll.h>

static volatile int caught;
static void handler(int signal) { caught = signal; }

int main(void) {
    int p[2];
    NEED(pipe(p) == 0);
    close(p[0]);
    signal(SIGPIPE, handler);
    SHOW(write(p[1], "x", 1));
    SHOW(caught == SIGPIPE);
    signal(SIGPIPE, SIG_IGN);
    SHOW(write(p[1], "x", 1));
    struct pollfd f = {.fd = p[1], .events = POLLOUT};
    SHOW(poll(&f, 1, 0));
    SHOW(f.revents);
    signal(SIGPIPE, SIG_DFL);
    puts("now with the default action");
    write(p[1], "x", 1);
    puts("never printed");
    return 0;
}
