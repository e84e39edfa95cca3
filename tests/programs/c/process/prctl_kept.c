// What prctl(2) keeps of a thread, tells, and hands down: the policy for failing memory; counters as a whole; names for memory.
#include "t.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

static void *of_thread(void *unused) {
    printf("a new thread's policy: %d\n", prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
    CHECK(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_LATE, 0, 0) == 0);
    return NULL;
}

int main(void) {
    printf("policy: %d\n", prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
    SHOW(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, 3, 0, 0));
    SHOW(prctl(PR_MCE_KILL, 2, 0, 0, 0));
    SHOW(prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 1, 0, 0));
    SHOW(prctl(PR_MCE_KILL_GET, 1, 0, 0, 0));
    SHOW(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, of_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    printf("afterwards: %d\n", prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
    pid_t child = fork();
    if (child == 0)
        _exit(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    printf("a child's: %d\n", WEXITSTATUS(status));
    SHOW(prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0, 0, 0));
    printf("cleared: %d\n", prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));

    SHOW(prctl(PR_TASK_PERF_EVENTS_DISABLE));
    SHOW(prctl(PR_TASK_PERF_EVENTS_ENABLE));

    long page = sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    SHOW(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, memory, page, "[brackets]"));
    SHOW(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, memory, page, "a\nline"));
    SHOW(prctl(PR_SET_VMA, 1, memory, page, "other"));
    DONE();
}
