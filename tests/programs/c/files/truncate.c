// truncate and ftruncate shrink and grow; what grows back is zero.
#include "t.h"

int main(void) {
    enter_scratch();
    write_file("f", "0123456789");
    SHOW(truncate("f", 4));
    show_file("f");
    SHOW(truncate("f", 8));
    int fd = open("f", O_RDWR);
    char b[16];
    SHOW(read(fd, b, sizeof b));
    for (int i = 0; i < 8; i++)
        printf("%02x ", (unsigned)b[i]);
    putchar('\n');
    SHOW(ftruncate(fd, 0));
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(write(fd, "z", 1));
    SHOW(lseek(fd, 0, SEEK_END));
    SHOW(ftruncate(fd, -1));
    SHOW(ftruncate(open("f", O_RDONLY), 1));
    SHOW(truncate(".", 1));
    SHOW(truncate("none", 1));
    SHOW(ftruncate(fd, 3 * 4096 + 1));
    SHOW(pwrite(fd, "q", 1, 2 * 4096));
    SHOW(ftruncate(fd, 4096 + 10));
    SHOW(ftruncate(fd, 3 * 4096));
    SHOW(pread(fd, b, 1, 2 * 4096));
    SHOW(b[0]);
    DONE();
}
