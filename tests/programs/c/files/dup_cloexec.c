// dup, dup2, dup3 and F_DUPFD share the offset; FD_CLOEXEC belongs to the descriptor.
#include "t.h"

int main(void) {
    enter_scratch();
    write_file("f", "0123456789");
    int a = open("f", O_RDONLY);
    int b = dup(a);
    char c[4] = {0};
    SHOW(read(a, c, 3));
    SHOW(read(b, c, 3));
    puts(c);
    SHOW(lseek(a, 0, SEEK_CUR));
    SHOW(dup2(a, 50));
    SHOW(dup2(a, a));
    SHOW(dup3(a, a, 0));
    SHOW(dup3(a, 51, O_CLOEXEC));
    SHOW(fcntl(51, F_GETFD));
    SHOW(fcntl(50, F_GETFD));
    SHOW(fcntl(50, F_SETFD, FD_CLOEXEC));
    SHOW(fcntl(50, F_GETFD));
    SHOW(fcntl(a, F_GETFD));
    SHOW(fcntl(a, F_DUPFD, 100));
    SHOW(fcntl(a, F_DUPFD_CLOEXEC, 100));
    SHOW(fcntl(101, F_GETFD));
    SHOW(dup2(77, 3));
    SHOW(dup2(a, -1));
    SHOW(dup2(a, 1 << 30));
    SHOW(fcntl(a, F_DUPFD, 1 << 30));
    SHOW(close(a));
    SHOW(read(50, c, 1));
    SHOW(c[0]);
    SHOW(close(a));
    SHOW(close_range(100, 101, 0));
    SHOW(fcntl(100, F_GETFD));
    int fd = open("f", O_RDONLY | O_CLOEXEC);
    SHOW(fcntl(fd, F_GETFD));
    SHOW(fcntl(fd, 9999));
    DONE();
}
