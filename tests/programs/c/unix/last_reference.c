// A call uses a description whose only descriptor another thread closes meanwhile: the description is closed when the call is over, and before its
// thread runs on.
// machines: all
#include "net.h"
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/file.h>

// The end that a thread reads from, and the other one.
static int ends[2];

static struct {
    _Atomic long tid;
    _Atomic int done;
    long result;
    int events, locked;
} reader;

static void *read_one(void *other_lock) {
    char byte;
    reader.tid = gettid();
    reader.result = read(ends[0], &byte, 1);
    // Nothing comes between the call and these.
    reader.events = events_of(ends[1], POLLIN | POLLRDHUP, 0);
    reader.locked = flock(*(int *)other_lock, LOCK_EX | LOCK_NB);
    reader.done = 1;
    return NULL;
}

static void try_ends(const char *name, int other_lock, bool at_once) {
    printf("%s\n", name);
    int set = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = ends[0]}, seen;
    NEED(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event) == 0);
    reader.tid = 0;
    reader.done = 0;
    pthread_t thread;
    NEED(pthread_create(&thread, NULL, read_one, &other_lock) == 0);
    WAIT_UNTIL(reader.tid != 0);
    WAIT_UNTIL_ASLEEP(reader.done ? 'S' : thread_state(reader.tid));
    int number = ends[0];
    SHOW(close(number));
    // The description is open as long as the call uses it.
    SHOW(events_of(ends[1], POLLIN | POLLRDHUP, 0));
    SHOW(epoll_wait(set, &seen, 1, 0));
    SHOW(write(ends[1], "x", 1));
    NEED(pthread_join(thread, NULL) == 0);
    SHOW(reader.result);
    SHOW(reader.locked);
    if (at_once)
        SHOW(reader.events);
    else
        WAIT_UNTIL(events_of(ends[1], POLLRDHUP, 0) == POLLRDHUP);
    // The set has forgotten it, so that its number is free for another there.
    SHOW(epoll_wait(set, &seen, 1, 0));
    NEED(dup2(ends[1], number) == number);
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, number, &event));
    close(number), close(ends[1]), close(set);
}

int main(void) {
    enter_scratch();
    int unlocked = open(".", O_RDONLY);
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    try_ends("a pair of sockets", unlocked, true);
    NEED(pipe(ends) == 0);
    try_ends("a pipe", unlocked, true);
    const char *path = "fifo";
    NEED(mkfifo(path, 0600) == 0);
    NEED((ends[0] = open(path, O_RDONLY | O_NONBLOCK)) >= 0);
    NEED((ends[1] = open(path, O_WRONLY)) >= 0);
    NEED(fcntl(ends[0], F_SETFL, 0) == 0);
    NEED(flock(ends[0], LOCK_EX) == 0);
    int other_lock = open(path, O_RDWR);
    SHOW(flock(other_lock, LOCK_EX | LOCK_NB));
    // A lock of the description goes with it. Another end that is open for reading keeps the pipe whole.
    try_ends("a pipe with a name and a lock", other_lock, true);
    close(other_lock);
    tcp_pair(ends);
    try_ends("a TCP connection", unlocked, false);
    DONE();
}
