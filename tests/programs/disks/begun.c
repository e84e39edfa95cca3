// Transfers past the page cache that go on when the call has returned that began them (io_submit(2), io_uring(7)): on the ext4 volume of the
// disk that DISK names, which is slow, so that they are under way when memory, files, contexts and processes go.
#include "../c/aio/aio.h"
#include "../c/uring/ring.h"
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { UNIT = 4096, COUNT = 16, BYTES = 4 * COUNT * UNIT };

static int fd, cached;
static aio_context_t context;
// What the file has.
static size_t from;

static char *pages(size_t len) {
    char *bytes = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(bytes != MAP_FAILED);
    return bytes;
}

static void fill(char *bytes, size_t len, size_t from) {
    for (size_t at = 0; at < len; at++)
        bytes[at] = pattern(from + at);
}

static bool is_pattern(const char *bytes, size_t len, size_t from) {
    for (size_t at = 0; at < len; at++)
        if (bytes[at] != (char)pattern(from + at))
            return false;
    return true;
}

// The file has this content, by way of the cache and past it.
static void expect(size_t start, size_t len, size_t from) {
    char *back = pages(len);
    CHECK(pread(cached, back, len, start) == (ssize_t)len && is_pattern(back, len, from));
    memset(back, 0, len);
    CHECK(pread(fd, back, len, start) == (ssize_t)len && is_pattern(back, len, from));
    munmap(back, len);
}

static struct iocb requests[COUNT];

// Begins to move blocks one after the other, each with a request of its own.
static void begin(aio_context_t context, int operation, int fd, char *bytes) {
    struct iocb *list[COUNT];
    for (int i = 0; i < COUNT; i++) {
        requests[i] = request(operation, fd, bytes + i * UNIT, UNIT, (long)i * UNIT);
        requests[i].aio_data = i;
        list[i] = &requests[i];
    }
    CHECK(submit(context, COUNT, list) == COUNT);
}

// All have come, each once, and moved everything.
static void end(void) {
    struct io_event found[COUNT];
    unsigned seen = 0;
    for (int taken = 0; taken < COUNT;) {
        int more = events(context, 1, COUNT, found, NULL);
        NEED(more > 0);
        for (int i = 0; i < more; i++) {
            CHECK(found[i].res == UNIT && found[i].res2 == 0 && found[i].obj == (uintptr_t)&requests[found[i].data]);
            seen |= 1u << found[i].data;
        }
        taken += more;
    }
    CHECK(seen == (1u << COUNT) - 1);
}

static long result_of(struct iocb one) {
    struct iocb *list[] = {&one};
    struct io_event event = {0};
    if (submit(context, 1, list) != 1)
        return -errno;
    CHECK(events(context, 1, 1, &event, NULL) == 1 && event.obj == (uintptr_t)&one);
    return event.res;
}

