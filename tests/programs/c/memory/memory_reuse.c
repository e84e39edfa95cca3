// Memory that was given back can be had again, many times over, and never shows old contents.
// memory: 64M
#include "t.h"

int main(void) {
    int dirty = 0;
    for (int round = 0; round < 64; round++) {
        size_t length = 8 << 20;
        unsigned char *a = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        NEED(a != MAP_FAILED);
        for (size_t i = 0; i < length; i += 4096) {
            dirty += a[i + (size_t)round] != 0;
            memset(a + i, 0xff, 256);
        }
        munmap(a, length);
    }
    SHOW(dirty);
    DONE();
}
