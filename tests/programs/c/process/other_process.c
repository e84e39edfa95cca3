// process_vm_readv, process_vm_writev, kcmp and pidfd_getfd: a parent looks into its child, and sees what they share.
// machines: all
#include "t.h"
#include <linux/kcmp.h>
#include <pthread.h>
#include <sys/uio.h>
#include <sys/wait.h>

static char text[] = "text of the parent";
static pid_t child;

static long compare(int kind, long one, long other) { return syscall(SYS_kcmp, getpid(), child, kind, one, other); }

static void *other_way(void *arg) {
    for (int i = 0; i < 20000; i++)
        NEED(syscall(SYS_kcmp, child, getpid(), KCMP_SIGHAND, 0, 0) > 0);
    return arg;
}

// Two threads compare the same processes, each beginning with the other one.
static void in_turns(void) {
    pthread_t thread;
    NEED(pthread_create(&thread, NULL, other_way, NULL) == 0);
    for (int i = 0; i < 20000; i++)
        NEED(compare(KCMP_SIGHAND, 0, 0) > 0);
    NEED(pthread_join(thread, NULL) == 0);
}

static void memory(char *hole) {
    char copy[64] = "";
    struct iovec own[2] = {{copy, 5}, {copy + 5, 59}}, other[2] = {{text, sizeof text}, {hole, 16}};
    SHOW(process_vm_readv(child, own, 2, other, 1, 0));
    puts(copy);
    // What is there before the hole counts.
    SHOW(process_vm_readv(child, own, 2, other, 2, 0));
    SHOW(process_vm_readv(child, own, 2, other + 1, 1, 0));
    memcpy(copy, "from outside", 13);
    own[0].iov_len = 13;
    SHOW(process_vm_writev(child, own, 1, other, 1, 0));
    puts(text);
    SHOW(process_vm_readv(child, own, 0, other, 1, 0));
    SHOW(process_vm_readv(child, own, 1, other, 1, 1));
    SHOW(process_vm_readv(child, own, 5000, other, 1, 0));
    SHOW(process_vm_readv(0x7ffffff0, own, 1, other, 1, 0));
    SHOW(process_vm_readv(getpid(), own, 1, other, 1, 0));
}

int main(void) {
    int ready[2], end[2], file = open("/dev/null", O_RDONLY);
    NEED(pipe(ready) == 0 && pipe(end) == 0 && file >= 0);
    char *hole = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), byte;
    child = fork();
    NEED(child >= 0);
    if (child == 0) {
        strcpy(text, "text of the child");
        int own = open("/dev/zero", O_RDONLY);
        NEED(write(ready[1], &own, sizeof own) == sizeof own);
        close(end[1]);
        NEED(read(end[0], &byte, 1) == 0);
        printf("the child has: %s\n", text);
        _exit(0);
    }
    int its;
    NEED(read(ready[0], &its, sizeof its) == sizeof its);
    memory(hole);
    SHOW(compare(KCMP_FILE, file, file));
    SHOW(compare(KCMP_FILE, ready[0], ready[1]) > 0);
    SHOW(compare(KCMP_FILE, file, 1000));
    SHOW(compare(KCMP_VM, 0, 0) > 0);
    SHOW(compare(KCMP_FILES, 0, 0) > 0);
    SHOW(compare(KCMP_FS, 0, 0) > 0);
    SHOW(compare(KCMP_SIGHAND, 0, 0) > 0);
    SHOW(compare(99, 0, 0));
    for (int kind = KCMP_FILE; kind <= KCMP_SYSVSEM; kind++)
        SHOW(syscall(SYS_kcmp, getpid(), getpid(), kind, 0, 0));
    in_turns();
    SHOW(syscall(SYS_kcmp, getpid(), 0x7ffffff0, KCMP_VM, 0, 0));
    int handle = (int)syscall(SYS_pidfd_open, child, 0);
    NEED(handle >= 0);
    int taken = (int)syscall(SYS_pidfd_getfd, handle, its, 0);
    NEED(taken >= 0);
    SHOW(read(taken, &byte, 1));
    SHOW(fcntl(taken, F_GETFD));
    SHOW(compare(KCMP_FILE, taken, its));
    SHOW(syscall(SYS_pidfd_getfd, handle, 1000, 0));
    SHOW(syscall(SYS_pidfd_getfd, handle, its, 1));
    SHOW(syscall(SYS_pidfd_getfd, file, its, 0));
    close(end[1]);
    NEED(waitpid(child, NULL, 0) == child);
    SHOW(syscall(SYS_pidfd_getfd, handle, its, 0));
    DONE();
}
