// splice, tee and vmsplice move bytes between pipes and files, or say plainly that they don't.
#include "t.h"
#include <sys/uio.h>

int main(void) {
    enter_scratch();
    write_file("f", "0123456789abcdef");
    int f = open("f", O_RDONLY), p[2], q[2];
    NEED(pipe(p) == 0 && pipe(q) == 0);
    char b[32] = {0};
    SHOW(splice(f, NULL, p[1], NULL, 10, 0));
    SHOW(lseek(f, 0, SEEK_CUR));
    SHOW(tee(p[0], q[1], 4, 0));
    SHOW(read(q[0], b, 4));
    puts(b);
    SHOW(splice(p[0], NULL, q[1], NULL, 3, 0));
    SHOW(read(q[0], b, 32));
    int out = open("out", O_RDWR | O_CREAT, 0600);
    loff_t at = 2;
    SHOW(splice(p[0], NULL, out, &at, 100, 0));
    SHOW(at);
    SHOW(lseek(out, 0, SEEK_END));
    struct iovec v = {"vector", 6};
    SHOW(vmsplice(p[1], &v, 1, 0));
    memset(b, 0, sizeof b);
    SHOW(read(p[0], b, 32));
    puts(b);
    SHOW(splice(f, NULL, out, NULL, 10, 0));
    DONE();
}
