// MADV_GUARD_INSTALL and MADV_GUARD_REMOVE (madvise(2)): pages that nobody may touch.
#include "t.h"
#include <setjmp.h>
#include <sys/uio.h>
#include <sys/wait.h>
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#define PAGE 4096L

static sigjmp_buf back;
static volatile int code;
static void on_fault(int signal, siginfo_t *info, void *context) {
    code = info->si_code;
    siglongjmp(back, 1);
}
static const char *touch(volatile char *at, int write) {
    static char text[32];
    if (sigsetjmp(back, 1)) {
        snprintf(text, sizeof text, "fault %d", code);
        return text;
    }
    if (write) *at = 'w';
    snprintf(text, sizeof text, "%d", *at);
    return text;
}
#define TOUCH(at, write) printf("%s %s: %s\n", write ? "write" : "read", #at, touch(at, write))

int main(void) {
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &act, NULL);
    char *at = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(at, 'x', 8 * PAGE);
    SHOW(madvise(at + PAGE, 2 * PAGE, MADV_GUARD_INSTALL));
    TOUCH(at, 1);
    TOUCH(at + PAGE, 0);
    TOUCH(at + 3 * PAGE - 1, 1);
    TOUCH(at + 3 * PAGE, 0);
    SHOW(madvise(at + PAGE, 2 * PAGE, MADV_GUARD_INSTALL));
    // Calls can't read it either.
    int ends[2];
    char copy[8];
    NEED(pipe(ends) == 0);
    SHOW(write(ends[1], at + PAGE, 1));
    struct iovec own = {copy, 1}, other = {at + PAGE, 1};
    SHOW(process_vm_readv(getpid(), &own, 1, &other, 1, 0));
    SHOW(madvise(at, 8 * PAGE, MADV_DONTNEED));
    TOUCH(at, 0);
    TOUCH(at + PAGE, 0);
    SHOW(mprotect(at, 8 * PAGE, PROT_READ));
    TOUCH(at + 2 * PAGE, 0);
    SHOW(mprotect(at, 8 * PAGE, PROT_READ | PROT_WRITE));
    TOUCH(at + 2 * PAGE, 1);
    SHOW(madvise(at, 4 * PAGE, MADV_POPULATE_READ));
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        TOUCH(at + PAGE, 0);
        SHOW(madvise(at + PAGE, PAGE, MADV_GUARD_REMOVE));
        TOUCH(at + PAGE, 1);
        _exit(0);
    }
    NEED(waitpid(child, NULL, 0) == child);
    TOUCH(at + PAGE, 0);
    SHOW(madvise(at, 8 * PAGE, MADV_GUARD_REMOVE));
    TOUCH(at + PAGE, 0);
    TOUCH(at + 2 * PAGE, 1);
    SHOW(mlock(at + 4 * PAGE, PAGE));
    SHOW(madvise(at + 4 * PAGE, PAGE, MADV_GUARD_INSTALL));
    SHOW(munlock(at + 4 * PAGE, PAGE));
    NEED(munmap(at + 6 * PAGE, PAGE) == 0);
    SHOW(madvise(at + 5 * PAGE, 3 * PAGE, MADV_GUARD_INSTALL));
    TOUCH(at + 5 * PAGE, 0);
    // A new mapping has none.
    NEED(mmap(at + 5 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at + 5 * PAGE);
    TOUCH(at + 5 * PAGE, 0);
    // Of a file.
    FILE *file = tmpfile();
    NEED(file && ftruncate(fileno(file), 2 * PAGE) == 0);
    char *mapped = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
    SHOW(madvise(mapped, PAGE, MADV_GUARD_INSTALL));
    TOUCH(mapped, 0);
    TOUCH(mapped + PAGE, 1);
    SHOW(madvise(mapped, PAGE, MADV_GUARD_REMOVE));
    TOUCH(mapped, 0);
    DONE();
}
