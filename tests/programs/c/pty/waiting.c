// Waiting for a pseudo-terminal: VMIN and VTIME, O_NONBLOCK, poll(2), epoll(7), O_ASYNC, and ends that close meanwhile (termios(3),
// "Canonical and noncanonical mode").
// machines: all
#include "pty.h"
#include <sys/epoll.h>

static struct pair pair;

static pid_t reader(const char *what, int fd, size_t most) {
    fflush(stdout);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        close(fd == pair.slave ? pair.master : pair.slave);
        show_read(what, fd, most);
        exit(0);
    }
    WAIT_UNTIL_ASLEEP(process_state(child));
    return child;
}

static void fewest(void) {
    set_raw(pair.slave);
    set_waits(pair.slave, 0, 0);
    show_read("nothing, VMIN 0", pair.slave, 10);
    set_waits(pair.slave, 0, 1);
    show_read("nothing in time", pair.slave, 10);
    fcntl(pair.slave, F_SETFL, O_RDWR | O_NONBLOCK);
    show_read("nothing, O_NONBLOCK", pair.slave, 10);
    set_waits(pair.slave, 0, 0);
    show_read("nothing, VMIN 0, O_NONBLOCK", pair.slave, 10);
    set_waits(pair.slave, 3, 0);
    show_read("nothing, VMIN 3, O_NONBLOCK", pair.slave, 10);
    type(pair.master, "ab");
    WAIT_UNTIL(waiting(pair.slave) == 2);
    show_events("two of three", pair.slave);
    show_read("two of three", pair.slave, 10);
    fcntl(pair.slave, F_SETFL, O_RDWR);
    pid_t child = reader("three in pieces", pair.slave, 10);
    type(pair.master, "a");
    WAIT_UNTIL_ASLEEP(process_state(child));
    type(pair.master, "bc");
    show_end("reader", child);
    type(pair.master, "abc");
    WAIT_UNTIL(waiting(pair.slave) == 3);
    show_events("three of three", pair.slave);
    show_read("fewer than VMIN are asked for", pair.slave, 2);
    set_waits(pair.slave, 3, 1);
    show_events("one, VTIME", pair.slave);
    show_read("one, VTIME", pair.slave, 10);
    child = reader("the first starts the time", pair.slave, 10);
    type(pair.master, "a");
    show_end("reader", child);
    // Until the next byte comes, a timer alone does not end it; a signal does.
    set_waits(pair.slave, 1, 0);
    SHOW(read(pair.slave, NULL, 0));
    SHOW(write(pair.slave, NULL, 0));
    type(pair.master, "abc");
    WAIT_UNTIL(waiting(pair.slave) == 3);
    SHOW(read(pair.slave, (void *)8, 1));
    SHOW(write(pair.slave, (void *)8, 1));
    SHOW(write(pair.master, (void *)8, 1));
    tcflush(pair.slave, TCIFLUSH);
}

static void full(void) {
    // Both directions end in EAGAIN, and go on when the other end has read.
    fcntl(pair.master, F_SETFL, O_RDWR | O_NONBLOCK);
    fcntl(pair.slave, F_SETFL, O_RDWR | O_NONBLOCK);
    for (int up = 0; up < 2; up++) {
        int from = up ? pair.slave : pair.master, to = up ? pair.master : pair.slave;
        char bytes[1000];
        memset(bytes, 'x', sizeof bytes);
        size_t written = 0, got = 0;
        ssize_t more = 0;
        // On Linux bytes move on some time after they were written.
        for (int tries = 0; tries < 20; tries++, sleep_ms(1))
            while ((more = write(from, bytes, sizeof bytes)) > 0)
                written += (size_t)more;
        SHOW(more);
        SHOW(written >= 4096 && written < 300000);
        show_events("full", from);
        while (got < written) {
            await(to, POLLIN);
            more = read(to, bytes, sizeof bytes);
            NEED(more > 0);
            got += (size_t)more;
        }
        SHOW(got == written);
        await(from, POLLOUT);
        show_events("empty", from);
    }
    fcntl(pair.master, F_SETFL, O_RDWR);
    fcntl(pair.slave, F_SETFL, O_RDWR);
}

static void sets(void) {
    int set = epoll_create1(0);
    NEED(set >= 0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = 1};
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, pair.slave, &event));
    event.data.u32 = 2;
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, pair.master, &event));
    SHOW(epoll_wait(set, &event, 1, 0));
    type(pair.master, "ab");
    SHOW(epoll_wait(set, &event, 1, -1));
    SHOW(event.data.u32);
    SHOW(epoll_wait(set, &event, 1, 0));
    NEED(write(pair.slave, "x", 1) == 1);
    SHOW(epoll_wait(set, &event, 1, -1));
    SHOW(event.data.u32);
    show_read("slave", pair.slave, 10);
    show_read("master", pair.master, 10);
    close(set);
}

static volatile sig_atomic_t caught;
static void note(int signal) { caught = signal; }

static void signals(void) {
    signal(SIGIO, note);
    NEED(fcntl(pair.slave, F_SETOWN, getpid()) == 0);
    SHOW(fcntl(pair.slave, F_SETFL, O_RDWR | O_ASYNC));
    type(pair.master, "z");
    WAIT_UNTIL(caught == SIGIO);
    NEED(fcntl(pair.slave, F_SETFL, O_RDWR) == 0);
    show_read("slave", pair.slave, 10);
}

static void ends(void) {
    pid_t child = reader("the slave closes", pair.master, 10);
    close(pair.slave);
    show_end("reader", child);
    show_events("master", pair.master);
    pair.slave = open(pair.name, O_RDWR | O_NOCTTY);
    NEED(pair.slave >= 0);
    child = reader("the master closes", pair.slave, 10);
    close(pair.master);
    show_end("reader", child);
    show_events("slave", pair.slave);
    close(pair.slave);
    pair = new_pair();
    SHOW(tcflow(pair.slave, TCOOFF));
    child = fork();
    NEED(child >= 0);
    if (child == 0) {
        close(pair.master);
        SHOW(write(pair.slave, "x", 1));
        exit(0);
    }
    WAIT_UNTIL_ASLEEP(process_state(child));
    close(pair.master);
    show_end("writer", child);
    close(pair.slave);
}

int main(void) {
    pair = new_pair();
    fewest();
    full();
    sets();
    signals();
    ends();
    DONE();
}
