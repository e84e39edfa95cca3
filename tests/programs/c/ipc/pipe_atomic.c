// Writers of up to PIPE_BUF bytes do not mix, however many there are.
#include "t.h"
#include <pthread.h>

static int p[2];
static void *writer(void *argument) {
    char block[1000];
    memset(block, (int)(long)argument, sizeof block);
    for (int i = 0; i < 200; i++)
        CHECK(write(p[1], block, sizeof block) == sizeof block);
    return NULL;
}

int main(void) {
    NEED(pipe(p) == 0);
    pthread_t t[4];
    for (long i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, writer, (void *)('a' + i));
    int mixed = 0, count[4] = {0};
    for (int i = 0; i < 800; i++) {
        char block[1000];
        size_t got = 0;
        while (got < sizeof block)
            got += (size_t)read(p[0], block + got, sizeof block - got);
        for (int j = 1; j < 1000; j++)
            mixed += block[j] != block[0];
        count[block[0] - 'a']++;
    }
    SHOW(mixed);
    printf("%d %d %d %d\n", count[0], count[1], count[2], count[3]);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    DONE();
}
