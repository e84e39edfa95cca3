// The 128 bytes below the stack pointer survive interrupts, page faults, preemption and signals.
// arch: x86-64
#include "t.h"
#include <pthread.h>
#include <sys/time.h>

static volatile long ticks;
static void handler(int signal) {
    (void)signal;
    volatile char noise[512];
    memset((char *)noise, 0xee, sizeof noise);
    ticks++;
}

// Fills the red zone, spins, touches memory, and counts the words that changed.
static long round_of(long seed, volatile char *touch, long spins) {
    long bad;
    asm volatile("mov %[seed], %%rax\n"
                 "mov $-128, %%rcx\n"
                 "1: mov %%rax, (%%rsp, %%rcx)\n"
                 "add $8, %%rcx\n"
                 "jnz 1b\n"
                 "movb $1, (%[touch])\n"
                 "mov %[spins], %%rdx\n"
                 "2: dec %%rdx\n"
                 "jnz 2b\n"
                 "xor %[bad], %[bad]\n"
                 "mov $-128, %%rcx\n"
                 "3: cmp %%rax, (%%rsp, %%rcx)\n"
                 "je 4f\n"
                 "inc %[bad]\n"
                 "4: add $8, %%rcx\n"
                 "jnz 3b\n"
                 : [bad] "=&r"(bad)
                 : [seed] "r"(seed), [touch] "r"(touch), [spins] "r"(spins)
                 : "rax", "rcx", "rdx", "memory", "cc");
    return bad;
}
__attribute__((noinline)) static void *work(void *argument) {
    // The frame is large so that the compiler keeps nothing in the red zone itself.
    volatile char frame[1024];
    frame[0] = 0;
    long bad = 0;
    char *fresh = mmap(NULL, 300 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (long i = 0; i < 300; i++)
        bad += round_of((long)argument * 1000 + i, fresh + i * 4096, 100000);
    return (void *)bad;
}

int main(void) {
    signal(SIGALRM, handler);
    struct itimerval it = {{0, 2000}, {0, 2000}};
    setitimer(ITIMER_REAL, &it, NULL);
    pthread_t t[3];
    for (long i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, work, (void *)(i + 1));
    long bad = 0;
    for (int i = 0; i < 3; i++) {
        void *result;
        pthread_join(t[i], &result);
        bad += (long)result;
    }
    SHOW(bad);
    SHOW(ticks > 0);
    DONE();
}
