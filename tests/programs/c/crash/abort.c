// abort: SIGABRT, status 134, even where a handler returns.
#include "t.h"

static void handler(int signal) {
    (void)signal;
    puts("handler");
}

int main(void) {
    signal(SIGABRT, handler);
    abort();
}
