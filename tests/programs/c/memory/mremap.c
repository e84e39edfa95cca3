// mremap grows in place or moves, shrinks, and keeps the contents.
#include "t.h"

int main(void) {
    const int rw = PROT_READ | PROT_WRITE, anon = MAP_PRIVATE | MAP_ANONYMOUS;
    char *a = mmap(NULL, 16 * 4096, rw, anon, -1, 0);
    for (int i = 0; i < 16; i++)
        a[i * 4096] = (char)(i + 1);
    SHOW((char *)mremap(a, 16 * 4096, 4 * 4096, 0) - a);
    SHOW((char *)mremap(a, 4 * 4096, 8 * 4096, 0) - a);
    SHOW(a[3 * 4096]);
    SHOW(a[4 * 4096]);
    mmap(a + 8 * 4096, 4096, rw, anon | MAP_FIXED, -1, 0);
    SHOW((long)mremap(a, 8 * 4096, 32 * 4096, 0));
    char *b = mremap(a, 8 * 4096, 1024 * 4096, MREMAP_MAYMOVE);
    NEED(b != MAP_FAILED);
    CHECK(b != a);
    SHOW(b[0] + b[3 * 4096]);
    SHOW(b[1023 * 4096]);
    char *target = mmap(NULL, 8 * 4096, rw, anon, -1, 0);
    target[0] = 99;
    SHOW((char *)mremap(b, 4 * 4096, 4 * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, target) - target);
    SHOW(target[0]);
    SHOW((long)mremap(target + 1, 4096, 8192, MREMAP_MAYMOVE));
    SHOW((long)mremap((void *)0x10000, 4096, 8192, MREMAP_MAYMOVE));
    SHOW((long)mremap(target, 4096, 0, MREMAP_MAYMOVE));
    char *big = malloc(1 << 20);
    memset(big, 7, 1 << 20);
    big = realloc(big, 64 << 20);
    SHOW(big[(1 << 20) - 1]);
    free(big);
    DONE();
}
