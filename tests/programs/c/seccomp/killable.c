// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: once the listener has received a call, a signal with a handler does not interrupt it.
#include "t.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

static volatile int handled;
static void handler(int signal) { handled += signal == SIGUSR1; }

static int install(unsigned flags) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}
// A call that a signal comes to while the listener holds it. `ends`: with SIGKILL.
static void part(const char *what, unsigned flags, bool interrupted, bool ends) {
    printf("-- %s\n", what);
    fflush(stdout);
    int ready[2];
    NEED(pipe(ready) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct sigaction once = {.sa_handler = handler};
        NEED(sigaction(SIGUSR1, &once, NULL) == 0);
        int listener = install(SECCOMP_FILTER_FLAG_NEW_LISTENER | flags);
        NEED(listener >= 0 && write(ready[1], &listener, sizeof listener) == sizeof listener);
        SHOW(syscall(SYS_getpgid, 0));
        SHOW(handled);
        _exit(0);
    }
    int number, pidfd = syscall(SYS_pidfd_open, pid, 0);
    NEED(pidfd >= 0 && read(ready[0], &number, sizeof number) == sizeof number);
    int listener = syscall(SYS_pidfd_getfd, pidfd, number, 0);
    NEED(listener >= 0);
    struct seccomp_notif question = {0};
    NEED(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &question) == 0);
    NEED(kill(pid, ends ? SIGKILL : SIGUSR1) == 0);
    if (interrupted)
        WAIT_UNTIL(ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &question.id) == -1);
    struct seccomp_notif_resp answer = {.id = question.id, .val = 42};
    errno = 0;
    if (!ends)
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    int error = errno, status;
    // What the child prints comes first.
    NEED(waitpid(pid, &status, 0) == pid);
    printf("answered: %s\n", error ? t_errno(error) : "yes");
    SHOW(status);
    close(listener);
    close(pidfd);
}

int main(void) {
    NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    SHOW(install(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV));
    part("a signal interrupts", 0, true, false);
    part("no signal interrupts", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, false, false);
    part("but one that kills", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, true, true);
    DONE();
}
