// How deep epoll sets may watch each other, whichever end the chain is built from, and that events come through it.
#include "t.h"
#include <sys/epoll.h>

enum { SETS = 12 };
static int sets[SETS];

static const char *add(int outer, int inner) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 1};
    return epoll_ctl(outer, EPOLL_CTL_ADD, inner, &event) ? t_errno(errno) : "ok";
}

static void fresh(void) {
    for (int i = 0; i < SETS; i++) {
        if (sets[i])
            close(sets[i]);
        sets[i] = epoll_create1(0);
        NEED(sets[i] > 0);
    }
}

static void events_come_through(void) {
    int ends[2];
    struct epoll_event got[4];
    NEED(pipe(ends) == 0);
    printf("a pipe below:");
    for (int i = 0; i < SETS; i++)
        printf(" %s", add(sets[i], ends[0]));
    NEED(write(ends[1], "x", 1) == 1);
    printf("\nready:");
    for (int i = 0; i < SETS; i++)
        printf(" %d", epoll_wait(sets[i], got, 4, 0));
    char byte;
    NEED(read(ends[0], &byte, 1) == 1);
    printf("\nread:");
    for (int i = 0; i < SETS; i++)
        printf(" %d", epoll_wait(sets[i], got, 4, 0));
    puts("");
    close(ends[0]);
    close(ends[1]);
}

int main(void) {
    fresh();
    printf("downwards:");
    for (int i = 0; i < SETS - 1; i++)
        printf(" %s", add(sets[i], sets[i + 1]));
    puts("");
    events_come_through();
    fresh();
    printf("upwards:");
    for (int i = SETS - 2; i >= 0; i--)
        printf(" %s", add(sets[i], sets[i + 1]));
    puts("");
    events_come_through();
    fresh();
    NEED(add(sets[0], sets[1])[0] == 'o' && add(sets[1], sets[2])[0] == 'o');
    NEED(add(sets[3], sets[4])[0] == 'o' && add(sets[4], sets[5])[0] == 'o');
    printf("two and two: %s\n", add(sets[2], sets[3]));
    printf("one above: %s\n", add(sets[6], sets[3]));
    printf("a circle: %s\n", add(sets[5], sets[6]));
    // Ways that fan out and meet again: each step doubles them.
    fresh();
    for (int level = 0; level < 4; level++)
        for (int i = 0; i < 4; i++)
            printf("%s ", add(sets[level * 2 + i / 2], sets[level * 2 + 2 + i % 2]));
    puts("");
    close(sets[9]);
    sets[9] = 0;
    // A thousand sets, each in the next as far as that goes.
    int previous = epoll_create1(0), refused = 0;
    for (int i = 0; i < 1000; i++) {
        int next = epoll_create1(0);
        refused += add(previous, next)[0] != 'o';
        previous = next;
    }
    SHOW(refused);
    DONE();
}
