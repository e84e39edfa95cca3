// io_uring(7): rings, chains, barriers, time-outs, polls, cancelling, completions that have no room, and what is refused.
// machines: all
#include "ring.h"
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

static struct ring r;

static struct io_uring_sqe *nop(uint64_t data, int flags) {
    struct io_uring_sqe *sqe = ring_next(&r, IORING_OP_NOP, -1, data);
    sqe->flags = flags;
    return sqe;
}

static struct io_uring_sqe *after(int operation, struct __kernel_timespec *time, uint64_t data) {
    struct io_uring_sqe *sqe = ring_next(&r, operation, -1, data);
    sqe->addr = (uintptr_t)time, sqe->len = 1;
    return sqe;
}

static void refusals(void) {
    struct io_uring_params p = {0};
    SHOW(ring_setup(0, &p));
    SHOW(ring_setup(40000, &p));
    SHOW(ring_setup(1, NULL));
    p.flags = 1u << 30;
    SHOW(ring_setup(1, &p));
    p = (struct io_uring_params){.resv = {1}};
    SHOW(ring_setup(1, &p));
    p = (struct io_uring_params){.flags = IORING_SETUP_CQSIZE, .cq_entries = 2};
    SHOW(ring_setup(4, &p));
    p = (struct io_uring_params){.flags = IORING_SETUP_SQ_AFF};
    SHOW(ring_setup(4, &p));
    p = (struct io_uring_params){.flags = IORING_SETUP_CLAMP};
    int fd = ring_setup(1u << 30, &p);
    CHECK(fd >= 0);
    printf("clamped: %u, %u\n", p.sq_entries, p.cq_entries);
    char byte;
    SHOW(read(fd, &byte, 1));
    SHOW(lseek(fd, 0, SEEK_SET));
    close(fd);
    struct ring wrong = {.fd = 0};
    SHOW(ring_enter(&wrong, 0, 0, 0));
    wrong.fd = 99;
    SHOW(ring_enter(&wrong, 0, 0, 0));
    SHOW(ring_enter(&r, 0, 0, 1u << 30));
    SHOW(ring_register(&r, 999, NULL, 0));
    SHOW(ring_register(&r, IORING_UNREGISTER_FILES, NULL, 0));
    SHOW(ring_register(&r, IORING_UNREGISTER_BUFFERS, NULL, 0));
    ring_next(&r, 250, -1, 1);
    ring_show(&r, "no such operation", 1);
    nop(1, 0)->ioprio = 1;
    ring_show(&r, "a priority of nothing", 1);
    ring_bytes(&r, IORING_OP_READ, 77, &byte, 1, 0, 1);
    ring_show(&r, "no such file", 1);
    ring_bytes(&r, IORING_OP_READ, 0, &byte, 1, 0, 1)->flags = IOSQE_FIXED_FILE;
    ring_show(&r, "no such registered file", 1);
    // One that is refused ends what is submitted.
    nop(1, 0), ring_next(&r, 250, -1, 2), nop(3, 0);
    unsigned count = r.prepared;
    r.prepared = 0;
    *r.sq_tail += count;
    SHOW(ring_enter(&r, count, 0, 0));
    ring_print("taken", ring_take(&r)), ring_print("taken", ring_take(&r));
    SHOW(ring_enter(&r, 1, 0, 0));
    ring_print("taken", ring_take(&r));
}

static void chains(int reading, int writing) {
    char byte;
    nop(1, IOSQE_IO_LINK), nop(2, IOSQE_IO_LINK), nop(3, 0), nop(4, 0);
    ring_show(&r, "chain", 4);
    ring_bytes(&r, IORING_OP_READ, 77, &byte, 1, 0, 1)->flags = IOSQE_IO_LINK;
    nop(2, IOSQE_IO_LINK), nop(3, 0), nop(4, 0);
    ring_show(&r, "broken chain", 4);
    ring_bytes(&r, IORING_OP_READ, 77, &byte, 1, 0, 1)->flags = IOSQE_IO_HARDLINK;
    nop(2, IOSQE_IO_LINK), nop(3, 0);
    ring_show(&r, "hard link", 3);
    nop(1, IOSQE_IO_LINK), ring_next(&r, 250, -1, 2)->flags = IOSQE_IO_LINK;
    ring_show(&r, "refused in a chain", 2);
    // What comes behind a barrier waits for all before it.
    ring_bytes(&r, IORING_OP_READ, reading, &byte, 1, 0, 1);
    nop(2, IOSQE_IO_DRAIN), nop(3, 0);
    SHOW(ring_submit(&r, 0));
    CHECK(ring_ready(&r) == 0);
    SHOW(write(writing, "x", 1));
    for (int n = 0; n < 3; n++)
        ring_print("drained", ring_take(&r));
    nop(1, IOSQE_CQE_SKIP_SUCCESS), nop(2, 0);
    ring_show(&r, "silent", 1);
    nop(1, IOSQE_IO_DRAIN);
    ring_show(&r, "no barrier after that", 1);
}

