// splice, tee, vmsplice and sendfile move what fits into a pipe and no more; what doesn't fit stays where it was, and none
// of them waits for room when told not to wait.
// machines: all
#include "t.h"
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define MANY (1 << 18)
#define HELD 65536
static char bytes[MANY] __attribute__((aligned(4096))), back[MANY];

/* A pipe that holds `held` bytes of `bytes`. */
static void make_pipe(int ends[2], int held) {
    (void)!pipe(ends);
    (void)!write(ends[1], bytes, held);
}

/* What the socket or pipe still holds is `bytes` from `from` on. */
static int rest_is_right(int fd, int from, int to) {
    int done = from;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (long n; (n = read(fd, back + done, MANY - done)) > 0;)
        done += n;
    return done == to && memcmp(back + from, bytes + from, to - from) == 0;
}

static void from_file(void) {
    int file = open("big", O_CREAT | O_RDWR | O_TRUNC, 0600), p[2];
    (void)!write(file, bytes, MANY);
    loff_t at = 0;
    make_pipe(p, 0);
    SHOW(splice(file, &at, p[1], NULL, MANY, 0));
    SHOW((long)at);
    SHOW(splice(file, &at, p[1], NULL, MANY, SPLICE_F_NONBLOCK));
    SHOW((long)at);
    SHOW(rest_is_right(p[0], 0, HELD));
    make_pipe(p, 0);
    off_t from = 0;
    SHOW(sendfile(p[1], file, &from, MANY));
    SHOW((long)from);
    int end = open("end", O_CREAT | O_RDWR | O_APPEND, 0600);
    SHOW(splice(p[0], NULL, end, NULL, 10, 0));
}

static void from_memory(void) {
    int p[2];
    make_pipe(p, 0);
    struct iovec piece = {bytes, MANY};
    SHOW(vmsplice(p[1], &piece, 1, 0));
    SHOW(vmsplice(p[1], &piece, 1, SPLICE_F_NONBLOCK));
    SHOW(rest_is_right(p[0], 0, HELD));
    /* Each page takes the room of a whole one. */
    make_pipe(p, 0);
    struct iovec pieces[] = {{bytes + 768, 100}, {bytes + 868, MANY - 868}};
    long moved = vmsplice(p[1], pieces, 2, 0);
    printf("vmsplice of two pieces in one page: %ld\n", moved);
    SHOW(rest_is_right(p[0], 768, 768 + moved));
}

static void from_socket(void) {
    int s[2], p[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    make_pipe(p, 0);
    (void)!write(s[0], bytes, 1000);
    SHOW(splice(s[1], NULL, p[1], NULL, MANY, 0));
    SHOW(splice(s[1], NULL, p[1], NULL, MANY, SPLICE_F_NONBLOCK));
    SHOW(rest_is_right(p[0], 0, 1000));
    make_pipe(p, HELD);
    (void)!write(s[0], bytes, 70000);
    SHOW(splice(s[1], NULL, p[1], NULL, 70000, SPLICE_F_NONBLOCK));
    SHOW(rest_is_right(p[0], 0, HELD));
    make_pipe(p, 0);
    long moved = 0;
    for (long n; (n = splice(s[1], NULL, p[1], NULL, 70000, SPLICE_F_NONBLOCK)) > 0;)
        moved += n;
    SHOW(moved > 0);
    SHOW(rest_is_right(p[0], 0, moved));
    SHOW(rest_is_right(s[1], moved, 70000));
}

static void to_socket(void) {
    int s[2], p[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    fcntl(s[0], F_SETFL, O_NONBLOCK);
    while (write(s[0], back, 4096) > 0) {
    }
    make_pipe(p, 5000);
    SHOW(splice(p[0], NULL, s[0], NULL, 5000, SPLICE_F_NONBLOCK));
    fcntl(s[1], F_SETFL, O_NONBLOCK);
    while (read(s[1], back, MANY) > 0) {
    }
    SHOW(splice(p[0], NULL, s[0], NULL, 1000, SPLICE_F_NONBLOCK));
    SHOW(rest_is_right(s[1], 0, 1000));
    SHOW(rest_is_right(p[0], 1000, 5000));
    close(s[1]);
    make_pipe(p, 10);
    signal(SIGPIPE, SIG_IGN);
    SHOW(splice(p[0], NULL, s[0], NULL, 10, 0));
}

static void between_pipes(void) {
    int from[2], to[2];
    make_pipe(from, 5000);
    make_pipe(to, HELD);
    fcntl(to[1], F_SETFL, O_NONBLOCK);
    SHOW(splice(from[0], NULL, to[1], NULL, 5000, SPLICE_F_NONBLOCK));
    SHOW(tee(from[0], to[1], 5000, SPLICE_F_NONBLOCK));
    SHOW(splice(from[0], NULL, from[1], NULL, 10, SPLICE_F_NONBLOCK));
    SHOW(tee(from[0], from[1], 10, SPLICE_F_NONBLOCK));
    (void)!read(to[0], back, 5 * 4096);
    SHOW(tee(from[0], to[1], 5000, 0));
    SHOW(splice(from[0], NULL, to[1], NULL, 100, 0));
    SHOW(rest_is_right(from[0], 100, 5000));
    while (write(to[1], back, 4096) > 0) {
    }
    SHOW(splice(from[0], NULL, to[1], NULL, 10, SPLICE_F_NONBLOCK));
    SHOW(tee(from[0], to[1], 10, SPLICE_F_NONBLOCK));
    close(from[1]);
    make_pipe(to, 0);
    SHOW(splice(from[0], NULL, to[1], NULL, 10, 0));
    SHOW(tee(from[0], to[1], 10, 0));
    close(to[0]);
    make_pipe(from, 10);
    SHOW(splice(from[0], NULL, to[1], NULL, 10, 0));
    SHOW(rest_is_right(from[0], 0, 10));
}

int main(void) {
    for (int i = 0; i < MANY; i++)
        bytes[i] = i * 31 + (i >> 8);
    enter_scratch();
    from_file();
    from_memory();
    from_socket();
    to_socket();
    between_pipes();
}
