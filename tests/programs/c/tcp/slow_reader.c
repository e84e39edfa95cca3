// A reader that stops makes the writer wait, and no byte is lost when it goes on; the window reopens.
#include "net.h"
#include <pthread.h>

static int fd[2];
enum { TOTAL = 3 << 20 };
static void *writer(void *unused) {
    (void)unused;
    static unsigned char b[TOTAL];
    for (size_t i = 0; i < TOTAL; i++)
        b[i] = pattern(i);
    write_all(fd[0], b, TOTAL);
    close(fd[0]);
    return NULL;
}

int main(void) {
    tcp_pair(fd);
    pthread_t t;
    pthread_create(&t, NULL, writer, NULL);
    sleep_ms(400);
    size_t at = 0, bad = 0;
    unsigned char b[5000];
    ssize_t n;
    while ((n = read(fd[1], b, at < 20000 ? 1000 : sizeof b)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            bad += b[i] != pattern(at++);
        if (at < 20000)
            sleep_ms(5);
    }
    SHOW(at);
    SHOW(bad);
    pthread_join(t, NULL);
    DONE();
}
