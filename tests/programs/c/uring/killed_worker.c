// io_uring(7): a thread of the kernel that waits for a request is sent SIGKILL, which ends its process, and nothing else.
// machines: all
#include "ring.h"
#include <dirent.h>
#include <sys/wait.h>

static struct ring r;

// The thread of a process that is not its first one; 0 while there is none.
static int worker_of(pid_t pid) {
    char path[64];
    int found = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
        int tid = atoi(entry->d_name);
        if (tid != 0 && tid != pid)
            found = tid;
    }
    if (tasks)
        closedir(tasks);
    return found;
}

int main(void) {
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        struct io_uring_params p = {0};
        static char bytes[8];
        int ends[2];
        NEED(pipe(ends) == 0);
        ring_open(&r, 4, &p);
        ring_bytes(&r, IORING_OP_READ, ends[0], bytes, sizeof bytes, 0, 1)->flags = IOSQE_ASYNC;
        NEED(ring_submit(&r, 0) == 1);
        for (;;)
            pause();
    }
    int worker = 0, status;
    WAIT_UNTIL((worker = worker_of(child)) != 0);
    SHOW((int)syscall(SYS_tgkill, child, worker, SIGUSR1));
    usleep(20000);
    SHOW(waitpid(child, &status, WNOHANG));
    SHOW((int)syscall(SYS_tgkill, child, worker, SIGKILL));
    NEED(waitpid(child, &status, 0) == child);
    SHOW(WIFSIGNALED(status) ? WTERMSIG(status) : -1);
    DONE();
}
