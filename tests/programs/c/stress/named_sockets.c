// Threads that name, listen on, connect, accept, shut down and replace the same AF_UNIX sockets at once: also a socket that
// connects to itself, and two that connect to each other.
// machines: all
// flags: -pthread
#include "stress.h"
#include <sys/socket.h>
#include <sys/un.h>

enum { FIRST = 100, SOCKETS = 4 };

static socklen_t named(struct sockaddr_un *address, unsigned number) {
    address->sun_family = AF_UNIX;
    int length = snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "coracle-%d-%u", getpid(), number);
    return offsetof(struct sockaddr_un, sun_path) + 1 + length;
}

static void replace(int fd) {
    int new = socket(AF_UNIX, (below(3) ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_NONBLOCK, 0);
    if (new >= 0) {
        dup2(new, fd);
        close(new);
    }
}

static void stress_step(unsigned thread) {
    (void)thread;
    struct sockaddr_un address = {0};
    unsigned number = below(SOCKETS);
    int fd = FIRST + (int)number;
    // Mostly to itself.
    socklen_t length = named(&address, below(3) ? number : below(SOCKETS));
    switch (below(12)) {
    case 0: replace(fd); break;
    case 1:
    case 2: bind(fd, (struct sockaddr *)&address, length); break;
    case 3:
    case 4: listen(fd, (int)below(3)); break;
    case 5: {
        int accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
        if (accepted >= 0)
            close(accepted);
        break;
    }
    case 6: shutdown(fd, (int)below(3)); break;
    default: connect(fd, (struct sockaddr *)&address, length); break;
    }
}

int main(void) {
    for (int i = 0; i < SOCKETS; i++)
        replace(FIRST + i);
    stress();
    DONE();
}
