// posix_fallocate and fallocate reserve and punch; fsync, fdatasync, sync, posix_fadvise are taken.
#include "t.h"

int main(void) {
    enter_scratch();
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    SHOW(write(fd, "abcdef", 6));
    SHOW(posix_fallocate(fd, 0, 10000));
    SHOW(lseek(fd, 0, SEEK_END));
    SHOW(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 20000));
    SHOW(lseek(fd, 0, SEEK_END));
    SHOW(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2, 2));
    char b[7] = {0};
    SHOW(pread(fd, b, 6, 0));
    printf("%c%c %d %d %c%c\n", b[0], b[1], b[2], b[3], b[4], b[5]);
    SHOW(fallocate(fd, 0, -1, 5));
    SHOW(fallocate(fd, 0, 0, 0));
    SHOW(fallocate(open("f", O_RDONLY), 0, 0, 5));
    SHOW(fsync(fd));
    SHOW(fdatasync(fd));
    sync();
    SHOW(syncfs(fd));
    SHOW(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
    SHOW(fsync(999));
    DONE();
}