static void timeouts(int reading) {
    struct __kernel_timespec now = {0, 1000000}, late = {1000, 0}, wrong = {0, -1};
    char byte;
    after(IORING_OP_TIMEOUT, &now, 1);
    ring_show(&r, "time-out", 1);
    after(IORING_OP_TIMEOUT, &wrong, 1);
    ring_show(&r, "wrong time", 1);
    after(IORING_OP_TIMEOUT, &late, 1)->off = 2;
    nop(2, 0), nop(3, 0);
    ring_show(&r, "after two", 3);
    after(IORING_OP_TIMEOUT, &late, 1);
    ring_next(&r, IORING_OP_TIMEOUT_REMOVE, -1, 2)->addr = 1;
    ring_show(&r, "removed", 2);
    ring_next(&r, IORING_OP_TIMEOUT_REMOVE, -1, 2)->addr = 1;
    ring_show(&r, "removed again", 1);
    after(IORING_OP_TIMEOUT, &late, 1);
    struct io_uring_sqe *change = ring_next(&r, IORING_OP_TIMEOUT_REMOVE, -1, 2);
    change->addr = 1, change->addr2 = (uintptr_t)&now, change->timeout_flags = IORING_TIMEOUT_UPDATE;
    ring_show(&r, "changed", 2);
    ring_bytes(&r, IORING_OP_READ, reading, &byte, 1, 0, 1)->flags = IOSQE_IO_LINK;
    after(IORING_OP_LINK_TIMEOUT, &now, 2);
    ring_show(&r, "limited", 2);
    nop(1, IOSQE_IO_LINK), after(IORING_OP_LINK_TIMEOUT, &late, 2);
    ring_show(&r, "in time", 2);
    after(IORING_OP_LINK_TIMEOUT, &late, 2);
    ring_show(&r, "limits nothing", 1);
    // A wait of its own.
    struct io_uring_getevents_arg argument = {.ts = (uintptr_t)&now};
    SHOW(syscall(SYS_io_uring_enter, r.fd, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument, sizeof argument) == -1 && errno == ETIME);
    SHOW(syscall(SYS_io_uring_enter, r.fd, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument, 4));
}

// What a change of a time-out says is looked at before the time-out is.
static void changes(void) {
    static struct __kernel_timespec none, wrong = {.tv_nsec = -1};
    const struct {
        const char *name;
        unsigned flags;
        const void *time;
    } all[] = {
        {"removed", 0, NULL},
        {"removed with flags", IORING_TIMEOUT_ABS, NULL},
        {"changed", IORING_TIMEOUT_UPDATE, &none},
        {"changed to a wrong time", IORING_TIMEOUT_UPDATE, &wrong},
        {"changed to a time nowhere", IORING_TIMEOUT_UPDATE, (void *)8},
        {"changed with wrong flags", IORING_TIMEOUT_UPDATE | 1u << 30, &none},
        {"limit changed", IORING_LINK_TIMEOUT_UPDATE, &none},
    };
    for (unsigned n = 0; n < sizeof all / sizeof *all; n++) {
        struct io_uring_sqe *sqe = ring_next(&r, IORING_OP_TIMEOUT_REMOVE, -1, 1);
        sqe->addr = 12345, sqe->timeout_flags = all[n].flags, sqe->addr2 = (uintptr_t)all[n].time;
        ring_show(&r, all[n].name, 1);
    }
}

static void polls(int reading, int writing) {
    char byte;
    ring_next(&r, IORING_OP_POLL_ADD, reading, 1)->poll32_events = POLLIN;
    SHOW(ring_submit(&r, 0));
    SHOW(write(writing, "x", 1));
    ring_print("poll", ring_take(&r));
    ring_next(&r, IORING_OP_POLL_ADD, reading, 1)->poll32_events = POLLIN;
    ring_show(&r, "ready", 1);
    SHOW(read(reading, &byte, 1));
    struct io_uring_sqe *many = ring_next(&r, IORING_OP_POLL_ADD, reading, 1);
    many->poll32_events = POLLIN, many->len = IORING_POLL_ADD_MULTI;
    SHOW(ring_submit(&r, 0));
    for (int n = 0; n < 3; n++) {
        CHECK(write(writing, "x", 1) == 1);
        ring_print("again", ring_take(&r));
        CHECK(read(reading, &byte, 1) == 1);
    }
    ring_next(&r, IORING_OP_POLL_REMOVE, -1, 2)->addr = 1;
    ring_show(&r, "poll removed", 2);
    // The ring itself can be waited for.
    struct pollfd self = {.fd = r.fd, .events = POLLIN};
    SHOW(poll(&self, 1, 0));
    nop(1, 0), ring_submit(&r, 1);
    SHOW(poll(&self, 1, 0));
    ring_take(&r);
    int event = eventfd(0, EFD_NONBLOCK), other = eventfd(0, 0);
    SHOW(ring_register(&r, IORING_REGISTER_EVENTFD, &event, 1));
    SHOW(ring_register(&r, IORING_REGISTER_EVENTFD, &other, 1));
    nop(1, 0), nop(2, 0);
    ring_show(&r, "with an eventfd", 2);
    uint64_t count = 0;
    SHOW(read(event, &count, 8));
    CHECK(count >= 1);
    SHOW(ring_register(&r, IORING_UNREGISTER_EVENTFD, NULL, 0));
    SHOW(ring_register(&r, IORING_UNREGISTER_EVENTFD, NULL, 0));
    close(event), close(other);
}

