// io_uring(7): what it does with files: reads, writes, vectors, registered files and buffers, paths, copies through a pipe.
#include "ring.h"
#include <sys/uio.h>

static struct ring r;

static struct io_uring_sqe *path(int operation, const char *name, uint64_t data) {
    struct io_uring_sqe *sqe = ring_next(&r, operation, AT_FDCWD, data);
    sqe->addr = (uintptr_t)name;
    return sqe;
}

static void transfers(int fd) {
    char bytes[64] = {0};
    struct iovec out[] = {{"vec", 3}, {"tors", 4}}, in[] = {{bytes, 2}, {bytes + 10, 50}};
    ring_bytes(&r, IORING_OP_WRITE, fd, "some bytes", 10, 0, 1);
    ring_show(&r, "write", 1);
    ring_bytes(&r, IORING_OP_WRITEV, fd, out, 2, 10, 1);
    ring_show(&r, "write a vector", 1);
    ring_bytes(&r, IORING_OP_READ, fd, bytes, 4, 5, 1);
    ring_show(&r, "read", 1);
    printf("%.4s\n", bytes);
    ring_bytes(&r, IORING_OP_READV, fd, in, 2, 3, 1)->flags = IOSQE_ASYNC;
    // It was submitted as it was: what changes now is not looked at.
    CHECK(ring_submit(&r, 0) == 1);
    in[0].iov_base = NULL;
    ring_print("read a vector", ring_take(&r));
    printf("%.2s %s\n", bytes, bytes + 10);
    // At the position of the file, which moves.
    CHECK(lseek(fd, 2, SEEK_SET) == 2);
    ring_bytes(&r, IORING_OP_READ, fd, bytes, 3, -1, 1)->flags = IOSQE_IO_LINK;
    ring_bytes(&r, IORING_OP_READ, fd, bytes + 3, 3, -1, 2);
    ring_show(&r, "position", 2);
    printf("%.6s, then at %d\n", bytes, (int)lseek(fd, 0, SEEK_CUR));
    ring_bytes(&r, IORING_OP_READ, fd, bytes, 20, 10, 1)->flags = IOSQE_IO_LINK;
    ring_next(&r, IORING_OP_NOP, -1, 2);
    ring_show(&r, "short, in a chain", 2);
    ring_bytes(&r, IORING_OP_READ, fd, (void *)8, 4, 0, 1);
    ring_show(&r, "to nowhere", 1);
    ring_bytes(&r, IORING_OP_READ, fd, bytes, 4, 1u << 30, 1);
    ring_show(&r, "past the end", 1);
    ring_bytes(&r, IORING_OP_WRITE, fd, "end", 3, 0, 1)->rw_flags = RWF_APPEND;
    ring_show(&r, "append", 1);
    ring_next(&r, IORING_OP_FSYNC, fd, 1);
    ring_show(&r, "fsync", 1);
    ring_next(&r, IORING_OP_FSYNC, fd, 1)->fsync_flags = 8;
    ring_show(&r, "fsync with flags", 1);
    struct io_uring_sqe *room = ring_next(&r, IORING_OP_FALLOCATE, fd, 1);
    room->addr = 5000;
    ring_show(&r, "allocate", 1);
    struct stat now;
    CHECK(fstat(fd, &now) == 0);
    printf("size %d\n", (int)now.st_size);
}

