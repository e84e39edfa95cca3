// MAP_FIXED replaces what was there; MAP_FIXED_NOREPLACE refuses to; a hint is taken where it is free.
#include "t.h"

int main(void) {
    const int rw = PROT_READ | PROT_WRITE, anon = MAP_PRIVATE | MAP_ANONYMOUS;
    char *a = mmap(NULL, 8 * 4096, rw, anon, -1, 0);
    memset(a, 'a', 8 * 4096);
    SHOW((char *)mmap(a + 2 * 4096, 2 * 4096, rw, anon | MAP_FIXED, -1, 0) - a);
    printf("%d %d %d %d\n", a[2 * 4096 - 1], a[2 * 4096], a[4 * 4096 - 1], a[4 * 4096]);
    SHOW((long)mmap(a, 4096, rw, anon | MAP_FIXED_NOREPLACE, -1, 0));
    munmap(a + 4096, 4096);
    SHOW((char *)mmap(a + 4096, 4096, rw, anon | MAP_FIXED_NOREPLACE, -1, 0) - a);
    munmap(a, 4096);
    SHOW((char *)mmap(a, 4096, rw, anon, -1, 0) - a);
    CHECK((char *)mmap(a, 4096, rw, anon, -1, 0) != a);
    SHOW((long)mmap(a + 1, 4096, rw, anon | MAP_FIXED, -1, 0));
    SHOW((long)mmap((void *)0xffff800000000000, 4096, rw, anon | MAP_FIXED, -1, 0));
    DONE();
}
