// Calls that free or copy the pages of a large file let other processes have their CPU. Linux on a busy machine may need longer
// to run another process than for some of them.
// linux: no
// stdout-has: all let others run
// memory: 640M
#include "long_calls.h"

enum { LARGE = 240 * MB, PIECE = MB };

static int file = -1;

static void new_file(void) {
    static char *piece;
    if (!piece)
        memset(piece = malloc(PIECE), 'x', PIECE);
    if (file >= 0)
        close(file);
    file = memfd_create("large", 0);
    NEED(file >= 0);
    for (int i = 0; i < LARGE / PIECE; i++)
        NEED(write(file, piece, PIECE) == PIECE);
}

static void cut(void) { NEED(ftruncate(file, 5000) == 0); }

static void punch(void) {
    NEED(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5000, LARGE) == 0);
}

static int copied;

static void copy(void) {
    loff_t from = 0, to = 0;
    NEED(copy_file_range(file, &from, copied, &to, 32 * MB, 0) == 32 * MB);
}

static void end(void) {
    close(file);
    file = -1;
}

// What is behind the first 5000 bytes is gone, and zeroes are in its place if the file has `grown`.
static void look(bool grown) {
    char bytes[3] = {};
    CHECK(pread(file, bytes, 1, 4999) == 1);
    ssize_t behind = pread(file, bytes + 1, 1, 5000), far = pread(file, bytes + 2, 1, LARGE - 1);
    struct stat st;
    CHECK(fstat(file, &st) == 0);
    CHECK(bytes[0] == 'x' && bytes[1] == 0 && bytes[2] == 0);
    CHECK(behind == grown && far == grown);
    CHECK(st.st_blocks < LARGE / 512 / 2);
}

int main(void) {
    new_file();
    cut();
    look(false);
    CHECK(ftruncate(file, LARGE) == 0);
    look(true);
    new_file();
    punch();
    look(true);
    copied = memfd_create("copied", 0);
    NEED(copied >= 0);
    show("copy_file_range", others_run(NULL, copy), "lets others run");
    close(copied);
    show("ftruncate", others_run(new_file, cut), "lets others run");
    show("FALLOC_FL_PUNCH_HOLE", others_run(new_file, punch), "lets others run");
    show("the last close", others_run(new_file, end), "lets others run");
    if (!t_failures)
        puts("all let others run");
    DONE();
}
