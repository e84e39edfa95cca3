// SSE registers and MXCSR are each thread's own across context switches, page faults and system calls.
// flags: -O1
// arch: x86-64
#include "t.h"
#include <pthread.h>
#include <immintrin.h>

static void *work(void *argument) {
    long id = (long)argument, bad = 0;
    _mm_setcsr((_mm_getcsr() & ~0x6000u) | (unsigned)(id & 3) << 13);
    for (int i = 0; i < 300; i++) {
        long in[16], out[16];
        for (int k = 0; k < 16; k++)
            in[k] = id * 1000 + i * 16 + k;
        asm volatile("movq 0(%0), %%xmm0\n movq 8(%0), %%xmm1\n movq 16(%0), %%xmm2\n movq 24(%0), %%xmm3\n"
                     "movq 32(%0), %%xmm4\n movq 40(%0), %%xmm5\n movq 48(%0), %%xmm6\n movq 56(%0), %%xmm7\n"
                     "movq 64(%0), %%xmm8\n movq 72(%0), %%xmm9\n movq 80(%0), %%xmm10\n movq 88(%0), %%xmm11\n"
                     "movq 96(%0), %%xmm12\n movq 104(%0), %%xmm13\n movq 112(%0), %%xmm14\n movq 120(%0), %%xmm15\n"
                     "mov $24, %%eax\n syscall\n" // sched_yield
                     "mov $20000, %%ecx\n 1: dec %%ecx\n jnz 1b\n"
                     "movq %%xmm0, 0(%1)\n movq %%xmm1, 8(%1)\n movq %%xmm2, 16(%1)\n movq %%xmm3, 24(%1)\n"
                     "movq %%xmm4, 32(%1)\n movq %%xmm5, 40(%1)\n movq %%xmm6, 48(%1)\n movq %%xmm7, 56(%1)\n"
                     "movq %%xmm8, 64(%1)\n movq %%xmm9, 72(%1)\n movq %%xmm10, 80(%1)\n movq %%xmm11, 88(%1)\n"
                     "movq %%xmm12, 96(%1)\n movq %%xmm13, 104(%1)\n movq %%xmm14, 112(%1)\n movq %%xmm15, 120(%1)\n"
                     :
                     : "r"(in), "r"(out)
                     : "rax", "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
        bad += memcmp(in, out, sizeof in) != 0;
        bad += (_mm_getcsr() >> 13 & 3) != (unsigned)(id & 3);
    }
    return (void *)bad;
}

int main(void) {
    pthread_t t[5];
    for (long i = 0; i < 5; i++)
        pthread_create(&t[i], NULL, work, (void *)i);
    long bad = 0;
    for (int i = 0; i < 5; i++) {
        void *result;
        pthread_join(t[i], &result);
        bad += (long)result;
    }
    SHOW(bad);
    DONE();
}
