// io_uring(7): a thread of the kernel that looks for submissions, rings of one thread, several threads at one ring, a ring after fork.
// machines: all
// link: static
// flags: -pthread
#include "ring.h"
#include <pthread.h>
#include <sys/wait.h>

enum { THREADS = 4, EACH = 200 };
static struct ring r;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int ends[2];

// A ring whose submissions the kernel finds by itself.
static void polled(void) {
    struct ring polled;
    struct io_uring_params p = {.flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 20};
    char in[5] = {0};
    ring_open(&polled, 8, &p);
    for (int round = 0; round < 3; round++) {
        ring_next(&polled, IORING_OP_NOP, -1, 1);
        ring_bytes(&polled, IORING_OP_READ, ends[0], in, 4, 0, 2);
        __atomic_store_n(polled.sq_tail, *polled.sq_tail + 2, __ATOMIC_SEQ_CST);
        polled.prepared = 0;
        if (__atomic_load_n(polled.sq_flags, __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP)
            CHECK(ring_enter(&polled, 2, 0, IORING_ENTER_SQ_WAKEUP) == 2);
        ring_print("found", ring_take(&polled));
        CHECK(write(ends[1], "data", 4) == 4);
        ring_print("found", ring_take(&polled));
        printf("%s\n", in);
        // Long enough for it to sleep.
        usleep(60000);
    }
    SHOW(!!(__atomic_load_n(polled.sq_flags, __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP));
    close(polled.fd);
}

// What is put into a ring that is not enabled stays there, and keeps no CPU busy.
static void polled_later(void) {
    struct ring later;
    struct io_uring_params p = {.flags = IORING_SETUP_SQPOLL | IORING_SETUP_R_DISABLED, .sq_thread_idle = 20};
    ring_open(&later, 4, &p);
    ring_next(&later, IORING_OP_NOP, -1, 1);
    __atomic_store_n(later.sq_tail, *later.sq_tail + 1, __ATOMIC_SEQ_CST);
    later.prepared = 0;
    usleep(60000);
    SHOW(ring_ready(&later));
    SHOW(ring_register(&later, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
    ring_print("enabled", ring_take(&later));
    close(later.fd);
}

static void *submitter(void *unused) {
    for (int n = 0; n < EACH; n++) {
        pthread_mutex_lock(&lock);
        ring_next(&r, IORING_OP_NOP, -1, 1)->flags = n % 3 ? 0 : IOSQE_ASYNC;
        CHECK(ring_submit(&r, 0) == 1);
        pthread_mutex_unlock(&lock);
    }
    return unused;
}

static void *foreign(void *only) {
    errno = 0;
    struct ring *r = only;
    ring_next(r, IORING_OP_NOP, -1, 1);
    SHOW(ring_submit(r, 0));
    SHOW(ring_enter(r, 0, 0, IORING_ENTER_GETEVENTS));
    return NULL;
}

// Requests that run at the same time take different buffers of a ring of provided ones, and each completion names the one it filled.
static void provided(void) {
    enum { BUFFERS = 64, BYTES = 4096, ROUNDS = 8 };
    static char buffers[BUFFERS][BYTES], content[BYTES];
    struct io_uring_buf_ring *list = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct io_uring_buf_reg reg = {.ring_addr = (uintptr_t)list, .ring_entries = BUFFERS, .bgid = 1};
    struct ring many;
    int fd = memfd_create("content", 0), right = 0, used = 0;
    for (int n = 0; n < BUFFERS; n++) {
        memset(content, n + 1, BYTES);
        CHECK(write(fd, content, BYTES) == BYTES);
    }
    ring_open(&many, BUFFERS, NULL);
    SHOW(ring_register(&many, IORING_REGISTER_PBUF_RING, &reg, 1));
    for (int round = 0; round < ROUNDS; round++) {
        char taken[BUFFERS] = {0};
        memset(buffers, 0, sizeof buffers);
        for (int n = 0; n < BUFFERS; n++) {
            struct io_uring_buf *one = &list->bufs[n];
            one->addr = (uintptr_t)buffers[n], one->len = BYTES, one->bid = n;
        }
        __atomic_store_n(&list->tail, (round + 1) * BUFFERS, __ATOMIC_RELEASE);
        for (int n = 0; n < BUFFERS; n++) {
            struct io_uring_sqe *sqe = ring_bytes(&many, IORING_OP_READ, fd, NULL, BYTES, n * BYTES, n + 1);
            sqe->flags = IOSQE_BUFFER_SELECT | (n % 2 ? 0 : IOSQE_ASYNC), sqe->buf_group = 1;
        }
        CHECK(ring_submit(&many, 0) == BUFFERS);
        for (int n = 0; n < BUFFERS; n++) {
            struct completion cqe = ring_take(&many);
            unsigned id = cqe.flags >> IORING_CQE_BUFFER_SHIFT;
            if (cqe.res != BYTES || !(cqe.flags & IORING_CQE_F_BUFFER) || id >= BUFFERS || taken[id]++)
                continue;
            used++;
            memset(content, cqe.user_data, BYTES);
            right += memcmp(buffers[id], content, BYTES) == 0;
        }
    }
    printf("buffers used once %d, right %d\n", used, right);
    close(many.fd), close(fd);
}

int main(void) {
    pthread_t threads[THREADS];
    CHECK(pipe(ends) == 0);
    polled();
    polled_later();
    provided();
    struct io_uring_params wide = {.flags = IORING_SETUP_CQSIZE, .cq_entries = THREADS * EACH};
    ring_open(&r, 8, &wide);
    for (int n = 0; n < THREADS; n++)
        CHECK(pthread_create(&threads[n], NULL, submitter, NULL) == 0);
    for (int n = 0; n < THREADS; n++)
        pthread_join(threads[n], NULL);
    for (int n = 0; n < THREADS * EACH; n++)
        CHECK(ring_take(&r).res == 0);
    CHECK(ring_ready(&r) == 0);

    struct ring only;
    struct io_uring_params single = {.flags = IORING_SETUP_SINGLE_ISSUER};
    ring_open(&only, 4, &single);
    pthread_create(&threads[0], NULL, foreign, &only);
    pthread_join(threads[0], NULL);
    close(only.fd);

    struct io_uring_params off = {.flags = IORING_SETUP_R_DISABLED};
    ring_open(&only, 4, &off);
    ring_next(&only, IORING_OP_NOP, -1, 1);
    SHOW(ring_submit(&only, 1) == -1 && errno == EBADFD);
    SHOW(ring_register(&only, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
    SHOW(ring_enter(&only, 1, 1, IORING_ENTER_GETEVENTS));
    ring_print("enabled", ring_take(&only));
    close(only.fd);

    // A child may use what it was given.
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        ring_next(&r, IORING_OP_NOP, -1, 9);
        _exit(ring_submit(&r, 1) == 1 ? 0 : 1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    SHOW(status);
    ring_print("of the child", ring_take(&r));
    // It ends with requests under way on workers.
    char byte;
    for (int n = 0; n < 4; n++)
        ring_bytes(&r, IORING_OP_READ, ends[0], &byte, 1, 0, n)->flags = IOSQE_ASYNC;
    SHOW(ring_submit(&r, 0));
    return t_failures;
}