static void transfers(void) {
    char *bytes = pages(BYTES);
    begin(context, IOCB_CMD_PREAD, fd, bytes);
    end();
    CHECK(is_pattern(bytes, COUNT * UNIT, from));
    // What is cached when the disk gets other bytes is not what is read later.
    expect(0, COUNT * UNIT, from);
    fill(bytes, COUNT * UNIT, ++from);
    begin(context, IOCB_CMD_PWRITE, fd, bytes);
    end();
    expect(0, COUNT * UNIT, from);
    // The same with bytes in the cache that the disk has not.
    fill(bytes, COUNT * UNIT, ++from);
    CHECK(pwrite(cached, bytes, COUNT * UNIT, 0) == COUNT * UNIT);
    memset(bytes, 0, COUNT * UNIT);
    begin(context, IOCB_CMD_PREAD, fd, bytes);
    end();
    CHECK(is_pattern(bytes, COUNT * UNIT, from));
    // A large one, one in a buffer that begins in a page, the end of the file, a hole; and what is refused.
    fill(bytes, BYTES, ++from);
    CHECK(result_of(request(IOCB_CMD_PWRITE, fd, bytes, BYTES, 0)) == BYTES);
    CHECK(result_of(request(IOCB_CMD_PREAD, fd, bytes + 512, 2 * UNIT, UNIT)) == 2 * UNIT);
    CHECK(is_pattern(bytes + 512, 2 * UNIT, from + UNIT));
    CHECK(result_of(request(IOCB_CMD_PREAD, fd, bytes, 4 * UNIT, BYTES - UNIT)) == UNIT);
    CHECK(is_pattern(bytes, UNIT, from + BYTES - UNIT));
    CHECK(result_of(request(IOCB_CMD_PREAD, fd, bytes, UNIT, BYTES)) == 0);
    CHECK(ftruncate(fd, BYTES + 4 * UNIT) == 0 && result_of(request(IOCB_CMD_PREAD, fd, bytes, UNIT, BYTES)) == UNIT);
    CHECK(bytes[0] == 0 && bytes[UNIT - 1] == 0);
    CHECK(result_of(request(IOCB_CMD_PWRITE, fd, bytes, UNIT, BYTES + UNIT)) == UNIT && ftruncate(fd, BYTES) == 0);
    CHECK(result_of(request(IOCB_CMD_PREAD, fd, bytes, UNIT, 100)) == -EINVAL);
    CHECK(result_of(request(IOCB_CMD_PREAD, fd, bytes, 100, 0)) == -EINVAL);
    CHECK(result_of(request(IOCB_CMD_PREAD, fd, (void *)8192, UNIT, 0)) == -EFAULT);
    int reading = open("begun", O_RDONLY | O_DIRECT);
    CHECK(result_of(request(IOCB_CMD_PWRITE, reading, bytes, UNIT, 0)) == -EBADF && close(reading) == 0);
    // A limit of the size.
    struct rlimit small = {2 * UNIT, RLIM_INFINITY}, large = {RLIM_INFINITY, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    fill(bytes, 4 * UNIT, from);
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    CHECK(result_of(request(IOCB_CMD_PWRITE, fd, bytes, 4 * UNIT, 0)) == 2 * UNIT);
    CHECK(result_of(request(IOCB_CMD_PWRITE, fd, bytes, UNIT, 2 * UNIT)) == -EFBIG);
    CHECK(setrlimit(RLIMIT_FSIZE, &large) == 0);
    // An eventfd counts them; what is with the disk can't be cancelled.
    int counter = eventfd(0, 0);
    struct iocb *list[COUNT];
    for (int i = 0; i < COUNT; i++) {
        requests[i] = request(IOCB_CMD_PREAD, fd, bytes + i * UNIT, UNIT, (long)i * UNIT);
        requests[i].aio_data = i, requests[i].aio_flags = IOCB_FLAG_RESFD, requests[i].aio_resfd = counter;
        list[i] = &requests[i];
    }
    CHECK(submit(context, COUNT, list) == COUNT);
    struct io_event event;
    CHECK(syscall(SYS_io_cancel, context, list[COUNT - 1], &event) == -1 && errno == EINVAL);
    uint64_t count, total = 0;
    while (total < COUNT && read(counter, &count, sizeof count) == sizeof count)
        total += count;
    CHECK(total == COUNT && close(counter) == 0);
    end();
    CHECK(fsync(fd) == 0);
    munmap(bytes, BYTES);
}

// Memory, files and contexts go while the disk has requests.
static void leaving(void) {
    char *bytes = pages(COUNT * UNIT);
    begin(context, IOCB_CMD_PREAD, fd, bytes);
    CHECK(munmap(bytes, COUNT * UNIT) == 0);
    bytes = mmap(bytes, COUNT * UNIT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    NEED(bytes != MAP_FAILED);
    memset(bytes, 'n', COUNT * UNIT);
    end();
    for (int at = 0; at < COUNT * UNIT; at++)
        if (bytes[at] != 'n') {
            printf("FAILED: the disk wrote to new memory at %d\n", at);
            t_failures++;
            break;
        }
    int other = open("begun", O_RDWR | O_DIRECT);
    fill(bytes, COUNT * UNIT, ++from);
    begin(context, IOCB_CMD_PWRITE, other, bytes);
    CHECK(close(other) == 0);
    end();
    expect(0, COUNT * UNIT, from);
    // A file that gets shorter, and whose blocks others get.
    other = open("shorter", O_RDWR | O_CREAT | O_DIRECT, 0644);
    CHECK(pwrite(other, bytes, COUNT * UNIT, 0) == COUNT * UNIT);
    begin(context, IOCB_CMD_PWRITE, other, bytes);
    CHECK(ftruncate(other, 0) == 0);
    int taker = open("taker", O_RDWR | O_CREAT | O_DIRECT, 0644);
    char *mine = pages(COUNT * UNIT);
    memset(mine, 't', COUNT * UNIT);
    CHECK(pwrite(taker, mine, COUNT * UNIT, 0) == COUNT * UNIT);
    end();
    memset(mine, 0, COUNT * UNIT);
    CHECK(pread(taker, mine, COUNT * UNIT, 0) == COUNT * UNIT && mine[0] == 't' && mine[COUNT * UNIT - 1] == 't');
    CHECK(close(taker) == 0 && close(other) == 0 && unlink("taker") == 0 && unlink("shorter") == 0);
    // Once a context is gone, so are its requests.
    aio_context_t own = 0;
    CHECK(setup(COUNT, &own) == 0);
    fill(bytes, COUNT * UNIT, ++from);
    begin(own, IOCB_CMD_PWRITE, fd, bytes);
    CHECK(destroy(own) == 0);
    expect(0, COUNT * UNIT, from);
    munmap(bytes, COUNT * UNIT);
    munmap(mine, COUNT * UNIT);
}

// A process ends, or becomes another program: what it has begun is done then.
static void ending(void) {
    char *bytes = pages(COUNT * UNIT);
    for (int how = 0; how < 4; how++) {
        fill(bytes, COUNT * UNIT, ++from);
        pid_t child = fork();
        if (child == 0) {
            aio_context_t own = 0;
            struct ring r;
            if (how == 3) {
                ring_open(&r, COUNT, NULL);
                for (int i = 0; i < COUNT; i++)
                    ring_bytes(&r, IORING_OP_WRITE, fd, bytes + i * UNIT, UNIT, (uint64_t)i * UNIT, i);
                ring_submit(&r, 0);
            } else {
                CHECK(setup(COUNT, &own) == 0);
                begin(own, IOCB_CMD_PWRITE, fd, bytes);
            }
            if (how == 1)
                execl("/proc/self/exe", "begun", "nothing", NULL);
            if (how == 2)
                _exit(0);
            raise(SIGKILL);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(how == 1 || how == 2 ? status == 0 : WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        expect(0, COUNT * UNIT, from);
    }
    // Pages that both processes have after a fork.
    char *shared = mmap(NULL, COUNT * UNIT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED(shared != MAP_FAILED);
    begin(context, IOCB_CMD_PREAD, fd, shared);
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    CHECK(waitpid(child, NULL, 0) == child);
    end();
    CHECK(is_pattern(shared, COUNT * UNIT, from));
    munmap(bytes, COUNT * UNIT);
    munmap(shared, COUNT * UNIT);
}

static void take_all(struct ring *r, int count) {
    unsigned seen = 0;
    for (int i = 0; i < count; i++) {
        struct completion done = ring_take(r);
        CHECK(done.res == UNIT);
        seen |= 1u << done.user_data;
    }
    CHECK(seen == (1u << count) - 1 && ring_ready(r) == 0);
}

static void rings(unsigned flags) {
    struct io_uring_params how = {.flags = flags};
    struct ring r;
    ring_open(&r, 2 * COUNT, &how);
    char *bytes = pages(COUNT * UNIT);
    for (int i = 0; i < COUNT; i++)
        ring_bytes(&r, IORING_OP_READ, fd, bytes + i * UNIT, UNIT, (uint64_t)i * UNIT, i);
    CHECK(ring_submit(&r, COUNT) == COUNT);
    take_all(&r, COUNT);
    CHECK(is_pattern(bytes, COUNT * UNIT, from));
    fill(bytes, COUNT * UNIT, ++from);
    for (int i = 0; i < COUNT; i++)
        ring_bytes(&r, IORING_OP_WRITE, fd, bytes + i * UNIT, UNIT, (uint64_t)i * UNIT, i);
    CHECK(ring_submit(&r, 0) == COUNT);
    take_all(&r, COUNT);
    expect(0, COUNT * UNIT, from);
    // A chain, a barrier, and one that is not cancelled any more.
    fill(bytes, UNIT, from + 1);
    ring_bytes(&r, IORING_OP_WRITE, fd, bytes, UNIT, 0, 0)->flags = IOSQE_IO_LINK;
    ring_next(&r, IORING_OP_FSYNC, fd, 1)->flags = IOSQE_IO_LINK;
    ring_bytes(&r, IORING_OP_READ, fd, bytes + UNIT, UNIT, 0, 2);
    CHECK(ring_submit(&r, 0) == 3);
    for (uint64_t i = 0; i < 3; i++) {
        struct completion done = ring_take(&r);
        CHECK(done.user_data == i && done.res == (i == 1 ? 0 : UNIT));
    }
    CHECK(is_pattern(bytes + UNIT, UNIT, from + 1));
    ring_bytes(&r, IORING_OP_READ, fd, bytes, UNIT, 0, 0);
    ring_bytes(&r, IORING_OP_READ, fd, bytes + UNIT, UNIT, 0, 1)->flags = IOSQE_IO_DRAIN;
    CHECK(ring_submit(&r, 0) == 2);
    CHECK(ring_take(&r).user_data == 0 && ring_take(&r).user_data == 1);
    ring_bytes(&r, IORING_OP_READ, fd, bytes, UNIT, 0, 0);
    CHECK(ring_submit(&r, 0) == 1);
    ring_next(&r, IORING_OP_ASYNC_CANCEL, -1, 1)->addr = 0;
    CHECK(ring_submit(&r, 2) == 1);
    for (int i = 0; i < 2; i++) {
        struct completion done = ring_take(&r);
        CHECK(done.user_data == 0 ? done.res == UNIT : done.res == -EALREADY || done.res == -ENOENT);
    }
    ring_bytes(&r, IORING_OP_READ, fd, bytes, UNIT, 100, 0);
    CHECK(ring_submit(&r, 1) == 1 && ring_take(&r).res == -EINVAL);
    fill(bytes, UNIT, from);
    CHECK(pwrite(fd, bytes, UNIT, 0) == UNIT);
    // The ring goes first.
    fill(bytes, COUNT * UNIT, ++from);
    for (int i = 0; i < COUNT; i++)
        ring_bytes(&r, IORING_OP_WRITE, fd, bytes + i * UNIT, UNIT, (uint64_t)i * UNIT, i);
    CHECK(ring_submit(&r, 0) == COUNT && close(r.fd) == 0);
    CHECK(ftruncate(fd, BYTES + UNIT) == 0 && ftruncate(fd, BYTES) == 0);
    expect(0, COUNT * UNIT, from);
    munmap(bytes, COUNT * UNIT);
}

// The disk itself, before it is mounted: blocks are read, and written again.
static void special(const char *disk) {
    int whole = open(disk, O_RDWR | O_DIRECT), other = open(disk, O_RDONLY);
    NEED(whole >= 0 && other >= 0);
    char *bytes = pages(COUNT * UNIT), *back = pages(COUNT * UNIT);
    begin(context, IOCB_CMD_PREAD, whole, bytes);
    end();
    CHECK(pread(other, back, COUNT * UNIT, 0) == COUNT * UNIT && memcmp(bytes, back, COUNT * UNIT) == 0);
    // The bytes before the superblock are no one's (ext4's first 1024).
    memset(bytes, 'x', 512);
    begin(context, IOCB_CMD_PWRITE, whole, bytes);
    end();
    CHECK(pread(other, back, COUNT * UNIT, 0) == COUNT * UNIT && memcmp(bytes, back, COUNT * UNIT) == 0);
    CHECK(fsync(whole) == 0 && close(whole) == 0 && close(other) == 0);
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "nothing"))
        return 0;
    const char *disk = getenv("DISK");
    CHECK(setup(2 * COUNT, &context) == 0);
    special(disk);
    mkdir("/volume", 0755);
    NEED(mount(disk, "/volume", "ext4", 0, NULL) == 0 && chdir("/volume") == 0);
    fd = open("begun", O_RDWR | O_CREAT | O_DIRECT, 0644), cached = open("begun", O_RDWR);
    char *bytes = pages(BYTES);
    fill(bytes, BYTES, from);
    NEED(fd >= 0 && cached >= 0 && pwrite(fd, bytes, BYTES, 0) == BYTES);
    transfers();
    leaving();
    ending();
    rings(0);
    rings(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
    if (t_failures == 0)
        puts("begun");
    return t_failures != 0;
}
