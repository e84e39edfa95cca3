// A transfer whose memory ends half way: with files and devices the bytes up to the bad page count. With streams they may count, or
// the call fails, by where the kernel's pieces end; what was not delivered is still there. A packet goes whole, or not at all.
// A transfer of which no byte fits fails with EFAULT.
// machines: all
#include "t.h"
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <netinet/in.h>

#define PAGE 4096L
// Bytes before the page that can't be accessed, and a transfer that reaches into it.
enum { BEFORE = 100, LEN = 300 };

// Two pages of which the second can't be accessed; what is behind `at` in the first is `BEFORE` bytes.
static char *at;

static void make(void) {
    char *pages = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(pages != MAP_FAILED && mprotect(pages + 2 * PAGE, PAGE, PROT_NONE) == 0);
    at = pages + 2 * PAGE - BEFORE;
}

// Whether so many bytes of the pattern, from its byte `from`, lie there.
static bool has(const char *bytes, long from, long len) {
    for (long i = 0; i < len; i++)
        if ((unsigned char)bytes[i] != pattern(from + i))
            return false;
    return true;
}

static void fill(char *bytes, long from, long len) {
    for (long i = 0; i < len; i++)
        bytes[i] = (char)pattern(from + i);
}

enum kind { STREAM, PEEKED, PACKETS };

static void readers(const char *name, int from, int to, long (*receive)(int, char *, long), enum kind kind) {
    char bytes[LEN], rest[2 * LEN];
    fill(bytes, 0, LEN);
    printf("%s\n", name);
    NEED(write(to, bytes, LEN) == LEN);
    errno = 0;
    long got = receive(from, at, LEN);
    bool failed = got == -1 && errno == EFAULT;
    if (kind == PACKETS) {
        SHOW(failed);
        SHOW(recv(from, rest, sizeof rest, MSG_DONTWAIT));
        return;
    }
    SHOW(failed || (got > 0 && got < LEN && has(at, 0, BEFORE)));
    long taken = kind == PEEKED || got < 0 ? 0 : got;
    SHOW(read(from, rest, sizeof rest) == LEN - taken);
    SHOW(has(rest, taken, LEN - taken));
    NEED(write(to, bytes, LEN) == LEN);
    SHOW(receive(from, at + BEFORE, LEN));
    SHOW(read(from, rest, sizeof rest));
    SHOW(has(rest, 0, LEN));
}

static long by_read(int fd, char *to, long len) { return read(fd, to, len); }
static long by_recv(int fd, char *to, long len) { return recv(fd, to, len, 0); }
static long by_peek(int fd, char *to, long len) { return recv(fd, to, len, MSG_PEEK); }
static void writers(const char *name, int from, int to) {
    printf("%s\n", name);
    fill(at, 0, BEFORE);
    SHOW(write(to, at + BEFORE, 10));
    // One piece, and more than one step of the kernel.
    char *more = at - PAGE, end = 1, got[3 * PAGE];
    fill(more, 0, PAGE + BEFORE);
    for (int i = 0; i < 2; i++) {
        long done = i == 0 ? write(to, more, PAGE + BEFORE + 10) : write(to, more, 3 * PAGE), n = 0;
        bool failed = done == -1 && errno == EFAULT;
        SHOW(failed || (done > 0 && done <= PAGE + BEFORE));
        NEED(write(to, &end, 1) == 1);
        long expected = done > 0 ? done + 1 : 1;
        while (n < expected) {
            long here = read(from, got + n, sizeof got - n);
            NEED(here > 0);
            n += here;
        }
        SHOW(n == expected && got[n - 1] == end && has(got, 0, n - 1));
    }
}

static void tcp_pair(int *a, int *b) {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    NEED(bind(listener, (void *)&address, len) == 0 && listen(listener, 1) == 0);
    NEED(getsockname(listener, (void *)&address, &len) == 0);
    NEED((*a = socket(AF_INET, SOCK_STREAM, 0)) >= 0 && connect(*a, (void *)&address, len) == 0);
    NEED((*b = accept(listener, NULL, NULL)) >= 0);
    close(listener);
}

