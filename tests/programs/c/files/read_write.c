// pread, pwrite, readv, writev, preadv, pwritev: offsets, short reads at the end, and vectors with empty parts.
#include "t.h"
#include <sys/uio.h>

int main(void) {
    enter_scratch();
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    struct iovec out[] = {{"abc", 3}, {NULL, 0}, {"defgh", 5}, {"ij", 2}};
    SHOW(writev(fd, out, 4));
    SHOW(lseek(fd, 0, SEEK_CUR));
    char a[4] = {0}, b[16] = {0};
    SHOW(pread(fd, b, 4, 2));
    puts(b);
    SHOW(pwrite(fd, "XY", 2, 4));
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(lseek(fd, 1, SEEK_SET));
    struct iovec in[] = {{a, 3}, {b, 15}};
    SHOW(readv(fd, in, 2));
    printf("%s %s\n", a, b);
    SHOW(read(fd, b, 5));
    SHOW(pread(fd, b, 5, 100));
    SHOW(pread(fd, b, 5, -1));
    SHOW(preadv(fd, in, 2, 5));
    SHOW(pwritev(fd, out, 4, 20));
    SHOW(lseek(fd, 0, SEEK_END));
    SHOW(preadv2(fd, in, 1, 0, 0));
    SHOW(writev(fd, out, -1));
    SHOW(writev(fd, out, 1025));
    SHOW(writev(fd, out, 0));
    SHOW(read(fd, b, 0));
    struct iovec wrong[] = {{b, 4}, {b, (size_t)-1}};
    SHOW(readv(fd, wrong, 2));
    DONE();
}
