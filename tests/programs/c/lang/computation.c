// A program of mere computation: primes, matrices, sorting, checksums; nothing but the CPU and memory.
// flags: -O2 -lm
#include "t.h"
#include <math.h>

static int compare(const void *a, const void *b) {
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return x < y ? -1 : x > y;
}

int main(void) {
    enum { N = 1000000 };
    static char composite[N + 1];
    int primes = 0;
    for (int i = 2; i <= N; i++)
        if (!composite[i]) {
            primes++;
            for (long j = (long)i * i; j <= N; j += i)
                composite[j] = 1;
        }
    SHOW(primes);
    static double a[64][64], b[64][64], c[64][64];
    for (int i = 0; i < 64; i++)
        for (int j = 0; j < 64; j++)
            a[i][j] = i + j, b[i][j] = i - j;
    for (int i = 0; i < 64; i++)
        for (int j = 0; j < 64; j++)
            for (int k = 0; k < 64; k++)
                c[i][j] += a[i][k] * b[k][j];
    printf("%.1f %.1f\n", c[3][5], c[63][63]);
    unsigned *v = malloc(200000 * sizeof *v), seed = 7, sum = 0;
    for (int i = 0; i < 200000; i++)
        v[i] = (unsigned)rand_r(&seed);
    qsort(v, 200000, sizeof *v, compare);
    for (int i = 0; i < 200000; i++)
        sum = sum * 31 + v[i];
    printf("%u\n", sum);
    double x = 0;
    for (int i = 1; i < 10000; i++)
        x += sin(i) * log(i) / sqrt(i);
    printf("%.9f\n", x);
    DONE();
}
