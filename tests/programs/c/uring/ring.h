// A ring of io_uring(7), by the system calls themselves: liburing is not needed, and hides what is shared with the kernel.
#ifndef RING_H
#define RING_H
#include "../t.h"
#include <linux/io_uring.h>
#include <linux/time_types.h>

struct ring {
    int fd;
    unsigned entries, flags, *sq_head, *sq_tail, *sq_flags, *array, *cq_head, *cq_tail, *cq_overflow, mask, cq_mask, prepared;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
};

static int ring_setup(unsigned entries, struct io_uring_params *p) { return syscall(SYS_io_uring_setup, entries, p); }
static int ring_enter(struct ring *r, unsigned submit, unsigned least, unsigned flags) {
    return syscall(SYS_io_uring_enter, r->fd, submit, least, flags, NULL, 0);
}
__attribute__((unused)) static int ring_register(struct ring *r, unsigned what, void *at, unsigned count) {
    return syscall(SYS_io_uring_register, r->fd, what, at, count);
}

static void ring_open(struct ring *r, unsigned entries, struct io_uring_params *given) {
    struct io_uring_params none = {0}, *p = given ? given : &none;
    r->fd = ring_setup(entries, p);
    CHECK(r->fd >= 0 && p->features & IORING_FEAT_SINGLE_MMAP);
    if (r->fd < 0)
        exit(1);
    size_t bytes = p->sq_off.array + p->sq_entries * 4, more = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
    char *at = mmap(NULL, bytes > more ? bytes : more, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQ_RING);
    r->sqes = mmap(NULL, p->sq_entries * sizeof *r->sqes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQES);
    CHECK(at != MAP_FAILED && r->sqes != MAP_FAILED);
    r->sq_head = (void *)(at + p->sq_off.head), r->sq_tail = (void *)(at + p->sq_off.tail), r->sq_flags = (void *)(at + p->sq_off.flags);
    r->array = (void *)(at + p->sq_off.array), r->mask = *(unsigned *)(at + p->sq_off.ring_mask);
    r->cq_head = (void *)(at + p->cq_off.head), r->cq_tail = (void *)(at + p->cq_off.tail), r->cqes = (void *)(at + p->cq_off.cqes);
    r->cq_overflow = (void *)(at + p->cq_off.overflow), r->cq_mask = *(unsigned *)(at + p->cq_off.ring_mask);
    r->entries = p->sq_entries, r->flags = p->flags, r->prepared = 0;
}

// The next submission, empty but for its operation, its file and what comes back.
static struct io_uring_sqe *ring_next(struct ring *r, int operation, int fd, uint64_t data) {
    unsigned index = (*r->sq_tail + r->prepared) & r->mask;
    struct io_uring_sqe *sqe = &r->sqes[index];
    CHECK(r->prepared < r->entries);
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = operation, sqe->fd = fd, sqe->user_data = data;
    r->array[index] = index;
    r->prepared++;
    return sqe;
}

__attribute__((unused)) static struct io_uring_sqe *ring_bytes(struct ring *r, int operation, int fd, const void *at, unsigned len,
                                                              uint64_t offset, uint64_t data) {
    struct io_uring_sqe *sqe = ring_next(r, operation, fd, data);
    sqe->addr = (uintptr_t)at, sqe->len = len, sqe->off = offset;
    return sqe;
}

// Submits what was prepared, and waits for `least` completions.
static int ring_submit(struct ring *r, unsigned least) {
    unsigned count = r->prepared;
    r->prepared = 0;
    __atomic_store_n(r->sq_tail, *r->sq_tail + count, __ATOMIC_RELEASE);
    return ring_enter(r, count, least, IORING_ENTER_GETEVENTS);
}

static unsigned ring_ready(struct ring *r) { return __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE) - *r->cq_head; }

struct completion {
    uint64_t user_data;
    int res;
    unsigned flags;
};

// Takes the next completion; waits for it.
static struct completion ring_take(struct ring *r) {
    while (ring_ready(r) == 0)
        if (ring_enter(r, 0, 1, IORING_ENTER_GETEVENTS) < 0 && errno != EINTR) {
            CHECK(!"io_uring_enter");
            exit(1);
        }
    struct io_uring_cqe *at = &r->cqes[*r->cq_head & r->cq_mask];
    struct completion cqe = {at->user_data, at->res, at->flags};
    __atomic_store_n(r->cq_head, *r->cq_head + 1, __ATOMIC_RELEASE);
    return cqe;
}

static void ring_print(const char *name, struct completion cqe) {
    if (cqe.res < 0)
        printf("%s %llu: %s", name, (unsigned long long)cqe.user_data, cqe.res == -ETIME ? "ETIME" : t_errno(-cqe.res));
    else
        printf("%s %llu: %d", name, (unsigned long long)cqe.user_data, cqe.res);
    printf(cqe.flags & IORING_CQE_F_MORE ? ", more\n" : "\n");
}

// Submits, and shows the completions, which are `count`, in the order of what comes back with them.
__attribute__((unused)) static void ring_show(struct ring *r, const char *name, unsigned count) {
    struct completion list[64];
    int taken = ring_submit(r, count);
    if (taken < 0) {
        printf("%s: %s\n", name, t_errno(errno));
        return;
    }
    for (unsigned n = 0; n < count; n++)
        list[n] = ring_take(r);
    for (unsigned n = 1; n < count; n++)
        for (unsigned m = n; m > 0 && list[m - 1].user_data > list[m].user_data; m--) {
            struct completion other = list[m];
            list[m] = list[m - 1], list[m - 1] = other;
        }
    for (unsigned n = 0; n < count; n++)
        ring_print(name, list[n]);
    CHECK(ring_ready(r) == 0);
}
#endif
