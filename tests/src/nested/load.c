// The load of `make bench-kvm`, for the first level: so many GETs over so many connections of memcached, each of which
// asks again when its answer is there. Once all are connected and warm, and again at the end, it runs a command.
// load ADDRESS PORT CONNECTIONS OPERATIONS BEFORE AFTER
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { VALUE = 1024, MAX = 256, START_S = 60 };
static struct sockaddr_in server = {.sin_family = AF_INET};
static int epoll, sockets[MAX], left[MAX];
// The length of an answer: its first line, the value, the last lines.
static int answer;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

// The guest may not be there yet.
static int dial(void) {
    for (int tries = 0;; tries++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
        if (connect(fd, (void *)&server, sizeof server) == 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            return fd;
        }
        if (tries == START_S * 100)
            fail("connect");
        close(fd);
        usleep(10000);
    }
}

static void ask(int i) {
    if (write(sockets[i], "get k\r\n", 7) != 7)
        fail("write");
    left[i] = answer;
}

// Asks on all connections, and again until `operations` answers are there.
static void run(int connections, int operations) {
    int asked = connections < operations ? connections : operations;
    for (int i = 0; i < asked; i++)
        ask(i);
    for (int done = 0; done < operations;) {
        struct epoll_event events[MAX];
        int n = epoll_wait(epoll, events, MAX, 60000);
        if (n <= 0 && errno != EINTR)
            fail("no answer");
        for (int e = 0; e < n; e++) {
            int i = events[e].data.u32;
            char buffer[4096];
            ssize_t got = read(sockets[i], buffer, sizeof buffer);
            if (got <= 0)
                fail("read");
            if ((left[i] -= got) < 0)
                fail("too long an answer");
            if (left[i] == 0) {
                done++;
                if (asked < operations)
                    ask(i), asked++;
            }
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 7)
        return 2;
    int connections = atoi(argv[3]), operations = atoi(argv[4]);
    inet_aton(argv[1], &server.sin_addr);
    server.sin_port = htons(atoi(argv[2]));
    epoll = epoll_create1(0);
    for (int i = 0; i < connections && i < MAX; i++) {
        struct epoll_event event = {EPOLLIN, {.u32 = i}};
        sockets[i] = dial();
        epoll_ctl(epoll, EPOLL_CTL_ADD, sockets[i], &event);
    }
    char text[VALUE + 64], stored[16], first[32];
    int head = sprintf(text, "set k 0 0 %d\r\n", VALUE);
    memset(text + head, 'v', VALUE);
    strcpy(text + head + VALUE, "\r\n");
    if (write(sockets[0], text, head + VALUE + 2) < 0 || read(sockets[0], stored, sizeof stored) != 8)
        fail("set");
    answer = sprintf(first, "VALUE k 0 %d\r\n", VALUE) + VALUE + 7;
    run(connections, 2 * connections);
    if (system(argv[5]))
        fail(argv[5]);
    run(connections, operations);
    if (system(argv[6]))
        fail(argv[6]);
    return 0;
}
