// FUTEX_WAKE_BITSET wakes only those whose bits it shares.
#include "futex.h"

static unsigned word;
static atomic_int woken[2];
static void *waiter(void *argument) {
    long i = (long)argument;
    about_to_wait();
    futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, i ? 0x2 : 0x1);
    atomic_fetch_add(&woken[i], 1);
    return NULL;
}

int main(void) {
    pthread_t t[4];
    for (long i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, waiter, (void *)(i & 1));
    wait_until_all_wait(4);
    SHOW(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 0x4));
    SHOW(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 0x2));
    pthread_join(t[1], NULL);
    pthread_join(t[3], NULL);
    printf("%d %d\n", woken[0], woken[1]);
    SHOW(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 0xffffffff));
    SHOW(futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0));
    pthread_join(t[0], NULL);
    pthread_join(t[2], NULL);
    printf("%d %d\n", woken[0], woken[1]);
    SHOW(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 0));
    SHOW(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 0));
    DONE();
}