static void cancelling(int reading) {
    char bytes[4];
    for (int n = 1; n <= 3; n++)
        ring_bytes(&r, IORING_OP_READ, reading, bytes, 1, 0, n);
    ring_next(&r, IORING_OP_ASYNC_CANCEL, -1, 4)->addr = 2;
    ring_show(&r, "one", 2);
    struct io_uring_sqe *all = ring_next(&r, IORING_OP_ASYNC_CANCEL, reading, 4);
    all->cancel_flags = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_FD;
    ring_show(&r, "all", 3);
    ring_next(&r, IORING_OP_ASYNC_CANCEL, -1, 4)->addr = 2;
    ring_show(&r, "none", 1);
    ring_bytes(&r, IORING_OP_READ, reading, bytes, 1, 0, 1)->flags = IOSQE_ASYNC;
    SHOW(ring_submit(&r, 0));
    // Wherever it is by now, it ends.
    do {
        struct io_uring_sqe *one = ring_next(&r, IORING_OP_ASYNC_CANCEL, -1, 4);
        one->addr = 1, one->flags = IOSQE_CQE_SKIP_SUCCESS;
        ring_submit(&r, 0);
        sched_yield();
        while (ring_ready(&r) > 0 && r.cqes[*r.cq_head & r.cq_mask].user_data == 4)
            ring_take(&r);
    } while (ring_ready(&r) == 0);
    struct completion cqe = ring_take(&r);
    CHECK(cqe.user_data == 1 && (cqe.res == -ECANCELED || cqe.res == -EINTR));
}

static void overflow(void) {
    struct ring full;
    struct io_uring_params p = {.flags = IORING_SETUP_CQSIZE, .cq_entries = 4};
    ring_open(&full, 4, &p);
    for (int round = 0; round < 4; round++) {
        for (int n = 0; n < 4; n++)
            ring_next(&full, IORING_OP_NOP, -1, 4 * round + n);
        CHECK(ring_submit(&full, 0) == 4);
    }
    SHOW(ring_ready(&full));
    SHOW(!!(*full.sq_flags & IORING_SQ_CQ_OVERFLOW));
    for (int n = 0; n < 16; n++) {
        if (ring_ready(&full) == 0)
            CHECK(ring_enter(&full, 0, 1, IORING_ENTER_GETEVENTS) == 0);
        CHECK(ring_take(&full).user_data == (uint64_t)n);
    }
    SHOW(*full.cq_overflow);
    SHOW(!!(*full.sq_flags & IORING_SQ_CQ_OVERFLOW));
    close(full.fd);
}

// In a ring that polls for the end of transfers, what can't be polled is taken and fails; what is no transfer is not taken.
static void polling(int fd) {
    struct ring polled;
    struct io_uring_params p = {.flags = IORING_SETUP_IOPOLL};
    char bytes[8];
    ring_open(&polled, 8, &p);
    ring_bytes(&polled, IORING_OP_READ, fd, bytes, 8, 0, 1);
    ring_bytes(&polled, IORING_OP_READ, fd, bytes, 8, 0, 2);
    ring_show(&polled, "not polled", 2);
    ring_next(&polled, IORING_OP_FSYNC, fd, 3);
    ring_next(&polled, IORING_OP_NOP, -1, 4);
    SHOW(ring_submit(&polled, 1));
    ring_print("no transfer", ring_take(&polled));
    close(polled.fd);
}

int main(void) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    ring_open(&r, 8, NULL);
    refusals();
    chains(ends[0], ends[1]);
    timeouts(ends[0]);
    changes();
    polls(ends[0], ends[1]);
    cancelling(ends[0]);
    polling(ends[0]);
    overflow();
    // With requests under way it can be closed, and its process ends.
    char byte;
    ring_bytes(&r, IORING_OP_READ, ends[0], &byte, 1, 0, 1);
    ring_bytes(&r, IORING_OP_READ, ends[0], &byte, 1, 0, 2)->flags = IOSQE_ASYNC;
    SHOW(ring_submit(&r, 0));
    return t_failures;
}