static void udp_pair(int *a, int *b) {
    int ends[2];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    for (int i = 0; i < 2; i++)
        NEED((ends[i] = socket(AF_INET, SOCK_DGRAM, 0)) >= 0);
    NEED(bind(ends[0], (void *)&address, len) == 0 && getsockname(ends[0], (void *)&address, &len) == 0);
    NEED(connect(ends[1], (void *)&address, len) == 0);
    *a = ends[0], *b = ends[1];
}

static void files(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    NEED(fd >= 0);
    char bytes[3 * PAGE];
    fill(bytes, 0, sizeof bytes);
    NEED(write(fd, bytes, sizeof bytes) == sizeof bytes);
    for (int from = 0; from <= 50; from += 50) {
        memset(at, 'x', BEFORE);
        SHOW(pread(fd, at, LEN, from));
        SHOW(has(at, from, BEFORE));
    }
    SHOW(pread(fd, at + BEFORE, LEN, 0));
    SHOW(lseek(fd, PAGE - 50, SEEK_SET));
    SHOW(read(fd, at, LEN));
    SHOW(has(at, PAGE - 50, BEFORE));
    SHOW(lseek(fd, 0, SEEK_CUR));
    fill(at, 1, BEFORE);
    SHOW(pwrite(fd, at, LEN, 0));
    SHOW(pwrite(fd, at, LEN, PAGE - 50));
    SHOW(pwrite(fd, at + BEFORE, LEN, 0));
    SHOW(pwrite(fd, at, LEN, 3 * PAGE));
    SHOW(lseek(fd, 0, SEEK_END));
    SHOW(write(fd, at, LEN));
    SHOW(write(fd, at + BEFORE, LEN));
    SHOW(lseek(fd, 0, SEEK_CUR));
    struct iovec pieces[] = {{bytes, 20}, {at, LEN}, {bytes, 20}};
    SHOW(writev(fd, pieces, 3));
    SHOW(preadv(fd, pieces, 3, 0));
    SHOW(lseek(fd, 0, SEEK_END));
    close(fd);
}

int main(void) {
    make();
    int ends[2], other[2];
    NEED(pipe2(ends, O_NONBLOCK) == 0);
    readers("pipe", ends[0], ends[1], by_read, STREAM);
    writers("pipe", ends[0], ends[1]);
    NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, other) == 0);
    readers("unix stream", other[0], other[1], by_recv, STREAM);
    readers("unix stream, peeked", other[0], other[1], by_peek, PEEKED);
    writers("unix stream", other[0], other[1]);
    NEED(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, other) == 0);
    readers("unix datagrams", other[0], other[1], by_recv, PACKETS);
    SHOW(write(other[1], at, LEN));
    NEED(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, other) == 0);
    readers("unix packets", other[0], other[1], by_recv, PACKETS);
    udp_pair(other, other + 1);
    readers("udp", other[0], other[1], by_recv, PACKETS);
    SHOW(write(other[1], at, LEN));
    tcp_pair(other, other + 1);
    readers("tcp", other[0], other[1], by_recv, STREAM);
    readers("tcp, peeked", other[0], other[1], by_peek, PEEKED);
    writers("tcp", other[0], other[1]);
    enter_scratch();
    files("file");
    printf("devices\n");
    SHOW(getrandom(at, LEN, 0));
    SHOW(getrandom(at + BEFORE, LEN, 0));
    int zero = open("/dev/zero", O_RDWR), random = open("/dev/urandom", O_RDONLY), null = open("/dev/null", O_RDWR);
    SHOW(read(zero, at, LEN));
    SHOW(read(zero, at + BEFORE, LEN));
    SHOW(read(random, at, LEN));
    SHOW(read(random, at + BEFORE, LEN));
    SHOW(write(null, at, LEN));
    DONE();
}
