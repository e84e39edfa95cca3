// Threads that find the same files first, at once: what they map is the same.
#include "t.h"
#include <pthread.h>
#include <sched.h>

enum { FILES = 200, PAGE = 4096 };
static volatile int turns[2];
static char *volatile mapped[2];

// So that both go on at the same time, as far as there are CPUs.
static void meet(long me) {
    __sync_fetch_and_add(&turns[me], 1);
    while (turns[!me] < turns[me])
        sched_yield();
}
static void *thread(void *number) {
    long me = (long)number;
    for (int i = 0; i < FILES; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        meet(me);
        int fd = open(name, O_RDWR);
        char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        NEED((void *)page != (void *)-1);
        page[me] = 'a' + me;
        mapped[me] = page;
        meet(me);
        CHECK(mapped[!me][me] == 'a' + me && page[!me] == 'b' - me);
        meet(me);
        munmap(page, PAGE);
        close(fd);
    }
    return NULL;
}

int main(void) {
    if (chdir("found_at_once") != 0) {
        // Another program makes the files, so that the threads are those who see them first.
        enter_scratch();
        for (int i = 0; i < FILES; i++) {
            char name[16];
            snprintf(name, sizeof name, "f%d", i);
            int fd = open(name, O_RDWR | O_CREAT, 0644);
            NEED(fd >= 0 && ftruncate(fd, PAGE) == 0);
            close(fd);
        }
    }
    pthread_t other;
    NEED(pthread_create(&other, NULL, thread, (void *)1) == 0);
    thread((void *)0);
    NEED(pthread_join(other, NULL) == 0);
    for (int i = 0; i < FILES; i++) {
        char name[16], bytes[2];
        snprintf(name, sizeof name, "f%d", i);
        int fd = open(name, O_RDONLY);
        CHECK(pread(fd, bytes, 2, 0) == 2 && memcmp(bytes, "ab", 2) == 0);
        close(fd);
    }
    puts("all the same");
    DONE();
}
