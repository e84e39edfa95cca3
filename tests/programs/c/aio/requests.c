// Native asynchronous input and output (io_setup(2)): requests of each kind, events, an eventfd, what is refused, contexts of fork and exec.
#include "aio.h"
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <sys/wait.h>

static aio_context_t context;

// Submits one request, and shows its result.
static void show(const char *name, struct iocb one) {
    struct iocb *list[] = {&one};
    struct io_event event = {0};
    errno = 0;
    int taken = submit(context, 1, list);
    if (taken != 1) {
        printf("%s: refused: %s\n", name, t_errno(errno));
        return;
    }
    CHECK(events(context, 1, 1, &event, NULL) == 1);
    CHECK(event.data == 7 && event.obj == (uintptr_t)&one && event.res2 == 0);
    if (event.res < 0)
        printf("%s: %s\n", name, t_errno(-event.res));
    else
        printf("%s: %d\n", name, (int)event.res);
}

int main(void) {
    char path[] = "/tmp/requests_XXXXXX", bytes[100] = {0};
    int fd = mkstemp(path), reading = open(path, O_RDONLY), ends[2];
    CHECK(fd >= 0 && reading >= 0 && unlink(path) == 0 && pipe(ends) == 0);

    context = 1;
    SHOW(setup(4, &context));
    context = 0;
    SHOW(setup(0, &context));
    SHOW(setup(1000000, &context));
    SHOW(setup(4, NULL));
    SHOW(setup(4, &context));
    CHECK(context != 0);

    struct iovec pieces[] = {{"vec", 3}, {"tors", 4}}, places[] = {{bytes, 2}, {bytes + 10, 50}};
    show("write", request(IOCB_CMD_PWRITE, fd, "some bytes", 10, 0));
    show("write behind", request(IOCB_CMD_PWRITE, fd, "more", 4, 20));
    show("write of vectors", request(IOCB_CMD_PWRITEV, fd, pieces, 2, 10));
    show("read", request(IOCB_CMD_PREAD, fd, bytes, 100, 0));
    printf("%.17s|%.4s\n", bytes, bytes + 20);
    show("read of vectors", request(IOCB_CMD_PREADV, fd, places, 2, 5));
    printf("%.2s|%.10s\n", bytes, bytes + 10);
    show("read at the end", request(IOCB_CMD_PREAD, fd, bytes, 100, 24));
    show("fsync", request(IOCB_CMD_FSYNC, fd, NULL, 0, 0));
    show("fdsync", request(IOCB_CMD_FDSYNC, fd, NULL, 0, 0));
    show("write to a pipe", request(IOCB_CMD_PWRITE, ends[1], "pipe", 4, 0));
    show("read from a pipe", request(IOCB_CMD_PREAD, ends[0], bytes, 100, 0));
    show("bad address", request(IOCB_CMD_PREAD, fd, (void *)8, 10, 0));
    show("bad descriptor", request(IOCB_CMD_PREAD, 999, bytes, 10, 0));
    show("not for writing", request(IOCB_CMD_PWRITE, reading, bytes, 10, 0));
    show("not for reading", request(IOCB_CMD_PREAD, ends[1], bytes, 10, 0));
    show("negative offset", request(IOCB_CMD_PREAD, fd, bytes, 10, -1));
    show("unknown operation", request(99, fd, bytes, 10, 0));
    struct iocb odd = request(IOCB_CMD_PREAD, fd, bytes, 10, 0);
    odd.aio_reserved2 = 1;
    show("reserved", odd);
    odd.aio_reserved2 = 0, odd.aio_nbytes = -1ull;
    show("negative length", odd);

    // An eventfd counts what is complete.
    int counter = eventfd(0, EFD_NONBLOCK);
    struct iocb first = request(IOCB_CMD_PREAD, fd, bytes, 4, 0), second = first, bad = request(99, fd, NULL, 0, 0);
    first.aio_flags = second.aio_flags = IOCB_FLAG_RESFD;
    first.aio_resfd = second.aio_resfd = counter;
    struct iocb *list[] = {&first, &second, &bad};
    SHOW(submit(context, 3, list));
    uint64_t count = 0;
    SHOW(read(counter, &count, sizeof count));
    SHOW(count);
    struct io_event found[4];
    struct timespec soon = {0, 1000};
    SHOW(events(context, 1, 1, found, NULL));
    SHOW(events(context, 0, 4, found, NULL));
    SHOW(events(context, 1, 4, found, &soon));
    SHOW(events(context, 3, 2, found, NULL));
    SHOW(events(context, -1, 2, found, NULL));
    SHOW(events(context + 8, 1, 2, found, NULL));
    first.aio_resfd = fd;
    SHOW(submit(context, 1, list));
    SHOW(submit(context, -1, list));
    SHOW(submit(context, 0, list));
    SHOW(submit(context, 1, (void *)8));
    SHOW(submit(context + 8, 1, list));
    struct io_event cancelled;
    SHOW(syscall(SYS_io_cancel, context, &first, &cancelled));
    SHOW(syscall(SYS_io_cancel, context, NULL, &cancelled));
    SHOW(syscall(SYS_io_pgetevents, context, 0L, 4L, found, NULL, NULL));

    // A child of fork has none of the contexts.
    pid_t child = fork();
    if (child == 0)
        _exit(events(context, 0, 4, found, NULL) == -1 && errno == EINVAL ? 0 : 1);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    SHOW(destroy(context));
    SHOW(destroy(context));
    DONE();
}
