// Calls that free the pages of a large file let other processes have their CPU.
// machines: all
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

static void end(void) {
    close(file);
    file = -1;
}

// What is left of a file, and what is not.
static void look(const char *what) {
    char bytes[3] = {};
    CHECK(pread(file, bytes, 1, 4999) == 1);
    ssize_t behind = pread(file, bytes + 1, 1, 5000), far = pread(file, bytes + 2, 1, LARGE - 1);
    struct stat st;
    CHECK(fstat(file, &st) == 0);
    printf("%s: %c, then %zd of '%s', at the end %zd of '%s', %s\n", what, bytes[0], behind, bytes[1] ? "x" : "0", far,
           bytes[2] ? "x" : "0", st.st_blocks < LARGE / 512 / 2 ? "its pages are free" : "its pages are there");
}

int main(void) {
    new_file();
    cut();
    look("cut off");
    CHECK(ftruncate(file, LARGE) == 0);
    look("and grown again");
    new_file();
    punch();
    look("punched");
    show("ftruncate", others_run(new_file, cut), "lets others run");
    show("FALLOC_FL_PUNCH_HOLE", others_run(new_file, punch), "lets others run");
    show("the last close", others_run(new_file, end), "lets others run");
    DONE();
}
