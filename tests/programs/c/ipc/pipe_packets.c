// Packets in pipes (pipe(2), O_DIRECT): each write is one, of which a read takes as much as there is room for; how many fit, the bytes of
// ordinary writes between them, what splices, and waiting writers.
#include "t.h"
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

static void reads(int fd, size_t size) {
    static char text[20000];
    memset(text, 0, sizeof text);
    ssize_t n = read(fd, text, size);
    printf("read %zu: %zd %s", size, n, n < 0 ? t_errno(errno) : "");
    if (n > 0 && n < 20)
        printf("%.*s", (int)n, text);
    printf("\n");
}
static int held(int fd) {
    int n;
    NEED(ioctl(fd, FIONREAD, &n) == 0);
    return n;
}
static int writable(int fd) {
    struct pollfd p = {fd, POLLOUT, 0};
    NEED(poll(&p, 1, 0) >= 0);
    return p.revents;
}

// Packets of many lengths, so that they lie across the end of what the pipe keeps them in: each has one reader.
enum { PACKETS = 3000 };
static int race[2];
static void *reader(void *wrong) {
    unsigned char bytes[PIPE_BUF];
    ssize_t n;
    while ((n = read(race[0], bytes, sizeof bytes)) > 0) {
        int bad = 0;
        for (ssize_t i = 0; i < n; i++)
            bad |= bytes[i] != (n & 255);
        *(long *)wrong += bad;
    }
    return NULL;
}
static void many_readers(void) {
    pthread_t threads[2];
    long wrong[2] = {0};
    static unsigned char bytes[PIPE_BUF];
    NEED(pipe2(race, O_DIRECT) == 0);
    for (int i = 0; i < 2; i++)
        NEED(pthread_create(&threads[i], NULL, reader, &wrong[i]) == 0);
    for (int i = 0; i < PACKETS; i++) {
        int len = 1 + i * 2654435761u % PIPE_BUF;
        memset(bytes, len & 255, len);
        NEED(write(race[1], bytes, len) == len);
    }
    close(race[1]);
    for (int i = 0; i < 2; i++)
        NEED(pthread_join(threads[i], NULL) == 0);
    SHOW(wrong[0] + wrong[1]);
}

int main(void) {
    int fd[2], to[2];
    static char large[40000];
    NEED(pipe2(fd, O_DIRECT | O_NONBLOCK) == 0 && pipe2(to, O_NONBLOCK) == 0);
    SHOW((fcntl(fd[0], F_GETFL) & O_DIRECT) != 0);
    SHOW((fcntl(fd[1], F_GETFL) & O_DIRECT) != 0);
    SHOW(write(fd[1], "one", 3));
    SHOW(write(fd[1], "second", 6));
    SHOW(write(fd[1], "", 0));
    SHOW(write(fd[1], "3", 1));
    SHOW(held(fd[0]));
    reads(fd[0], 100);
    reads(fd[0], 3);
    reads(fd[0], 0);
    reads(fd[0], 100);
    reads(fd[0], 100);
    // More than PIPE_BUF is several.
    memset(large, 'x', sizeof large);
    SHOW(write(fd[1], large, 10000));
    for (int i = 0; i < 4; i++)
        reads(fd[0], sizeof large);
    // Each takes a page.
    int count = 0;
    while (write(fd[1], "y", 1) == 1)
        count++;
    printf("%d packets, then %s\n", count, t_errno(errno));
    SHOW(writable(fd[1]));
    reads(fd[0], 1);
    SHOW(writable(fd[1]));
    SHOW(write(fd[1], large, 10000));
    SHOW(write(fd[1], large, 10000));
    while (read(fd[0], large, sizeof large) > 0)
        ;
    // A stream behind a packet.
    SHOW(write(fd[1], "packet", 6));
    SHOW(fcntl(fd[1], F_SETFL, O_NONBLOCK));
    SHOW((fcntl(fd[1], F_GETFL) & O_DIRECT) != 0);
    SHOW(write(fd[1], "more", 4));
    SHOW(write(fd[1], "more", 4));
    reads(fd[0], 4);
    reads(fd[0], 100);
    // What splices is bytes, and the rest of a packet stays one.
    SHOW(fcntl(fd[1], F_SETFL, O_NONBLOCK | O_DIRECT));
    SHOW(write(fd[1], "abcdef", 6));
    SHOW(write(fd[1], "ghi", 3));
    SHOW(splice(fd[0], NULL, to[1], NULL, 4, 0));
    reads(fd[0], 1);
    reads(fd[0], 100);
    reads(to[0], 100);
    // A page that isn't there: nothing is lost.
    SHOW(write(fd[1], "kept", 4));
    SHOW(syscall(SYS_read, fd[0], 8, 100));
    reads(fd[0], 100);
    // A writer waits for a reader, who waits for it.
    SHOW(fcntl(fd[1], F_SETFL, O_DIRECT));
    SHOW(fcntl(fd[0], F_SETFL, 0));
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 1000; i++)
            NEED(write(fd[1], large, 1 + i % 50) == 1 + i % 50);
        _exit(0);
    }
    close(fd[1]);
    int wrong = 0;
    for (int i = 0; i < 1000; i++)
        wrong += read(fd[0], large, sizeof large) != 1 + i % 50;
    SHOW(wrong);
    reads(fd[0], 100);
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    SHOW(status);
    many_readers();
    DONE();
}
