// Two threads that take two locks in opposite order, one that sleeps, and one that waits for the end of another: for `coracle stack` and its like.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER, two = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both;

// Not inlined, so that it has a frame of its own.
__attribute__((noinline)) static int take_both(pthread_mutex_t *first, pthread_mutex_t *second) {
  pthread_mutex_lock(first);
  pthread_barrier_wait(&both);
  return pthread_mutex_lock(second) + 1;
}

static void *opposite(void *unused) {
  pthread_setname_np(pthread_self(), "opposite");
  return take_both(&two, &one) ? unused : NULL;
}

static void *sleeper(void *unused) {
  pthread_setname_np(pthread_self(), "sleeper");
  sleep(100000);
  return unused;
}

static void *joiner(void *thread) {
  pthread_setname_np(pthread_self(), "joiner");
  pthread_join(*(pthread_t *)thread, NULL);
  return NULL;
}

int main(void) {
  pthread_t threads[3];
  int file = open("/etc/hostname", O_RDONLY | O_CLOEXEC);
  pthread_barrier_init(&both, NULL, 2);
  pthread_create(&threads[0], NULL, sleeper, NULL);
  pthread_create(&threads[1], NULL, opposite, NULL);
  pthread_create(&threads[2], NULL, joiner, &threads[1]);
  return take_both(&one, &two) + file;
}
