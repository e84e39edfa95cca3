// Lengths that no memory has: EINVAL for one that is negative as a ssize_t, EFAULT for one of several buffers, or that of read(2) and
// write(2), that doesn't fit the address space; a single buffer of a vector, and recv(2), move what there is.
#include "t.h"
#include <sys/socket.h>
#include <sys/uio.h>

enum { ROOM = 65536 };

int main(void) {
    char *bytes = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(bytes != MAP_FAILED);
    enter_scratch();
    int file = open("file", O_RDWR | O_CREAT, 0600);
    NEED(write(file, "abcdefgh", 8) == 8);
    int pipes[2], sockets[2];
    NEED(pipe2(pipes, O_NONBLOCK) == 0);
    NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sockets) == 0);

    const size_t lengths[] = {SIZE_MAX, (size_t)1 << 63, SIZE_MAX / 2, (size_t)1 << 47};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t length = lengths[i];
        printf("length %zx\n", length);
        struct iovec second[2] = {{bytes, 4}, {bytes + 8, length}}, first[2] = {{bytes, length}, {bytes, 4}};
        struct iovec after_none[2] = {{bytes, 0}, {bytes, length}};
        const int readable[] = {file, pipes[0], sockets[0]};
        for (int k = 0; k < 3; k++) {
            SHOW(read(readable[k], bytes, length));
            SHOW(readv(readable[k], second, 2));
            SHOW(readv(readable[k], first, 2));
            SHOW(readv(readable[k], after_none, 2));
            SHOW(pread(readable[k], bytes, length, 0));
            SHOW(preadv(readable[k], second, 2, 0));
        }
        const int writable[] = {file, pipes[1], sockets[1]};
        for (int k = 0; k < 3; k++) {
            SHOW(write(writable[k], bytes, length));
            SHOW(writev(writable[k], second, 2));
            SHOW(writev(writable[k], first, 2));
            SHOW(pwrite(writable[k], bytes, length, 0));
            SHOW(pwritev(writable[k], second, 2, 0));
        }
        struct msghdr message = {.msg_iov = second, .msg_iovlen = 2};
        SHOW(recvmsg(sockets[0], &message, 0));
        SHOW(sendmsg(sockets[1], &message, 0));
        NEED(write(sockets[1], "xyz", 3) == 3);
        SHOW(recv(sockets[0], bytes, length, 0));
    }
    struct iovec one = {bytes, SIZE_MAX / 2}, negative = {bytes, SIZE_MAX};
    NEED(write(sockets[1], "xyz", 3) == 3);
    SHOW(readv(sockets[0], &negative, 1));
    SHOW(pread(file, bytes, 4, -1));
    SHOW(pread(pipes[0], bytes, 4, -1));
    SHOW(preadv(pipes[0], &negative, 1, 0));
    SHOW(preadv(-1, &one, 1, 0));
    struct stat now;
    NEED(fstat(file, &now) == 0);
    SHOW(now.st_size);
    DONE();
}
