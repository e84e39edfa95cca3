// /proc/PID/syscall (proc_pid_syscall(5)): the call that reads it, the call that another process or a thread sleeps in, and one that runs.
// machines: all
#include "t.h"
#include <pthread.h>
#include <sys/wait.h>

enum { LENGTH = 77 };
static int tube[2];
static char here[LENGTH];

static const char *look(const char *path, int fd, const void *buffer, size_t size) {
    static char text[256];
    int list = open(path, O_RDONLY);
    NEED(list >= 0);
    bool is_own = size == sizeof text;
    ssize_t n = syscall(SYS_read, list, text, sizeof text);
    close(list);
    NEED(n > 0);
    text[n - 1] = 0;
    if (!strcmp(text, "running"))
        return text;
    long number;
    unsigned long arguments[6], sp, pc;
    int end = 0;
    NEED(sscanf(text, "%ld 0x%lx 0x%lx 0x%lx 0x%lx 0x%lx 0x%lx 0x%lx 0x%lx%n", &number, &arguments[0], &arguments[1], &arguments[2],
                &arguments[3], &arguments[4], &arguments[5], &sp, &pc, &end) == 9);
    CHECK(end == (int)strlen(text) && sp && pc);
    bool as_made = number == SYS_read && (int)arguments[0] == (is_own ? list : fd) &&
                   arguments[1] == (unsigned long)(is_own ? text : buffer) && arguments[2] == size;
    return as_made ? "read" : "another call";
}

static void *reader(void *tid) {
    *(pid_t *)tid = gettid();
    syscall(SYS_read, tube[0], here, LENGTH);
    return NULL;
}

int main(void) {
    char path[64];
    NEED(pipe(tube) == 0);
    printf("own: %s\n", look("/proc/self/syscall", 0, NULL, 256));

    pid_t child = fork();
    if (child == 0) {
        syscall(SYS_read, tube[0], here, LENGTH);
        for (;;) {
        }
    }
    NEED(child > 0);
    WAIT_UNTIL_ASLEEP(process_state(child));
    snprintf(path, sizeof path, "/proc/%d/syscall", child);
    printf("another's: %s\n", look(path, tube[0], here, LENGTH));
    NEED(write(tube[1], "", 1) == 1);
    WAIT_UNTIL(process_state(child) == 'R' && !strcmp(look(path, tube[0], here, LENGTH), "running"));
    NEED(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);

    pthread_t thread;
    _Atomic pid_t tid = 0;
    NEED(pthread_create(&thread, NULL, reader, (void *)&tid) == 0);
    WAIT_UNTIL(tid != 0);
    wait_until_asleep(tid);
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
    printf("a thread's: %s\n", look(path, tube[0], here, LENGTH));
    NEED(write(tube[1], "", 1) == 1 && pthread_join(thread, NULL) == 0);
    DONE();
}
