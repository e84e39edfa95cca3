// A robust mutex whose owner died tells EOWNERDEAD, and can be made consistent or lost for good.
#include "futex.h"

static pthread_mutex_t mutex[2];
static void *dies_holding(void *unused) {
    (void)unused;
    pthread_mutex_lock(&mutex[0]);
    pthread_mutex_lock(&mutex[1]);
    return NULL;
}

int main(void) {
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    SHOW_ERROR(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST));
    for (int i = 0; i < 2; i++)
        SHOW_ERROR(pthread_mutex_init(&mutex[i], &attr));
    pthread_t t;
    pthread_create(&t, NULL, dies_holding, NULL);
    pthread_join(t, NULL);
    SHOW_ERROR(pthread_mutex_lock(&mutex[0]));
    SHOW_ERROR(pthread_mutex_consistent(&mutex[0]));
    SHOW_ERROR(pthread_mutex_unlock(&mutex[0]));
    SHOW_ERROR(pthread_mutex_lock(&mutex[0]));
    SHOW_ERROR(pthread_mutex_unlock(&mutex[0]));
    SHOW_ERROR(pthread_mutex_trylock(&mutex[1]));
    SHOW_ERROR(pthread_mutex_unlock(&mutex[1]));
    SHOW_ERROR(pthread_mutex_lock(&mutex[1]));
    void *head = NULL;
    size_t length = 0;
    SHOW(syscall(SYS_get_robust_list, 0, &head, &length));
    SHOW(length);
    CHECK(head != NULL);
    SHOW(syscall(SYS_set_robust_list, head, 5L));
    DONE();
}
