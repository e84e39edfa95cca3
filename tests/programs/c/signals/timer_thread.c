// SIGEV_THREAD timers call a function in a thread of their own.
#include "t.h"
#include <semaphore.h>

static sem_t called;
static void notify(union sigval value) {
    CHECK(value.sival_int == 7);
    sem_post(&called);
}

int main(void) {
    sem_init(&called, 0, 0);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = notify, .sigev_value.sival_int = 7};
    timer_t timer;
    SHOW(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec spec = {.it_interval = {0, 5000000}, .it_value = {0, 5000000}};
    SHOW(timer_settime(timer, 0, &spec, NULL));
    for (int i = 0; i < 3; i++)
        sem_wait(&called);
    SHOW(timer_delete(timer));
    DONE();
}
