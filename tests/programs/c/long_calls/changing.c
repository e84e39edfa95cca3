// What a long change of memory has half made is seen by no other thread: accesses wait until it is over.
// machines: all
// memory: 192M
// flags: -pthread
#include "long_calls.h"
#include <pthread.h>

enum { PAGE = 4096, PAGES = 16384, MAPPINGS = 1000, ROUNDS = 12 };

static char *area;
static volatile bool over;
static volatile unsigned *first, *second;
static int faults;

static void *use(void *argument) {
    volatile char *at = area + (uintptr_t)argument * PAGE;
    for (size_t page = 0; !over; page = (page + 17) % PAGES) {
        char value = at[page * PAGE];
        if (value != 0 && value != 'x')
            __atomic_add_fetch(&faults, 1, __ATOMIC_RELAXED);
        if (page % 3 == 0)
            at[page * PAGE] = 'x';
    }
    return NULL;
}

static void *count(void *argument) {
    (void)argument;
    while (!over) {
        ++*first;
        ++*second;
    }
    return NULL;
}

static void fill(void) {
    NEED(madvise(area, (size_t)PAGES * PAGE, MADV_POPULATE_READ) == 0);
    // Neighbours that differ are mappings of their own. Fork leaves out what these hold.
    for (int i = 2; i < MAPPINGS; i += 2)
        NEED(madvise(area + (size_t)i * PAGE, PAGE, MADV_WIPEONFORK) == 0);
}

int main(void) {
    size_t len = (size_t)PAGES * PAGE;
    area = private_memory(len + PAGE);
    // Far apart, with what takes several steps to copy between.
    first = (unsigned *)area;
    second = (unsigned *)(area + len);

    pthread_t thread;
    NEED(pthread_create(&thread, NULL, use, 0) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        fill();
        void *at = mmap(area, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
        CHECK(at == area);
        fill();
        CHECK(mprotect(area, len, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
        CHECK(mprotect(area, len, PROT_READ | PROT_WRITE) == 0);
        CHECK(madvise(area, len, MADV_DONTNEED) == 0);
    }
    over = true;
    pthread_join(thread, NULL);
    printf("replaced and protected under a thread that uses it: %d wrong values\n", faults);

    over = false;
    NEED(mmap(area, len + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == area);
    NEED(pthread_create(&thread, NULL, count, NULL) == 0);
    int wrong = 0;
    for (int i = 0; i < ROUNDS; i++) {
        fill();
        pid_t child = fork();
        NEED(child >= 0);
        if (child == 0)
            _exit(*first == *second || *first == *second + 1 ? 0 : 1);
        int status = 0;
        CHECK(waitpid(child, &status, 0) == child);
        wrong += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    }
    over = true;
    pthread_join(thread, NULL);
    printf("copied under a thread that counts: %d of %d children see the counts of one moment\n", ROUNDS - wrong, ROUNDS);
    DONE();
}
