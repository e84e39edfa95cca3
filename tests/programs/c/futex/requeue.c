// FUTEX_CMP_REQUEUE wakes some and moves the rest to another word; FUTEX_WAKE_OP works on two words.
#include "futex.h"

static unsigned a, b;
static atomic_int woken;
static void *waiter(void *unused) {
    (void)unused;
    about_to_wait();
    futex(&a, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    atomic_fetch_add(&woken, 1);
    return NULL;
}

int main(void) {
    pthread_t t[5];
    for (int i = 0; i < 5; i++)
        pthread_create(&t[i], NULL, waiter, NULL);
    wait_until_all_wait(5);
    SHOW(futex(&a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2L, &b, 1));
    SHOW(futex(&a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2L, &b, 0));
    WAIT_UNTIL(woken > 0);
    SHOW(woken);
    SHOW(futex(&b, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    SHOW(futex(&a, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    SHOW(futex(&a, FUTEX_REQUEUE_PRIVATE, 0, (void *)5L, &b, 0));
    unsigned op = FUTEX_OP(FUTEX_OP_SET, 7, FUTEX_OP_CMP_EQ, 0);
    SHOW(futex(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)5L, &b, op));
    SHOW(b);
    for (int i = 0; i < 5; i++)
        pthread_join(t[i], NULL);
    SHOW(woken);
    op = FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_GT, 100);
    SHOW(futex(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1L, &b, op));
    SHOW(b);
    DONE();
}
