// Every call that waits for a socket, against every event that may end the wait: a waiter that is not woken stays asleep.
//
// A program lists scenes (how a socket comes into a state), and what may happen to it. Each pair is tried with each call that waits,
// and once without any, to show what the socket does after it.
#ifndef WAITERS_H
#define WAITERS_H

#include "net.h"
#include <pthread.h>
#include <sys/epoll.h>

// The calls that wait. `MUCH` sends more than any buffer takes.
enum call { NO_CALL, RECV, PEEK, ALL, ACCEPT, CONNECT, MUCH, POLL, EDGE, CALLS };
static const char *const call_names[] = {"nothing", "recv",    "peek", "recv all", "accept",
                                         "connect", "send much", "poll", "epoll"};
#define CALL(c) (1u << (c))
#define WATCHERS (CALL(NO_CALL) | CALL(POLL) | CALL(EDGE))
#define RECEIVERS (CALL(RECV) | CALL(PEEK) | CALL(ALL))

enum event {
    SHUT_READ, SHUT_WRITE, SHUT_BOTH, SHUT_BADLY, UNCONNECT,
    PEER_SHUT_READ, PEER_SHUT_WRITE, PEER_SHUT_BOTH, PEER_CLOSE, PEER_SEND, EVENTS
};
static const char *const event_names[] = {"shutdown RD",  "shutdown WR",  "shutdown RDWR",  "shutdown 9",
                                          "connect to none", "peer's RD", "peer's WR",
                                          "peer's RDWR",  "peer's close", "peer's data"};
#define EVENT(e) (1u << (e))
#define OWN_EVENTS (EVENT(UNCONNECT + 1) - 1)

struct scene {
    const char *name;
    void (*make)(int fd[2]); // [0] the socket, [1] its peer, if there is one
    unsigned calls, events;
};

// The events of poll that are shown. The normal and band bits follow IN and OUT; `poll_bits` shows them.
enum { SHOWN = POLLIN | POLLPRI | POLLOUT | POLLERR | POLLHUP | POLLRDHUP };

static void show_bits(int bits) {
    static const struct { int bit; const char *name; } names[] = {{POLLIN, "IN"}, {POLLPRI, "PRI"}, {POLLOUT, "OUT"},
                                                                  {POLLERR, "ERR"}, {POLLHUP, "HUP"}, {POLLRDHUP, "RDHUP"}};
    const char *before = "[";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (bits & names[i].bit)
            printf("%s%s", before, names[i].name), before = " ";
    printf("%s]", *before == '[' ? "[" : "");
}

static void show_result(const char *what, long result) {
    if (result < 0)
        printf(" %s=%s", what, t_errno(errno));
    else
        printf(" %s=%ld", what, result);
}

static void show_state(int fd) {
    putchar(' ');
    show_bits(events_of(fd, SHOWN, 0));
}

// The waiter's call, and what came of it.
static struct {
    enum call call;
    int fd, set, error, bits;
    long result;
    _Atomic long tid;
    _Atomic int done;
} waiter;

// Where a call of `CONNECT` goes.
static struct sockaddr_in connect_to;

enum { MUCH_BYTES = 16 << 20 };
static char much[MUCH_BYTES];

static void *wait_in_call(void *unused) {
    char bytes[16];
    struct pollfd poll_for = {.fd = waiter.fd, .events = (short)(SHOWN & ~events_of(waiter.fd, SHOWN, 0))};
    struct epoll_event event = {.events = 0};
    waiter.tid = gettid();
    errno = 0;
    switch (waiter.call) {
    case RECV: waiter.result = recv(waiter.fd, bytes, sizeof bytes, 0); break;
    case PEEK: waiter.result = recv(waiter.fd, bytes, sizeof bytes, MSG_PEEK); break;
    case ALL: waiter.result = recv(waiter.fd, bytes, sizeof bytes, MSG_WAITALL); break;
    case ACCEPT: waiter.result = accept(waiter.fd, NULL, NULL); break;
    case CONNECT: waiter.result = connect(waiter.fd, ADDR(connect_to)); break;
    case MUCH: waiter.result = send(waiter.fd, much, sizeof much, MSG_NOSIGNAL); break;
    case POLL: waiter.result = poll(&poll_for, 1, -1), waiter.bits = poll_for.revents; break;
    case EDGE: waiter.result = epoll_wait(waiter.set, &event, 1, -1), waiter.bits = (int)event.events; break;
    case NO_CALL: case CALLS: break;
    }
    waiter.error = errno;
    waiter.done = 1;
    return unused;
}

static void interrupt(int signal) { (void)signal; }

static pthread_t start_waiter(enum call call, int fd) {
    waiter.call = call, waiter.fd = fd, waiter.bits = 0;
    waiter.tid = 0;
    waiter.done = 0;
    if (call == EDGE) {
        // What holds already is taken, so that only a change is told of.
        struct epoll_event event = {.events = EPOLLET | SHOWN};
        NEED((waiter.set = epoll_create1(0)) >= 0);
        NEED(epoll_ctl(waiter.set, EPOLL_CTL_ADD, fd, &event) == 0);
        NEED(epoll_wait(waiter.set, &event, 1, 0) >= 0);
    }
    pthread_t thread;
    NEED(pthread_create(&thread, NULL, wait_in_call, NULL) == 0);
    WAIT_UNTIL(waiter.tid != 0);
    WAIT_UNTIL_ASLEEP(waiter.done ? 'S' : thread_state(waiter.tid));
    if (waiter.done)
        printf(" (at once)");
    return thread;
}