static void registered(int fd) {
    static char page[4096] __attribute__((aligned(4096)));
    struct iovec buffers[] = {{page, sizeof page}, {NULL, 1}};
    SHOW(ring_register(&r, IORING_REGISTER_BUFFERS, buffers, 2));
    SHOW(ring_register(&r, IORING_REGISTER_BUFFERS, buffers, 1));
    SHOW(ring_register(&r, IORING_REGISTER_BUFFERS, buffers, 1));
    memcpy(page + 100, "fixed", 5);
    ring_bytes(&r, IORING_OP_WRITE_FIXED, fd, page + 100, 5, 0, 1);
    ring_show(&r, "write fixed", 1);
    ring_bytes(&r, IORING_OP_READ_FIXED, fd, page, 5, 0, 1);
    ring_show(&r, "read fixed", 1);
    CHECK(memcmp(page, "fixed", 5) == 0);
    ring_bytes(&r, IORING_OP_READ_FIXED, fd, page + 4090, 10, 0, 1);
    ring_show(&r, "beyond the buffer", 1);
    ring_bytes(&r, IORING_OP_READ_FIXED, fd, page, 5, 0, 1)->buf_index = 7;
    ring_show(&r, "no such buffer", 1);
    SHOW(ring_register(&r, IORING_UNREGISTER_BUFFERS, NULL, 0));

    int files[] = {fd, -1, 99};
    SHOW(ring_register(&r, IORING_REGISTER_FILES, files, 3));
    SHOW(ring_register(&r, IORING_REGISTER_FILES, files, 2));
    SHOW(ring_register(&r, IORING_REGISTER_FILES, files, 2));
    ring_bytes(&r, IORING_OP_READ, 0, page, 5, 0, 1)->flags = IOSQE_FIXED_FILE;
    ring_bytes(&r, IORING_OP_READ, 1, page, 5, 0, 2)->flags = IOSQE_FIXED_FILE;
    ring_bytes(&r, IORING_OP_READ, 2, page, 5, 0, 3)->flags = IOSQE_FIXED_FILE;
    ring_show(&r, "registered", 3);
    struct io_uring_files_update update = {.offset = 1, .fds = (uintptr_t)files};
    SHOW(ring_register(&r, IORING_REGISTER_FILES_UPDATE, &update, 1));
    SHOW(ring_register(&r, IORING_REGISTER_FILES_UPDATE, &update, 2));
    ring_bytes(&r, IORING_OP_READ, 1, page, 5, 0, 2)->flags = IOSQE_FIXED_FILE;
    ring_show(&r, "updated", 1);
    // Straight into the table.
    struct io_uring_sqe *open = path(IORING_OP_OPENAT, "uring_dir/file", 1);
    open->len = 0600, open->open_flags = O_RDWR | O_CREAT, open->file_index = 2;
    ring_show(&r, "open there", 1);
    ring_bytes(&r, IORING_OP_WRITE, 1, "direct", 6, 0, 2)->flags = IOSQE_FIXED_FILE;
    ring_show(&r, "write there", 1);
    ring_next(&r, IORING_OP_CLOSE, 0, 3)->file_index = 2;
    ring_show(&r, "close there", 1);
    ring_next(&r, IORING_OP_CLOSE, 0, 3)->file_index = 2;
    ring_show(&r, "close there again", 1);
    SHOW(ring_register(&r, IORING_UNREGISTER_FILES, NULL, 0));
}

