// mlock, mlock2, mlockall and their undoing: the limit (RLIMIT_MEMLOCK), VmLck, which pages become present, and what may not be
// done to locked memory.
// machines: all
#include "t.h"
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { PAGE = 4096, LIMIT = 16, ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS, READ_WRITE = PROT_READ | PROT_WRITE };

static void set_limit(rlim_t pages) {
    struct rlimit limit;
    NEED(getrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    limit.rlim_cur = pages * PAGE;
    NEED(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
}

// Pages that are locked (VmLck).
static long locked(void) {
    static char text[8192];
    int fd = open("/proc/self/status", O_RDONLY);
    NEED(fd >= 0);
    ssize_t n = read(fd, text, sizeof text - 1);
    NEED(n > 0 && close(fd) == 0);
    text[n] = 0;
    char *line = strstr(text, "VmLck:");
    NEED(line);
    return strtol(line + strlen("VmLck:"), NULL, 10) * 1024 / PAGE;
}

static char *map(int pages, int prot, int flags) {
    char *at = mmap(NULL, (size_t)pages * PAGE, prot, flags, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

// How many of the pages are present.
static int present(char *at, int pages) {
    unsigned char vector[64];
    int count = 0;
    NEED(mincore(at, (size_t)pages * PAGE, vector) == 0);
    for (int i = 0; i < pages; i++)
        count += vector[i] & 1;
    return count;
}

static void ranges(void) {
    char *at = map(2 * LIMIT, READ_WRITE, ANONYMOUS);
    SHOW(mlock(at + 10, PAGE));
    printf("locked %ld, present %d\n", locked(), present(at, 2 * LIMIT));
    SHOW(mlock(at, LIMIT * PAGE));
    printf("locked %ld, present %d\n", locked(), present(at, 2 * LIMIT));
    SHOW(mlock(at + LIMIT * PAGE, 1));
    SHOW(mlock(at + (LIMIT - 1) * PAGE, 2 * PAGE));
    // What is locked counts once.
    SHOW(mlock(at + PAGE, PAGE));
    SHOW(mlock2(at + PAGE, 2 * PAGE, MLOCK_ONFAULT));
    SHOW(munlock(at, 8 * PAGE));
    printf("locked %ld\n", locked());
    SHOW(mlock2(at + LIMIT * PAGE, 8 * PAGE, MLOCK_ONFAULT));
    printf("locked %ld, present there %d\n", locked(), present(at + LIMIT * PAGE, LIMIT));
    at[(LIMIT + 1) * PAGE] = 1;
    printf("touched: present there %d\n", present(at + LIMIT * PAGE, LIMIT));
    SHOW(munmap(at + LIMIT * PAGE, LIMIT * PAGE));
    printf("locked %ld\n", locked());
    // A hole: what is before it is locked all the same.
    SHOW(munlock(at, LIMIT * PAGE));
    SHOW(munmap(at + 4 * PAGE, PAGE));
    SHOW(mlock(at, 6 * PAGE));
    printf("locked %ld\n", locked());
    SHOW(munlock(at, 6 * PAGE));
    printf("locked %ld\n", locked());
    SHOW(mlock(at, 0));
    SHOW(mlock(at, (size_t)-1));
    SHOW(mlock2(at, PAGE, 2));
    SHOW(munlock(at + 4 * PAGE, PAGE));
    munmap(at, 2 * LIMIT * PAGE);
    char *none = map(2, PROT_NONE, ANONYMOUS);
    SHOW(mlock(none, 2 * PAGE));
    printf("locked %ld, present %d\n", locked(), present(none, 2));
    SHOW(mprotect(none, 2 * PAGE, READ_WRITE));
    printf("present %d\n", present(none, 2));
    munmap(none, 2 * PAGE);
}

static void changes(void) {
    char *at = map(8, READ_WRITE, ANONYMOUS | MAP_LOCKED);
    printf("MAP_LOCKED: locked %ld, present %d\n", locked(), present(at, 8));
    errno = 0;
    SHOW(map(LIMIT, READ_WRITE, ANONYMOUS | MAP_LOCKED) != NULL);
    printf("%s\n", t_errno(errno));
    SHOW(madvise(at, PAGE, MADV_DONTNEED));
    SHOW(madvise(at, PAGE, MADV_FREE));
    at[0] = 7;
    SHOW(madvise(at, PAGE, MADV_DONTNEED_LOCKED));
    printf("present %d, ", present(at, 8));
    printf("then %d\n", at[0]);
    char *grown = mremap(at, 8 * PAGE, 12 * PAGE, MREMAP_MAYMOVE);
    NEED(grown != MAP_FAILED);
    printf("grown: locked %ld, present %d\n", locked(), present(grown, 12));
    errno = 0;
    SHOW((long)mremap(grown, 12 * PAGE, 20 * PAGE, MREMAP_MAYMOVE));
    printf("%s\n", t_errno(errno));
    SHOW(mremap(grown, 12 * PAGE, 4 * PAGE, 0) == grown);
    printf("locked %ld\n", locked());
    // A mapping in its place is not locked; nor is a child's copy.
    SHOW(mmap(grown, PAGE, READ_WRITE, ANONYMOUS | MAP_FIXED, -1, 0) == grown);
    printf("locked %ld\n", locked());
    fflush(stdout);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0)
        _exit((int)locked());
    int status = 0;
    NEED(waitpid(child, &status, 0) == child);
    printf("child: locked %d\n", WEXITSTATUS(status));
    SHOW(munlockall());
    printf("locked %ld\n", locked());
    munmap(grown, 4 * PAGE);
}

static void all(void) {
    SHOW(mlockall(0));
    SHOW(mlockall(8));
    SHOW(mlockall(MCL_ONFAULT));
    // Much more than the limit is mapped.
    SHOW(mlockall(MCL_CURRENT));
    SHOW(mlockall(MCL_CURRENT | MCL_FUTURE));
    printf("locked %ld\n", locked());
    SHOW(mlockall(MCL_FUTURE));
    char *at = map(4, READ_WRITE, ANONYMOUS);
    printf("locked %ld, present %d\n", locked(), present(at, 4));
    errno = 0;
    SHOW(map(LIMIT, READ_WRITE, ANONYMOUS) != NULL);
    printf("%s\n", t_errno(errno));
    char *heap = sbrk(0);
    SHOW(syscall(SYS_brk, heap + LIMIT * PAGE) == (long)heap);
    SHOW(mlockall(MCL_FUTURE | MCL_ONFAULT));
    char *later = map(4, READ_WRITE, ANONYMOUS);
    printf("locked %ld, present %d\n", locked(), present(later, 4));
    SHOW(munlockall());
    printf("locked %ld\n", locked());
    char *free_again = map(LIMIT, READ_WRITE, ANONYMOUS);
    printf("locked %ld, present %d\n", locked(), present(free_again, LIMIT));
    munmap(at, 4 * PAGE);
    munmap(later, 4 * PAGE);
    munmap(free_again, LIMIT * PAGE);
}

int main(void) {
    // A user that may lock without a limit shows nothing here.
    enum { NOBODY = 65534 };
    if (geteuid() == 0)
        NEED(setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0);
    NEED(prctl(PR_SET_DUMPABLE, 1) == 0);
    set_limit(LIMIT);
    ranges();
    changes();
    all();
    set_limit(0);
    char *at = map(1, READ_WRITE, ANONYMOUS);
    SHOW(mlock(at, PAGE));
    SHOW(mlockall(MCL_FUTURE));
    errno = 0;
    SHOW(map(1, READ_WRITE, ANONYMOUS | MAP_LOCKED) != NULL);
    printf("%s\n", t_errno(errno));
    SHOW(munlock(at, PAGE));
    SHOW(munlockall());
    DONE();
}
