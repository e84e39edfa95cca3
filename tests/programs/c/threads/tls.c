// Thread-local variables and thread-specific data are each thread's own; destructors run at its end.
#include "t.h"
#include <pthread.h>
#include <stdatomic.h>

static __thread int local = 5;
static __thread char array[5000];
static pthread_key_t key;
static atomic_int destroyed;
static void destructor(void *value) { atomic_fetch_add(&destroyed, (int)(long)value); }
static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_int inits;
static void init(void) { inits++; }
static void *work(void *argument) {
    int id = (int)(long)argument;
    pthread_once(&once, init);
    CHECK(local == 5 && array[4999] == 0);
    local += id;
    memset(array, id, sizeof array);
    pthread_setspecific(key, (void *)(long)id);
    sleep_ms(10);
    errno = id;
    sleep_ms(1);
    CHECK(local == 5 + id && array[777] == id && errno == id);
    CHECK((long)pthread_getspecific(key) == id);
    return NULL;
}

int main(void) {
    SHOW_ERROR(pthread_key_create(&key, destructor));
    pthread_t t[10];
    for (long i = 0; i < 10; i++)
        pthread_create(&t[i], NULL, work, (void *)(i + 1));
    for (int i = 0; i < 10; i++)
        pthread_join(t[i], NULL);
    SHOW(local);
    SHOW(destroyed);
    SHOW(inits);
    DONE();
}
