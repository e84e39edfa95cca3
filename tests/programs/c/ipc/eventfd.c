// eventfd: counter, semaphore mode, overflow, blocking, and the sizes it takes.
#include "t.h"
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

static int fd;
static void *poster(void *unused) {
    (void)unused;
    wait_until_asleep(getpid());
    eventfd_write(fd, 5);
    return NULL;
}

// What /proc/self/fdinfo has of the counter itself.
static void show_info(void) {
    char name[64], line[128];
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
    FILE *info = fopen(name, "r");
    NEED(info != NULL);
    while (fgets(line, sizeof line, info) != NULL) {
        if (strncmp(line, "eventfd-count", 13) == 0 || strncmp(line, "eventfd-semaphore", 17) == 0)
            fputs(line, stdout);
    }
    fclose(info);
}

int main(void) {
    uint64_t v;
    fd = eventfd(3, EFD_NONBLOCK);
    show_info();
    SHOW(read(fd, &v, 8));
    SHOW(v);
    SHOW(read(fd, &v, 8));
    v = 7;
    SHOW(write(fd, &v, 8));
    SHOW(write(fd, &v, 8));
    SHOW(read(fd, &v, 16));
    SHOW(v);
    v = UINT64_MAX;
    SHOW(write(fd, &v, 8));
    v = UINT64_MAX - 1;
    SHOW(write(fd, &v, 8));
    v = 1;
    SHOW(write(fd, &v, 8));
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
    SHOW(poll(&p, 1, 0));
    SHOW(p.revents);
    SHOW(read(fd, &v, 4));
    SHOW(write(fd, &v, 4));
    SHOW(read(fd, &v, 8));
    CHECK(v == UINT64_MAX - 1);
    SHOW(poll(&p, 1, 0));
    SHOW(p.revents);
    close(fd);
    fd = eventfd(30, EFD_SEMAPHORE | EFD_NONBLOCK);
    show_info();
    v = 27;
    for (int i = 0; i < 27; i++)
        NEED(read(fd, &v, 8) == 8);
    for (int i = 0; i < 4; i++) {
        v = 0;
        SHOW(read(fd, &v, 8));
        SHOW(v);
    }
    close(fd);
    fd = eventfd(0, EFD_CLOEXEC);
    SHOW(fcntl(fd, F_GETFD));
    pthread_t t;
    pthread_create(&t, NULL, poster, NULL);
    SHOW(read(fd, &v, 8));
    SHOW(v);
    pthread_join(t, NULL);
    SHOW(eventfd(0, 0x100));
    SHOW(lseek(fd, 0, SEEK_SET));
    DONE();
}