// A registered file of one ring becomes one of another (IORING_MSG_SEND_FD).
static void sent(int fd) {
    struct ring other;
    ring_open(&other, 4, NULL);
    int files[] = {fd, -1}, places[] = {-1, -1};
    const struct {
        const char *name;
        int to, from, at, command, flags, len;
    } messages[] = {
        {"no file of its own", other.fd, 0, 1, IORING_MSG_SEND_FD, 0, 0},
        {"no places", other.fd, 0, 1, IORING_MSG_SEND_FD, 0, 0},
        {"sent", other.fd, 0, 2, IORING_MSG_SEND_FD, 0, 0},
        {"anywhere", other.fd, 0, (int)IORING_FILE_INDEX_ALLOC, IORING_MSG_SEND_FD, 0, 0},
        {"full", other.fd, 0, (int)IORING_FILE_INDEX_ALLOC, IORING_MSG_SEND_FD, 0, 0},
        {"replaced", other.fd, 0, 1, IORING_MSG_SEND_FD, 0, 0},
        {"silently", other.fd, 0, 1, IORING_MSG_SEND_FD, IORING_MSG_RING_CQE_SKIP, 0},
        {"beyond", other.fd, 0, 3, IORING_MSG_SEND_FD, 0, 0},
        {"none", other.fd, 0, 0, IORING_MSG_SEND_FD, 0, 0},
        {"empty place", other.fd, 1, 1, IORING_MSG_SEND_FD, 0, 0},
        {"with a length", other.fd, 0, 1, IORING_MSG_SEND_FD, 0, 1},
        {"to itself", r.fd, 0, 1, IORING_MSG_SEND_FD, 0, 0},
        {"no ring", fd, 0, 1, IORING_MSG_SEND_FD, 0, 0},
        {"no such command", other.fd, 0, 1, 2, 0, 0},
        {"with flags", other.fd, 0, 1, IORING_MSG_SEND_FD, 4, 0},
    };
    for (unsigned n = 0; n < sizeof messages / sizeof *messages; n++) {
        if (n == 1)
            CHECK(ring_register(&r, IORING_REGISTER_FILES, files, 2) == 0);
        if (n == 2)
            CHECK(ring_register(&other, IORING_REGISTER_FILES, places, 2) == 0);
        struct io_uring_sqe *sqe = ring_next(&r, IORING_OP_MSG_RING, messages[n].to, 1);
        sqe->addr = messages[n].command, sqe->addr3 = messages[n].from, sqe->file_index = messages[n].at;
        sqe->msg_ring_flags = messages[n].flags, sqe->len = messages[n].len, sqe->off = 70 + n;
        ring_show(&r, messages[n].name, 1);
        while (ring_ready(&other) > 0)
            ring_print("  there", ring_take(&other));
    }
    CHECK(ring_register(&r, IORING_UNREGISTER_FILES, NULL, 0) == 0);
    char bytes[8] = {0};
    ring_bytes(&other, IORING_OP_READ, 1, bytes, 4, 0, 5)->flags = IOSQE_FIXED_FILE;
    ring_show(&other, "read there", 1);
    printf("%s\n", bytes);
    close(other.fd);
}

// Places without files and buffers, which are filled later (IORING_REGISTER_FILES2 and its kin).
static void places(int fd) {
    static char page[4096] __attribute__((aligned(4096)));
    struct io_uring_rsrc_register sparse = {.nr = 3, .flags = IORING_RSRC_REGISTER_SPARSE}, wrong = sparse;
    int files[] = {fd, -1};
    struct iovec buffers[] = {{page, 100}, {(void *)8, 0}};
    struct io_uring_rsrc_update2 update = {.offset = 1, .data = (uintptr_t)files, .nr = 2}, other = update;
    SHOW(ring_register(&r, IORING_REGISTER_FILES_UPDATE2, &update, sizeof update));
    SHOW(ring_register(&r, IORING_REGISTER_FILES2, &sparse, 8));
    wrong.data = (uintptr_t)files;
    SHOW(ring_register(&r, IORING_REGISTER_FILES2, &wrong, sizeof wrong));
    wrong.data = 0, wrong.nr = 0;
    SHOW(ring_register(&r, IORING_REGISTER_FILES2, &wrong, sizeof wrong));
    wrong.nr = 3, wrong.flags = 2;
    SHOW(ring_register(&r, IORING_REGISTER_FILES2, &wrong, sizeof wrong));
    SHOW(ring_register(&r, IORING_REGISTER_FILES2, &sparse, sizeof sparse));
    SHOW(ring_register(&r, IORING_REGISTER_FILES2, &sparse, sizeof sparse));
    ring_bytes(&r, IORING_OP_READ, 1, page, 5, 0, 1)->flags = IOSQE_FIXED_FILE;
    ring_show(&r, "empty place", 1);
    other.offset = 2;
    SHOW(ring_register(&r, IORING_REGISTER_FILES_UPDATE2, &other, sizeof other));
    other.nr = 0;
    SHOW(ring_register(&r, IORING_REGISTER_FILES_UPDATE2, &other, sizeof other));
    SHOW(ring_register(&r, IORING_REGISTER_FILES_UPDATE2, &update, sizeof update));
    ring_bytes(&r, IORING_OP_READ, 1, page, 5, 0, 1)->flags = IOSQE_FIXED_FILE;
    ring_show(&r, "filled place", 1);
    SHOW(ring_register(&r, IORING_UNREGISTER_FILES, NULL, 0));

    update.data = (uintptr_t)buffers;
    SHOW(ring_register(&r, IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof update));
    SHOW(ring_register(&r, IORING_REGISTER_BUFFERS2, &sparse, sizeof sparse));
    ring_bytes(&r, IORING_OP_READ_FIXED, fd, page, 5, 0, 1)->buf_index = 1;
    ring_show(&r, "empty buffer", 1);
    // The second of the two is wrong.
    SHOW(ring_register(&r, IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof update));
    ring_bytes(&r, IORING_OP_READ_FIXED, fd, page, 5, 0, 1)->buf_index = 1;
    ring_show(&r, "filled buffer", 1);
    SHOW(ring_register(&r, IORING_UNREGISTER_BUFFERS, NULL, 0));
}

