// Descriptors that are closed, negative or of another kind: the right errno from every family of calls.
#include "net.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

int main(void) {
    char b[64];
    struct stat st;
    struct iovec v = {b, 8};
    struct sockaddr_in a = loopback(1);
    socklen_t length = sizeof a;
    int fds[] = {-1, 777, INT_MAX};
    for (int i = 0; i < 3; i++) {
        int fd = fds[i];
        printf("descriptor %d\n", fd);
        SHOW(read(fd, b, 1));
        SHOW(write(fd, b, 1));
        SHOW(readv(fd, &v, 1));
        SHOW(pread(fd, b, 1, 0));
        SHOW(lseek(fd, 0, SEEK_SET));
        SHOW(close(fd));
        SHOW(fstat(fd, &st));
        SHOW(dup(fd));
        SHOW(fcntl(fd, F_GETFL));
        SHOW(ioctl(fd, FIONREAD, b));
        SHOW(ftruncate(fd, 0));
        SHOW(fsync(fd));
        SHOW(fchdir(fd));
        SHOW(getsockname(fd, (struct sockaddr *)&a, &length));
        SHOW(connect(fd, ADDR(a)));
        SHOW(send(fd, b, 1, 0));
        SHOW(listen(fd, 1));
        SHOW(syscall(SYS_getdents64, fd, b, 64));
        SHOW(fchmod(fd, 0600));
    }
    int file = open("/proc/self/exe", O_RDONLY);
    puts("a file");
    SHOW(getsockname(file, (struct sockaddr *)&a, &length));
    SHOW(send(file, b, 1, 0));
    SHOW(accept(file, NULL, NULL));
    SHOW(timerfd_gettime(file, (void *)b));
    SHOW(write(file, b, 1));
    SHOW(fchdir(file));
    int sock = socket(AF_INET, SOCK_STREAM, 0);
    puts("a socket");
    SHOW(read(sock, b, 1));
    signal(SIGPIPE, SIG_IGN);
    SHOW(write(sock, b, 1));
    SHOW(lseek(sock, 0, SEEK_SET));
    SHOW(pread(sock, b, 1, 0));
    SHOW(ftruncate(sock, 0));
    SHOW(fsync(sock));
    SHOW(socket(999, SOCK_STREAM, 0));
    SHOW(socket(AF_INET, 999, 0));
    SHOW(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    int ep = epoll_create1(0), ev = eventfd(0, 0);
    puts("others");
    SHOW(lseek(ep, 0, SEEK_SET));
    SHOW(ftruncate(ev, 0));
    SHOW(pread(ev, b, 8, 0));
    SHOW(fsync(ev));
    SHOW(fstat(ev, &st));
    DONE();
}
