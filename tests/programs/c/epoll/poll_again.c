// poll and select look at a descriptor anew whenever they wake: it may have been closed, or lead elsewhere by then. What
// it led to at first stays open as long as the call takes.
// machines: all
#include "t.h"
#include <poll.h>
#include <pthread.h>
#include <sys/select.h>
#include <sys/socket.h>

static int watched[2], peer, wake[2];

struct call {
    bool selects;
    pid_t tid;
    int result, revents[2];
};

static void *waits(void *argument) {
    struct call *call = argument;
    struct pollfd p[2] = {{.fd = watched[0], .events = POLLIN}, {.fd = wake[0], .events = POLLIN}};
    fd_set in;
    FD_ZERO(&in);
    FD_SET(watched[0], &in);
    FD_SET(wake[0], &in);
    __atomic_store_n(&call->tid, gettid(), __ATOMIC_SEQ_CST);
    call->result = call->selects ? select(FD_SETSIZE, &in, NULL, NULL, NULL) : poll(p, 2, -1);
    call->revents[0] = call->selects ? FD_ISSET(watched[0], &in) : p[0].revents;
    call->revents[1] = call->selects ? FD_ISSET(wake[0], &in) : p[1].revents;
    return NULL;
}

// Has a thread wait, and returns when it sleeps.
static pthread_t start(struct call *call, bool selects) {
    int s[2];
    pthread_t thread;
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 && pipe(wake) == 0);
    watched[0] = s[1], peer = s[0];
    *call = (struct call){.selects = selects};
    NEED(pthread_create(&thread, NULL, waits, call) == 0);
    WAIT_UNTIL(__atomic_load_n(&call->tid, __ATOMIC_SEQ_CST) != 0);
    wait_until_asleep(call->tid);
    return thread;
}

static void finish(pthread_t thread, struct call *call) {
    NEED(pthread_join(thread, NULL) == 0);
    printf("%s: %d, %#x %#x\n", call->selects ? "select" : "poll", call->result, call->revents[0], call->revents[1]);
    close(wake[0]), close(wake[1]), close(peer);
}

// Whether the peer of the watched socket has heard of its end.
static bool peer_has_ended(void) {
    char byte;
    return recv(peer, &byte, 1, MSG_DONTWAIT) == 0;
}

static void closed(bool selects) {
    struct call call;
    pthread_t thread = start(&call, selects);
    close(watched[0]);
    SHOW(peer_has_ended());
    NEED(write(wake[1], "w", 1) == 1);
    finish(thread, &call);

    thread = start(&call, selects);
    close(watched[0]);
    SHOW(send(peer, "x", 1, 0));
    finish(thread, &call);
}

static void replaced(bool selects) {
    struct call call;
    int other[2];
    pthread_t thread = start(&call, selects);
    NEED(pipe(other) == 0 && dup2(other[0], watched[0]) == watched[0]);
    // It wakes by the first, sees that the second has nothing, and sleeps again.
    SHOW(send(peer, "x", 1, 0));
    wait_until_asleep(call.tid);
    NEED(write(wake[1], "w", 1) == 1);
    finish(thread, &call);
    close(watched[0]);

    thread = start(&call, selects);
    NEED(write(other[1], "o", 1) == 1 && dup2(other[0], watched[0]) == watched[0]);
    wait_until_asleep(call.tid);
    SHOW(send(peer, "x", 1, 0));
    finish(thread, &call);
    close(watched[0]), close(other[0]), close(other[1]);
}

static void *closes(void *tid) {
    wait_until_asleep(*(pid_t *)tid);
    close(watched[0]);
    return NULL;
}

static void timed_out(void) {
    pid_t me = gettid();
    pthread_t thread;
    NEED(pipe(watched) == 0);
    struct pollfd p = {.fd = watched[0], .events = POLLIN};
    NEED(pthread_create(&thread, NULL, closes, &me) == 0);
    NEED(pthread_detach(thread) == 0);
    while (poll(&p, 1, 300) == 0) {
    }
    SHOW(p.revents == POLLNVAL);
    close(watched[1]);
}

int main(void) {
    for (int selects = 0; selects < 2; selects++) {
        closed(selects);
        replaced(selects);
    }
    timed_out();
    DONE();
}
