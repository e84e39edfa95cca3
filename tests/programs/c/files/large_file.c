// A file of several megabytes in /tmp: written in odd pieces, read back in others, every byte in place.
// memory: 128M
#include "t.h"

int main(void) {
    enter_scratch();
    int fd = open("big", O_RDWR | O_CREAT, 0600);
    size_t total = 6 * 1000 * 1000, at = 0;
    static unsigned char b[70000];
    for (size_t piece = 1; at < total; piece = piece * 7 % 65521 + 1) {
        size_t n = piece < total - at ? piece : total - at;
        for (size_t i = 0; i < n; i++)
            b[i] = pattern(at + i);
        NEED(write(fd, b, n) == (ssize_t)n);
        at += n;
    }
    SHOW(lseek(fd, 0, SEEK_CUR));
    lseek(fd, 0, SEEK_SET);
    size_t bad = 0;
    ssize_t n;
    at = 0;
    while ((n = read(fd, b, 65537)) > 0)
        for (ssize_t i = 0; i < n; i++, at++)
            bad += b[i] != pattern(at);
    SHOW(at);
    SHOW(bad);
    DONE();
}
