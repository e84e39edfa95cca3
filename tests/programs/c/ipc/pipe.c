// Pipes: order, end of file, blocking reader and writer, sizes, and read of what is there.
#include "t.h"
#include <pthread.h>

static int p[2];
static void *writer(void *unused) {
    (void)unused;
    static unsigned char data[300000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = pattern(i);
    CHECK(write(p[1], data, sizeof data) == sizeof data);
    close(p[1]);
    return NULL;
}

int main(void) {
    char b[100] = {0};
    SHOW(pipe(p));
    SHOW(write(p[1], "abc", 3));
    SHOW(write(p[1], "def", 3));
    SHOW(read(p[0], b, 4));
    SHOW(read(p[0], b + 4, 90));
    puts(b);
    SHOW(write(p[0], "x", 1));
    SHOW(read(p[1], b, 1));
    SHOW(write(p[1], "", 0));
    pthread_t t;
    pthread_create(&t, NULL, writer, NULL);
    sleep_ms(20);
    size_t total = 0, bad = 0;
    unsigned char big[7777];
    ssize_t n;
    while ((n = read(p[0], big, sizeof big)) > 0)
        for (ssize_t i = 0; i < n; i++)
            bad += big[i] != pattern(total++);
    SHOW(n);
    SHOW(total);
    SHOW(bad);
    pthread_join(t, NULL);
    SHOW(read(p[0], b, 1));
    struct stat st;
    fstat(p[0], &st);
    SHOW(S_ISFIFO(st.st_mode));
    SHOW(pipe2(p, O_CLOEXEC | O_NONBLOCK));
    SHOW(fcntl(p[0], F_GETFD));
    SHOW((fcntl(p[1], F_GETFL) & O_NONBLOCK) != 0);
    SHOW(pipe2(p, 0x40000000));
    SHOW(pipe((int *)8));
    DONE();
}
