// Absolute time-outs of io_uring are times of the submitter's time namespace (time_namespaces(7)), with IORING_SETUP_SQPOLL, too. On Linux 6.18
// they are those of the first namespace.
// linux: no
// stdout-has: by the caller 1: ETIME
// stdout-has: by the kernel's thread 1: ETIME
#include "ring.h"
#include <sched.h>
#include <sys/wait.h>

static void wait_for_the_past(const char *how, unsigned flags) {
    struct io_uring_params p = {.flags = flags};
    struct ring r;
    struct timespec now;
    ring_open(&r, 4, &p);
    NEED(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    struct __kernel_timespec past = {now.tv_sec - 1, now.tv_nsec};
    struct io_uring_sqe *sqe = ring_bytes(&r, IORING_OP_TIMEOUT, -1, &past, 1, 0, 1);
    sqe->timeout_flags = IORING_TIMEOUT_ABS;
    NEED(ring_submit(&r, 0) >= 0);
    // The thread may sleep already.
    NEED(ring_enter(&r, 0, 0, flags ? IORING_ENTER_SQ_WAKEUP : 0) >= 0);
    ring_print(how, ring_take(&r));
    close(r.fd);
}

int main(void) {
    NEED(unshare(0x80 /* CLONE_NEWTIME */) == 0);
    write_file("/proc/self/timens_offsets", "monotonic 864000 0");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        wait_for_the_past("by the caller", 0);
        wait_for_the_past("by the kernel's thread", IORING_SETUP_SQPOLL);
        _exit(t_failures);
    }
    int status;
    NEED(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    DONE();
}
