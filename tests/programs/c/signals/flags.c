// SA_NODEFER lets a handler interrupt itself; SA_RESETHAND makes it serve once.
#include "t.h"

static volatile int depth, deepest, raised;
static void handler(int signal) {
    depth++;
    if (depth > deepest)
        deepest = depth;
    if (raised++ < 2)
        raise(signal);
    depth--;
}

int main(void) {
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    SHOW(deepest);
    deepest = raised = 0;
    action.sa_flags = SA_NODEFER;
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    SHOW(deepest);
    action.sa_flags = SA_RESETHAND;
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    struct sigaction old;
    sigaction(SIGUSR1, NULL, &old);
    SHOW(old.sa_handler == SIG_DFL);
    puts("the next one ends the program");
    raise(SIGUSR1);
    puts("never printed");
    return 0;
}
