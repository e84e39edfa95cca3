// sendfile to a TCP socket, blocking and not, corked and not, of a file larger than the socket's buffer.
// data: yes
#include "net.h"
#include <pthread.h>
#include <sys/sendfile.h>

enum { SIZE = 700000, ROUNDS = 100, STEP = 37 };
static int fd[2];
static void *reader(void *unused) {
    (void)unused;
    static unsigned char b[SIZE];
    size_t n = read_all(fd[1], b, SIZE), bad = 0;
    for (size_t i = 0; i < n; i++)
        bad += b[i] != pattern(i);
    CHECK(n == SIZE && bad == 0);
    return NULL;
}

static int fd_of_image;
static void *reader_of_image(void *unused) {
    (void)unused;
    off_t size = lseek(fd_of_image, 0, SEEK_END);
    size_t bad = 0;
    unsigned char b[5000];
    for (int round = 0; round < ROUNDS; round++) {
        size_t at = (size_t)(round * STEP);
        while (at < (size_t)size) {
            size_t want = (size_t)size - at < sizeof b ? (size_t)size - at : sizeof b;
            CHECK(read_all(fd[1], b, want) == want);
            for (size_t i = 0; i < want; i++)
                bad += b[i] != pattern(i + at);
            at += want;
        }
        CHECK(read_all(fd[1], b, 1) == 1 && b[0] == 'x');
    }
    CHECK(read(fd[1], b, 1) == 0);
    SHOW(bad);
    return NULL;
}

int main(void) {
    enter_scratch();
    static unsigned char data[SIZE];
    for (size_t i = 0; i < SIZE; i++)
        data[i] = pattern(i);
    int f = open("large", O_RDWR | O_CREAT, 0600);
    write_all(f, data, SIZE);
    for (int round = 0; round < 4; round++) {
        tcp_pair(fd);
        int cork = round & 1;
        CHECK(setsockopt(fd[0], IPPROTO_TCP, TCP_CORK, &cork, sizeof cork) == 0);
        if (round & 2)
            fcntl(fd[0], F_SETFL, O_NONBLOCK);
        pthread_t t;
        pthread_create(&t, NULL, reader, NULL);
        off_t at = 0;
        int waits = 0;
        while (at < SIZE) {
            ssize_t n = sendfile(fd[0], f, &at, SIZE - (size_t)at);
            if (n < 0) {
                CHECK(errno == EAGAIN && round & 2);
                CHECK(events_of(fd[0], POLLOUT, 5000) == POLLOUT);
                waits++;
            } else
                CHECK(n > 0);
        }
        SHOW(at);
        CHECK(round & 2 || waits == 0);
        close(fd[0]);
        pthread_join(t, NULL);
        close(fd[1]);
    }
    // A part of a file of the image.
    tcp_pair(fd);
    f = open(data_file("pages.bin"), O_RDONLY);
    off_t at = 4000;
    SHOW(sendfile(fd[0], f, &at, 10000));
    unsigned char b[10000];
    SHOW(read_all(fd[1], b, sizeof b));
    size_t bad = 0;
    for (size_t i = 0; i < sizeof b; i++)
        bad += b[i] != pattern(i + 4000);
    SHOW(bad);
    // All of it again and again, from any byte on, to a reader that is slower.
    off_t size = lseek(f, 0, SEEK_END);
    pthread_t t;
    fd_of_image = f;
    pthread_create(&t, NULL, reader_of_image, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        at = round * STEP;
        while (at < size)
            CHECK(sendfile(fd[0], f, &at, (size_t)(size - at)) > 0);
        // What the program writes itself comes in between.
        write_all(fd[0], "x", 1);
    }
    shutdown(fd[0], SHUT_WR);
    pthread_join(t, NULL);
    DONE();
}
