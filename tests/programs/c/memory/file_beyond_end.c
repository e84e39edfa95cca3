// Touching a page wholly beyond the end of a mapped file raises SIGBUS.
#include "t.h"
#include <setjmp.h>

static sigjmp_buf out;
static char *where;
static void caught(int signal, siginfo_t *info, void *context) {
    (void)context;
    where = info->si_addr;
    printf("signal %d code %d\n", signal, info->si_code);
    siglongjmp(out, 1);
}

int main(void) {
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO};
    sigaction(SIGBUS, &action, NULL);
    enter_scratch();
    write_file("short", "short");
    int fd = open("short", O_RDWR);
    char *m = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    SHOW(m[4]);
    SHOW(m[100]);
    if (sigsetjmp(out, 1) == 0)
        SHOW(((volatile char *)m)[4096 + 12]);
    SHOW(where - m);
    ftruncate(fd, 3 * 4096);
    SHOW(m[4096 + 12]);
    m[8192] = 'x';
    SHOW(ftruncate(fd, 4096));
    if (sigsetjmp(out, 1) == 0)
        SHOW(((volatile char *)m)[8192]);
    SHOW(where - m);
    DONE();
}
