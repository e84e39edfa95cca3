// epoll_wait reports all that is ready, up to the room there is, also where the program's array begins on a page that was not touched
// yet, and as much as can be written where it can't be written whole.
// machines: all
#include "t.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>

enum { MANY = 800, PAGE = 4096 };

// How many of the first `count` events tell of different descriptors.
static int different(const char *at, int count) {
    static char seen[1024];
    int found = 0;
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < count; i++) {
        struct epoll_event event;
        memcpy(&event, at + i * sizeof event, sizeof event);
        NEED(event.events == EPOLLOUT && event.data.fd < 1024);
        found += !seen[event.data.fd];
        seen[event.data.fd] = 1;
    }
    return found;
}

static char *fresh(int pages) {
    char *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(at != MAP_FAILED);
    return at;
}

int main(void) {
    int set = epoll_create1(0);
    NEED(set >= 0);
    for (int i = 0; i < MANY; i++) {
        int fd = eventfd(0, 0);
        struct epoll_event event = {.events = EPOLLOUT, .data.fd = fd};
        NEED(fd >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
    }
    for (int shift = 0; shift < 24; shift += 11) {
        char *at = fresh(6) + PAGE - shift;
        int count = epoll_wait(set, (void *)at, MANY, -1);
        SHOW(count);
        SHOW(different(at, count));
    }
    char *at = fresh(6);
    SHOW(epoll_wait(set, (void *)at, MANY + 50, -1));
    at = fresh(6);
    SHOW(epoll_wait(set, (void *)at, 500, -1));
    SHOW(different(at, 500));
    // Room for two events and a part, and then nothing.
    at = fresh(2);
    NEED(mprotect(at + PAGE, PAGE, PROT_NONE) == 0);
    char *edge = at + PAGE - 2 * sizeof(struct epoll_event) - 5;
    SHOW(epoll_wait(set, (void *)edge, MANY, -1));
    SHOW(different(edge, 2));
    SHOW(epoll_wait(set, (void *)(at + PAGE - 5), MANY, -1));
    at = fresh(6);
    SHOW(epoll_wait(set, (void *)at, MANY, -1));
    SHOW(different(at, MANY));
    DONE();
}
