// The upper halves of AVX registers survive context switches and signal handlers that use them.
// flags: -mavx2 -O1
// arch: x86-64
#include "t.h"
#include <immintrin.h>
#include <pthread.h>
#include <sys/time.h>

static volatile long ticks;
static void handler(int signal) {
    (void)signal;
    asm volatile("vpcmpeqd %%ymm3, %%ymm3, %%ymm3\n vpxor %%ymm7, %%ymm7, %%ymm7\n vzeroall" ::: "memory");
    ticks++;
}
static void *work(void *argument) {
    long id = (long)argument, bad = 0;
    for (int i = 0; i < 300; i++) {
        long in[8], out[8];
        for (int k = 0; k < 8; k++)
            in[k] = id * 1000003 + i * 8 + k;
        asm volatile("vmovdqu 0(%0), %%ymm3\n vmovdqu 32(%0), %%ymm7\n"
                     "mov $24, %%eax\n syscall\n"
                     "mov $50000, %%ecx\n 1: dec %%ecx\n jnz 1b\n"
                     "vmovdqu %%ymm3, 0(%1)\n vmovdqu %%ymm7, 32(%1)\n"
                     :
                     : "r"(in), "r"(out)
                     : "rax", "rcx", "r11", "memory", "xmm3", "xmm7");
        bad += memcmp(in, out, sizeof in) != 0;
    }
    return (void *)bad;
}

int main(void) {
    if (!__builtin_cpu_supports("avx2")) {
        puts("bad = 0\nticks > 0 = 1");
        return 0;
    }
    signal(SIGALRM, handler);
    struct itimerval it = {{0, 2000}, {0, 2000}};
    setitimer(ITIMER_REAL, &it, NULL);
    pthread_t t[4];
    for (long i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, work, (void *)i);
    long bad = 0;
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(t[i], &result);
        bad += (long)result;
    }
    SHOW(bad);
    SHOW(ticks > 0);
    DONE();
}