static void paths(void) {
    struct io_uring_sqe *sqe = path(IORING_OP_MKDIRAT, "uring_dir", 1);
    sqe->len = 0700;
    ring_show(&r, "mkdir", 1);
    sqe = path(IORING_OP_MKDIRAT, "uring_dir", 1);
    sqe->len = 0700;
    ring_show(&r, "mkdir again", 1);
}

static void more_paths(void) {
    struct io_uring_sqe *sqe = path(IORING_OP_SYMLINKAT, "file", 1);
    sqe->addr2 = (uintptr_t)"uring_dir/link";
    ring_show(&r, "symlink", 1);
    sqe = path(IORING_OP_LINKAT, "uring_dir/file", 1);
    sqe->len = AT_FDCWD, sqe->addr2 = (uintptr_t)"uring_dir/second";
    ring_show(&r, "link", 1);
    sqe = path(IORING_OP_RENAMEAT, "uring_dir/second", 1);
    sqe->len = AT_FDCWD, sqe->addr2 = (uintptr_t)"uring_dir/third";
    ring_show(&r, "rename", 1);
    struct statx found = {0};
    sqe = path(IORING_OP_STATX, "uring_dir/third", 1);
    sqe->len = STATX_BASIC_STATS, sqe->off = (uintptr_t)&found;
    ring_show(&r, "statx", 1);
    printf("size %d, links %d\n", (int)found.stx_size, (int)found.stx_nlink);
    const char *names[] = {"uring_dir/third", "uring_dir/link", "uring_dir/file"};
    for (int n = 0; n < 3; n++)
        path(IORING_OP_UNLINKAT, names[n], n);
    ring_show(&r, "unlink", 3);
    path(IORING_OP_UNLINKAT, "uring_dir", 1)->unlink_flags = AT_REMOVEDIR;
    ring_show(&r, "rmdir", 1);
    sqe = path(IORING_OP_OPENAT, "uring_dir/file", 1);
    ring_show(&r, "open", 1);
    ring_next(&r, IORING_OP_CLOSE, 99, 1);
    ring_show(&r, "close", 1);
    ring_next(&r, IORING_OP_CLOSE, r.fd, 1);
    ring_show(&r, "close the ring", 1);
}

static void copies(int fd) {
    int ends[2];
    char bytes[16] = {0};
    CHECK(pipe(ends) == 0);
    struct io_uring_sqe *in = ring_next(&r, IORING_OP_SPLICE, ends[1], 1);
    in->splice_fd_in = fd, in->splice_off_in = 0, in->off = -1, in->len = 5, in->flags = IOSQE_IO_LINK;
    ring_bytes(&r, IORING_OP_READ, ends[0], bytes, 16, 0, 2);
    // It is shorter than was asked for, which breaks no chain at its end.
    ring_show(&r, "splice", 2);
    printf("%s\n", bytes);
    close(ends[0]), close(ends[1]);
}

int main(void) {
    char directory[] = "/tmp/uring_XXXXXX";
    CHECK(mkdtemp(directory) && chdir(directory) == 0);
    ring_open(&r, 8, NULL);
    int fd = open("data", O_RDWR | O_CREAT, 0600);
    CHECK(fd >= 0);
    transfers(fd);
    paths();
    registered(fd);
    sent(fd);
    places(fd);
    more_paths();
    copies(fd);
    SHOW(unlink("data"));
    CHECK(chdir("/") == 0 && rmdir(directory) == 0);
    return t_failures;
}
