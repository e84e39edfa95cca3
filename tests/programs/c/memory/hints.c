// Where a mapping lies that wishes for an address: there if it is free; and where it lies if it is not.
// link: static-pie
#include "t.h"

enum { MIB = 1 << 20 };

static void *map(void *wish, size_t len, int flags) {
    return mmap(wish, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
}

int main(void) {
    void *high = (void *)0x300000000000;
    SHOW(map(high, MIB, 0) == high);
    SHOW(map(high, MIB, 0) == high);
    SHOW(map((char *)high + 16 * MIB + 123, MIB, 0) == (char *)high + 16 * MIB);
    // Below the lowest address that may be mapped (/proc/sys/vm/mmap_min_addr).
    void *other = map((void *)0x1000, 0x1000, 0);
    SHOW(other == (void *)0x10000);
    DONE();
}
