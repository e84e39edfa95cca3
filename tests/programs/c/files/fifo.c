// A named pipe joins two threads that open it at either end.
#include "t.h"
#include <pthread.h>

static void *writer(void *unused) {
    (void)unused;
    int fd = open("fifo", O_WRONLY);
    CHECK(write(fd, "through the fifo", 16) == 16);
    close(fd);
    return NULL;
}

int main(void) {
    enter_scratch();
    SHOW(mkfifo("fifo", 0600));
    SHOW(open("fifo", O_WRONLY | O_NONBLOCK));
    pthread_t t;
    pthread_create(&t, NULL, writer, NULL);
    int fd = open("fifo", O_RDONLY);
    char b[32] = {0};
    ssize_t n, total = 0;
    while ((n = read(fd, b + total, sizeof b - (size_t)total)) > 0)
        total += n;
    SHOW(total);
    puts(b);
    pthread_join(t, NULL);
    DONE();
}
