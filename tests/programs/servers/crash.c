// Follows a bad pointer in a function that is inlined into another; with an argument it writes and sleeps before.
#include <unistd.h>

struct list {
    struct list *next;
    long value;
};

static inline __attribute__((always_inline)) long sum(struct list *list) {
    long total = 0;
    for (; list; list = list->next)
        total = 3 * total + list->value;
    return total;
}

__attribute__((noinline)) long look_at(struct list *list) {
    long total = sum(list);
    return total > 5 ? total : -total;
}

__attribute__((noinline)) void say_so(void) {
    write(1, "here\n", 5);
    usleep(1000);
}

int main(int argc, char **argv) {
    (void)argv;
    struct list last = {(struct list *)16, 1};
    if (argc > 1) {
        say_so();
        last.next = 0;
    }
    return look_at(&last) + argc > 100;
}