static void end_waiter(pthread_t thread) {
    // One that was woken runs until it is done; one that sleeps on is interrupted.
    WAIT_UNTIL_ASLEEP(waiter.done ? 'S' : thread_state(waiter.tid));
    if (!waiter.done)
        printf(" asleep");
    while (!waiter.done) {
        pthread_kill(thread, SIGUSR1);
        sleep_ms(1);
    }
    NEED(pthread_join(thread, NULL) == 0);
    if (waiter.call == MUCH && waiter.result > 0)
        printf(" -> some");
    else if (waiter.result < 0)
        printf(" -> %s", t_errno(waiter.error));
    else
        printf(" -> %ld", waiter.result);
    if (waiter.result > 0 && (waiter.call == POLL || waiter.call == EDGE))
        putchar(' '), show_bits(waiter.bits & SHOWN);
    if (waiter.call == ACCEPT && waiter.result >= 0)
        close((int)waiter.result);
    if (waiter.call == EDGE)
        close(waiter.set);
}

static void make_happen(enum event event, int fd[2]) {
    struct sockaddr_in none = {.sin_family = AF_UNSPEC};
    long result = 0;
    int arrives = 0;
    switch (event) {
    case SHUT_READ: case SHUT_WRITE: case SHUT_BOTH: result = shutdown(fd[0], (int)event); break;
    case SHUT_BADLY: result = shutdown(fd[0], 9); break;
    case UNCONNECT: result = connect(fd[0], ADDR(none)); break;
    case PEER_SHUT_READ: case PEER_SHUT_WRITE: case PEER_SHUT_BOTH:
        result = shutdown(fd[1], (int)(event - PEER_SHUT_READ));
        arrives = event == PEER_SHUT_READ ? 0 : POLLRDHUP;
        break;
    case PEER_CLOSE: result = close(fd[1]), fd[1] = -1, arrives = POLLRDHUP; break;
    case PEER_SEND: result = send(fd[1], "xyz", 3, MSG_NOSIGNAL), arrives = POLLIN; break;
    case EVENTS: break;
    }
    show_result(event_names[event], result);
    int type = 0, domain = 0;
    socklen_t length = sizeof type;
    NEED(getsockopt(fd[0], SOL_SOCKET, SO_TYPE, &type, &length) == 0);
    NEED(getsockopt(fd[0], SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0);
    // What a peer does arrives when the network has carried it.
    if (arrives && domain == AF_INET && (type == SOCK_STREAM || event == PEER_SEND))
        WAIT_UNTIL(waiter.done || events_of(fd[0], arrives, 0));
}

// What the socket does after the event, without waiting. `again` shows what it can still be used for.
static void show_after(int fd[2], void (*again)(int)) {
    char bytes[16];
    show_state(fd[0]);
    show_result("recv", recv(fd[0], bytes, sizeof bytes, MSG_DONTWAIT));
    show_result("recv", recv(fd[0], bytes, sizeof bytes, MSG_DONTWAIT));
    show_state(fd[0]);
    if (fd[1] >= 0)
        return;
    show_result("send", send(fd[0], "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL));
    NEED(fcntl(fd[0], F_SETFL, O_NONBLOCK) == 0);
    show_result("accept", accept(fd[0], NULL, NULL));
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    show_result("peer", getpeername(fd[0], (struct sockaddr *)&name, &length));
    int value;
    length = sizeof value;
    NEED(getsockopt(fd[0], SOL_SOCKET, SO_ACCEPTCONN, &value, &length) == 0);
    printf(" listens=%d", value);
    NEED(fcntl(fd[0], F_SETFL, 0) == 0);
    if (again)
        again(fd[0]);
}

static void try_all(const struct scene *scenes, size_t count, void (*again)(int)) {
    struct sigaction action = {.sa_handler = interrupt};
    NEED(sigaction(SIGUSR1, &action, NULL) == 0);
    for (const struct scene *scene = scenes; scene < scenes + count; scene++)
        for (enum event event = 0; event < EVENTS; event++)
            for (enum call call = NO_CALL; call < CALLS; call++) {
                if (!(scene->calls & CALL(call)) || !(scene->events & EVENT(event)))
                    continue;
                int fd[2] = {-1, -1};
                scene->make(fd);
                printf("%s, %s:", scene->name, call_names[call]);
                waiter.done = 0;
                if (call == NO_CALL) {
                    make_happen(event, fd);
                    show_after(fd, again);
                } else {
                    pthread_t thread = start_waiter(call, fd[0]);
                    make_happen(event, fd);
                    end_waiter(thread);
                }
                puts("");
                close(fd[0]);
                if (fd[1] >= 0)
                    close(fd[1]);
            }
}

#endif
