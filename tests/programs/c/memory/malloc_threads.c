// malloc under several threads: arenas by mmap and mprotect, trimming, and no corruption.
#include "t.h"
#include <malloc.h>
#include <pthread.h>

static void *work(void *argument) {
    unsigned seed = (unsigned)(uintptr_t)argument;
    unsigned char *slot[64] = {0};
    size_t size[64] = {0};
    long bad = 0;
    for (int i = 0; i < 20000; i++) {
        int k = rand_r(&seed) % 64;
        for (size_t j = 0; j < size[k]; j += 97)
            bad += slot[k][j] != (unsigned char)k;
        free(slot[k]);
        size[k] = (size_t)rand_r(&seed) % (i % 100 == 0 ? 300000 : 2000);
        slot[k] = malloc(size[k]);
        memset(slot[k], k, size[k]);
    }
    for (int k = 0; k < 64; k++)
        free(slot[k]);
    return (void *)bad;
}

int main(void) {
    pthread_t t[4];
    for (uintptr_t i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, work, (void *)(i + 1));
    long bad = 0;
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(t[i], &result);
        bad += (long)result;
    }
    SHOW(bad);
    malloc_trim(0);
    DONE();
}
