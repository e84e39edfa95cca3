// Memory is paid for when touched: far more than the machine has can be reserved and touched here and there.
// memory: 64M
#include "t.h"

int main(void) {
    size_t length = 16UL << 30;
    char *a = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    NEED(a != MAP_FAILED);
    for (size_t i = 0; i < length; i += length / 256)
        a[i] = (char)(i / (length / 256));
    long sum = 0;
    for (size_t i = 0; i < length; i += length / 256)
        sum += (unsigned char)a[i];
    SHOW(sum);
    SHOW(a[length - 1]);
    SHOW(munmap(a, length));
    static char bss[32 << 20];
    bss[20 << 20] = 3;
    SHOW(bss[20 << 20] + bss[0]);
    DONE();
}
