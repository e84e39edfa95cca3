// Files in memory take half of it at most: who writes more is told, and programs still have memory.
// linux: no
// stdout-has: files are full, programs are not
#include "t.h"
#include <sys/statvfs.h>

enum { PIECE = 64 << 10, TOUCHED = 4 << 20 };
static char piece[PIECE];

int main(void) {
    int fd = open("/tmp/full", O_RDWR | O_CREAT, 0600);
    struct statvfs before, full, after;
    CHECK(fd >= 0 && statvfs("/tmp", &before) == 0);
    long written = 0, n;
    while ((n = write(fd, piece, PIECE)) > 0)
        written += n;
    CHECK(n == -1 && errno == ENOSPC);
    CHECK(written >= (long)before.f_blocks * 4096 / 2);
    CHECK(statvfs("/tmp", &full) == 0 && full.f_bavail == 0);
    // Memory that is not the files' is there.
    char *memory = malloc(TOUCHED);
    CHECK(memory != NULL);
    for (long at = 0; at < TOUCHED; at += 4096)
        memory[at] = 1;
    // What is cut off is there for others.
    CHECK(ftruncate(fd, 0) == 0 && statvfs("/tmp", &after) == 0 && after.f_bavail > full.f_bavail);
    CHECK(pwrite(fd, piece, PIECE, 0) == PIECE);
    puts("files are full, programs are not");
    return 0;
}
