// FUTEX_WAIT and FUTEX_WAKE: value checked, number woken counted, private and shared words, errors.
#include "futex.h"

static unsigned word;
static atomic_int woken;
static void *waiter(void *operation) {
    about_to_wait();
    while (futex(&word, (int)(long)operation, 0, NULL, NULL, 0) == -1 && errno == EINTR) {
    }
    atomic_fetch_add(&woken, 1);
    return NULL;
}

int main(void) {
    SHOW(futex(&word, FUTEX_WAIT, 1, NULL, NULL, 0));
    SHOW(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0));
    pthread_t t[5];
    for (int i = 0; i < 5; i++)
        pthread_create(&t[i], NULL, waiter, (void *)(long)FUTEX_WAIT_PRIVATE);
    wait_until_all_wait(5);
    SHOW(woken);
    SHOW(futex(&word, FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0));
    WAIT_UNTIL(woken >= 2);
    SHOW(woken);
    SHOW(futex(&word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0));
    for (int i = 0; i < 5; i++)
        pthread_join(t[i], NULL);
    SHOW(woken);
    // A shared word is one by its page, not by its address.
    int fd = memfd_create("futex", 0);
    ftruncate(fd, 4096);
    unsigned *a = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    unsigned *b = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    struct timespec limit = {0, 1000000};
    SHOW(futex(a, FUTEX_WAIT, 0, &limit, NULL, 0));
    *b = 1;
    SHOW(futex(a, FUTEX_WAIT, 0, &limit, NULL, 0));
    SHOW(futex((char *)&word + 1, FUTEX_WAIT, 0, &limit, NULL, 0));
    SHOW(futex((void *)8, FUTEX_WAIT, 0, &limit, NULL, 0));
    SHOW(futex(&word, 99, 0, &limit, NULL, 0));
    DONE();
}
