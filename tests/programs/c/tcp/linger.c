// SO_LINGER: close waits until the peer's kernel has everything, or until the time is over; exit does not wait
// (socket(7)).
// machines: all
#include "net.h"
#include <pthread.h>
#include <sys/wait.h>

enum { LONG_S = 20, SHORT_S = 1, PAUSE_MS = 300, DELAYED_ACK_MS = 100 };

static void set_linger(int fd, int seconds) {
    struct linger linger = {1, seconds};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
}

// Writes more than the peer's kernel takes for one that does not read. What does not fit at once may fit when it has
// acknowledged the rest.
static size_t fill(int fd) {
    static char bytes[1 << 16];
    size_t total = 0;
    for (int moved = 1; moved; sleep_ms(DELAYED_ACK_MS)) {
        ssize_t n;
        for (moved = 0; (n = send(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0; moved = 1)
            total += (size_t)n;
    }
    return total;
}

// The same without a sleep: what the peer's kernel acknowledges, soon or after its delay, must not wait for the program to sleep.
static void fill_at_once(int fd) {
    static char bytes[1 << 16];
    for (long moved_ms = now_ms(); now_ms() - moved_ms < DELAYED_ACK_MS;)
        if (send(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
            moved_ms = now_ms();
    CHECK(errno == EAGAIN);
}

static long close_takes_ms(int fd) {
    long start = now_ms();
    CHECK(close(fd) == 0);
    return now_ms() - start;
}

static size_t expected;
static void *late_reader(void *fd) {
    static char bytes[1 << 16];
    sleep_ms(PAUSE_MS);
    size_t total = 0;
    ssize_t n;
    while ((n = read((int)(long)fd, bytes, sizeof bytes)) > 0)
        total += (size_t)n;
    CHECK(n == 0 && total == expected);
    return NULL;
}

int main(void) {
    int fd[2];
    tcp_pair(fd);
    set_linger(fd[0], LONG_S);
    SHOW(close_takes_ms(fd[0]) < PAUSE_MS);
    close(fd[1]);

    tcp_pair(fd);
    set_linger(fd[0], LONG_S);
    expected = fill(fd[0]);
    pthread_t reader;
    pthread_create(&reader, NULL, late_reader, (void *)(long)fd[1]);
    long took = close_takes_ms(fd[0]);
    SHOW(took >= PAUSE_MS / 2 && took < LONG_S * 1000);
    pthread_join(reader, NULL);
    close(fd[1]);

    tcp_pair(fd);
    set_linger(fd[0], SHORT_S);
    fill(fd[0]);
    took = close_takes_ms(fd[0]);
    SHOW(took >= SHORT_S * 1000 && took < LONG_S * 1000);
    close(fd[1]);

    tcp_pair(fd);
    set_linger(fd[0], SHORT_S);
    fill_at_once(fd[0]);
    took = close_takes_ms(fd[0]);
    SHOW(took >= SHORT_S * 1000 && took < LONG_S * 1000);
    close(fd[1]);

    // Another descriptor still holds the connection: nothing to wait for.
    tcp_pair(fd);
    set_linger(fd[0], LONG_S);
    fill(fd[0]);
    int copy = dup(fd[0]);
    SHOW(close_takes_ms(fd[0]) < PAUSE_MS);
    long start = now_ms();
    if (fork() == 0)
        _exit(0);
    int status;
    wait(&status);
    SHOW(now_ms() - start < LONG_S * 1000);
    set_linger(copy, 0);
    SHOW(close_takes_ms(copy) < PAUSE_MS);
    DONE();
}
