// CPUID and what libc's dispatch makes of it: string functions of all sizes and alignments give right results.
// arch: x86-64
#include "t.h"

int main(void) {
    static unsigned char a[3000], b[3000];
    unsigned seed = 1;
    long bad = 0;
    for (int round = 0; round < 2000; round++) {
        size_t from = rand_r(&seed) % 64, to = rand_r(&seed) % 64, n = rand_r(&seed) % 2500;
        for (size_t i = 0; i < n; i += 50)
            a[from + i] = (unsigned char)(rand_r(&seed) | 1);
        memset(b, 0, sizeof b);
        memcpy(b + to, a + from, n);
        bad += memcmp(a + from, b + to, n) != 0;
        bad += b[to + n] != 0;
        memset(a + from, 'q', n);
        a[from + n] = 0;
        bad += strlen((char *)a + from) != n;
        bad += memchr(a + from, 0, n + 1) != a + from + n;
        memmove(a + to, a + from, n + 1);
        bad += strlen((char *)a + to) != n;
    }
    SHOW(bad);
    SHOW(__builtin_cpu_supports("sse2") != 0);
    DONE();
}
