// Where a mapping below 2 GiB (MAP_32BIT) lies that wishes for an address: there if it is free; and where it lies if it is not.
// link: static-pie
// arch: x86-64
#include "t.h"

enum { MIB = 1 << 20 };

static void *map(void *wish, size_t len, int flags) {
    return mmap(wish, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
}

static bool in_second_gib(char *start, size_t len) {
    return (uintptr_t)start >= 1UL << 30 && (uintptr_t)start + len <= 1UL << 31;
}

int main(void) {
    void *low = (void *)0x50000000, *below = (void *)0x20000000, *high = (void *)0x300000000000;
    SHOW(map(low, MIB, MAP_32BIT) == low);
    // Taken now.
    void *other = map(low, MIB, MAP_32BIT);
    SHOW(other != low && in_second_gib(other, MIB));
    SHOW(map(below, MIB, MAP_32BIT) == below);
    other = map(high, MIB, MAP_32BIT);
    SHOW(other != high && in_second_gib(other, MIB));
    other = map(NULL, MIB, MAP_32BIT);
    SHOW(in_second_gib(other, MIB));
    // It would end above 2 GiB.
    other = map((void *)0x7ff80000, MIB, MAP_32BIT);
    SHOW(other != (void *)0x7ff80000 && in_second_gib(other, MIB));
    SHOW((long)map(NULL, (size_t)1 << 31, MAP_32BIT));
    DONE();
}
