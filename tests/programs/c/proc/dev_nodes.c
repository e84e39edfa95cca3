// /dev/null, zero, full, random, urandom, stdin, stdout, fd: what reading, writing, mapping and stat give.
#include "t.h"
#include <sys/sysmacros.h>

static void node(const char *path) {
    struct stat st;
    if (stat(path, &st))
        printf("%s: %s\n", path, t_errno(errno));
    else
        printf("%s: char %d, %u:%u mode %o\n", path, S_ISCHR(st.st_mode), major(st.st_rdev), minor(st.st_rdev), st.st_mode & 0777);
}

int main(void) {
    node("/dev/null");
    node("/dev/zero");
    node("/dev/full");
    node("/dev/random");
    node("/dev/urandom");
    char b[64];
    int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDWR), full = open("/dev/full", O_RDWR);
    SHOW(read(null, b, 10));
    SHOW(write(null, b, 10));
    SHOW(lseek(null, 100, SEEK_SET));
    memset(b, 1, sizeof b);
    SHOW(read(zero, b, 10));
    SHOW(b[0] + b[9] + b[10]);
    SHOW(write(zero, b, 10));
    SHOW(read(full, b, 10));
    SHOW(write(full, b, 10));
    SHOW(pread(zero, b, 64, 1 << 20));
    char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
    CHECK(m != MAP_FAILED && m[5000] == 0);
    m[5000] = 1;
    int random = open("/dev/urandom", O_RDONLY);
    unsigned char r[2][1000];
    SHOW(read(random, r[0], 1000));
    SHOW(read(random, r[1], 1000));
    CHECK(memcmp(r[0], r[1], 1000) != 0);
    SHOW(read(open("/dev/random", O_RDONLY), r[0], 16));
    SHOW(ftruncate(null, 0));
    SHOW(close(open("/dev/null", O_WRONLY | O_CREAT | O_TRUNC, 0600)));
    int out = open("/dev/stdout", O_WRONLY);
    SHOW(out >= 0);
    SHOW(write(out, "by /dev/stdout\n", 15));
    SHOW(open("/dev/none", O_RDONLY));
    DONE();
}
