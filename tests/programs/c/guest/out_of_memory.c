// Which process ends when memory runs out: the one with the most pages, by its oom_score_adj, whatever it is doing; never one with
// the least adjustment, and not the first process while there is another. The one that wanted more goes on. Not run on
// Linux, which other processes share.
// memory: 64M
// machines: all
// linux: no
// stdout-has: the right ones ended
#include "t.h"
#include <sys/prctl.h>
#include <sys/wait.h>

#define PAGE 4096
#define MIB (1L << 20)

static void fill(long mib) {
    for (long i = 0; i < mib * MIB / PAGE; i++) {
        char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED)
            _exit(9);
        page[0] = 1;
    }
}

static void adjust(int value) {
    char text[16];
    snprintf(text, sizeof text, "%d", value);
    write_file("/proc/self/oom_score_adj", text);
}

static long score(pid_t pid) {
    char path[64], text[16] = "";
    snprintf(path, sizeof path, "/proc/%d/oom_score", (int)pid);
    int fd = open(path, O_RDONLY);
    NEED(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return atol(text);
}

// Has memory, and something that it does for ever.
enum { SLEEPS, IS_STOPPED, READS, WAITS_FOR_VFORK, RUNS, KINDS };

// Nothing is ever written to it.
static int empty[2];

static pid_t start(int kind, long mib, int adjustment) {
    int ready[2];
    NEED(pipe(ready) == 0);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        adjust(adjustment);
        fill(mib);
        if (write(ready[1], "r", 1) != 1)
            _exit(9);
        switch (kind) {
        case IS_STOPPED: raise(SIGSTOP); break;
        case READS: (void)!read(empty[0], &(char){0}, 1); break;
        case WAITS_FOR_VFORK:
            if (vfork() == 0)
                for (;;)
                    pause();
            break;
        case RUNS:
            for (volatile long i = 0;; i++)
                ;
        }
        for (;;)
            pause();
    }
    NEED(read(ready[0], &(char){0}, 1) == 1);
    close(ready[0]);
    close(ready[1]);
    if (kind == IS_STOPPED)
        NEED(waitpid(pid, NULL, WUNTRACED) == pid);
    return pid;
}

// The status of a process that wants more than there is.
static int want(long mib, int adjustment) {
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        adjust(adjustment);
        fill(mib);
        _exit(0);
    }
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    return status;
}

static bool is_killed(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL; }

static bool ends_killed(pid_t pid) {
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    return is_killed(status);
}

static void stop(pid_t pid) {
    CHECK(waitpid(pid, NULL, WNOHANG) == 0);
    kill(pid, SIGKILL);
    CHECK(ends_killed(pid));
}

int main(void) {
    NEED(pipe(empty) == 0);
    for (int kind = 0; kind < KINDS; kind++) {
        // The largest goes, though another wanted more.
        pid_t small = start(SLEEPS, 2, 0), large = start(kind, 36, 0);
        CHECK(score(large) > score(small) && score(getpid()) == 0);
        CHECK(want(34, 0) == 0);
        CHECK(ends_killed(large));
        stop(small);
    }
    // The adjustment counts: 100 is a tenth of memory.
    pid_t favoured = start(SLEEPS, 28, -500), blamed = start(READS, 4, 500);
    CHECK(score(blamed) > score(favoured));
    CHECK(want(28, 0) == 0);
    CHECK(ends_killed(blamed));
    // Never this one, and not the other, whose adjustment is more than its pages: the one that wants more ends itself.
    pid_t spared = start(RUNS, 26, -1000);
    CHECK(score(spared) == 0);
    CHECK(is_killed(want(60, 0)));
    stop(favoured);
    stop(spared);
    // Several at once, again and again: each ends or has what it wants, and others are as they were.
    pid_t bystander = start(SLEEPS, 1, -1000);
    for (int round = 0; round < 5; round++) {
        pid_t hogs[4];
        for (int i = 0; i < 4; i++) {
            hogs[i] = fork();
            NEED(hogs[i] >= 0);
            if (hogs[i] == 0) {
                fill(24);
                _exit(0);
            }
        }
        for (int i = 0; i < 4; i++) {
            int status;
            NEED(waitpid(hogs[i], &status, 0) == hogs[i]);
            CHECK(status == 0 || is_killed(status));
        }
    }
    stop(bystander);
    CHECK(want(40, 0) == 0);
    if (t_failures == 0)
        puts("the right ones ended");
    DONE();
}
