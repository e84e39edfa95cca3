// getrandom gives different bytes each time, as many as asked; flags that are not there are refused.
#include "t.h"
#include <sys/random.h>

int main(void) {
    unsigned char a[256], b[256];
    SHOW(getrandom(a, sizeof a, 0));
    SHOW(getrandom(b, sizeof b, GRND_NONBLOCK));
    CHECK(memcmp(a, b, sizeof a) != 0);
    int ones = 0;
    for (int i = 0; i < 256; i++)
        ones += __builtin_popcount(a[i]);
    CHECK(ones > 800 && ones < 1250);
    SHOW(getrandom(a, 16, GRND_RANDOM));
    SHOW(getrandom(a, 0, 0));
    SHOW(getrandom(a, 16, 0x100));
    SHOW(getrandom((void *)8, 16, 0));
    static unsigned char big[1 << 20];
    SHOW(getrandom(big, sizeof big, 0));
    CHECK(big[sizeof big - 1] | big[sizeof big - 2] | big[sizeof big - 3] | big[sizeof big - 4]);
    SHOW(getentropy(a, 256));
    SHOW(getentropy(a, 257));
    DONE();
}
