// PID namespaces: the numbers seen from each level, what the init process of a namespace does, what ends with it, and clone3's set_tid.
#include "t.h"
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

static char stack[65536];
static int up[2], down[2];

static void tell(int fd) { NEED(write(fd, "", 1) == 1); }
static void hear(int fd) {
    char byte;
    NEED(read(fd, &byte, 1) == 1);
}
static void pipes(void) { NEED(pipe(up) == 0 && pipe(down) == 0); }
static void no_pipes(void) { close(up[0]), close(up[1]), close(down[0]), close(down[1]); }
static int wait_for(pid_t pid) {
    int status;
    NEED(waitpid(pid, &status, __WALL) == pid);
    return status;
}
static pid_t start(int (*f)(void *), int flags, void *argument) {
    fflush(stdout);
    pid_t pid = clone(f, stack + sizeof stack, flags | SIGCHLD, argument);
    NEED(pid > 0);
    return pid;
}
static void line_of(const char *path, const char *name) {
    char line[256];
    FILE *file = fopen(path, "r");
    NEED(file);
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, name, strlen(name)))
            fputs(line, stdout);
    fclose(file);
}
static int fields_in(const char *path, const char *name) {
    char line[256];
    int count = 0;
    FILE *file = fopen(path, "r");
    NEED(file);
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, name, strlen(name)))
            for (char *at = strchr(line, '\t'); at; at = strchr(at + 1, '\t'))
                count++;
    fclose(file);
    return count;
}

// Numbers.
static siginfo_t last;
static void note(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    last = *info;
}
static void *thread_body(void *unused) {
    (void)unused;
    SHOW(getpid());
    SHOW(syscall(SYS_gettid));
    return NULL;
}
static int numbers(void *argument) {
    int socket = *(int *)argument;
    SHOW(getpid());
    SHOW(syscall(SYS_gettid));
    SHOW(getppid());
    SHOW(getpgrp());
    SHOW(getsid(0));
    SHOW(setpgid(0, 0));
    SHOW(getpgrp());
    SHOW(setsid());
    pthread_t thread;
    NEED(pthread_create(&thread, NULL, thread_body, NULL) == 0 && pthread_join(thread, NULL) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        SHOW(getpid());
        SHOW(getppid());
        SHOW(getpgrp());
        SHOW(setsid());
        SHOW(getsid(0));
        fflush(stdout);
        _exit(7);
    }
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGCHLD, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    siginfo_t info = {0};
    SHOW(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    printf("waitid: %d %d\n", info.si_pid, info.si_status);
    SHOW(child == info.si_pid);
    SHOW(wait4(child, NULL, 0, NULL) == child);
    SHOW(kill(getpid(), SIGUSR1));
    printf("from %d\n", last.si_pid);
    SHOW(kill(12345, 0));
    SHOW(waitpid(12345, NULL, 0));
    SHOW(getpgid(12345));
    SHOW(syscall(SYS_pidfd_open, 12345, 0));
    SHOW(kill(-1, 0));
    SHOW(sched_getscheduler(1));
    SHOW(sched_getscheduler(2));
    // Locks.
    int fd = open("lock", O_RDWR);
    struct flock lock = {.l_type = F_WRLCK};
    NEED(fcntl(fd, F_GETLK, &lock) == 0);
    printf("locked by %d\n", lock.l_pid);
    SHOW(fcntl(up[0], F_SETOWN, 1));
    SHOW(fcntl(up[0], F_GETOWN));
    // A message with our number.
    char byte = 'x';
    SHOW(write(socket, &byte, 1));
    struct ucred ids;
    socklen_t len = sizeof ids;
    NEED(getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &ids, &len) == 0);
    printf("peer %d\n", ids.pid);
    tell(up[1]);
    hear(down[0]);
    printf("from outside: %d\n", last.si_pid);
    fflush(stdout);
    return 3;
}

static void seen_from_outside(void) {
    int pair[2], on = 1;
    pipes();
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
    int fd = open("lock", O_RDWR | O_CREAT, 0600);
    struct flock lock = {.l_type = F_WRLCK};
    NEED(fcntl(fd, F_SETLK, &lock) == 0);
    pid_t pid = start(numbers, CLONE_NEWPID, &pair[1]);
    hear(up[0]);
    char byte, control[CMSG_SPACE(sizeof(struct ucred))];
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    NEED(recvmsg(pair[0], &message, 0) == 1);
    struct ucred ids;
    memcpy(&ids, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof ids);
    SHOW(ids.pid == pid);
    SHOW(fcntl(up[0], F_GETOWN) == pid);
    SHOW(getpgid(pid) == pid);
    char path[64], own[64], theirs[64];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    SHOW(fields_in(path, "NSpid:"));
    SHOW(fields_in("/proc/self/status", "NSpid:"));
    snprintf(path, sizeof path, "/proc/%d/ns/pid", pid);
    SHOW(readlink(path, theirs, sizeof theirs) > 0 && readlink("/proc/self/ns/pid", own, sizeof own) > 0 && strcmp(own, theirs));
    int space = open(path, O_RDONLY);
    SHOW(ioctl(space, NS_GET_NSTYPE) == CLONE_NEWPID);
    int parent = ioctl(space, NS_GET_PARENT);
    SHOW(parent >= 0);
    SHOW(ioctl(parent, NS_GET_PARENT));
    SHOW(kill(pid, SIGUSR1));
    tell(down[1]);
    int status = wait_for(pid);
    printf("status %d\n", WEXITSTATUS(status));
    // Into what is gone.
    SHOW(setns(space, CLONE_NEWPID));
    SHOW(fork());
    SHOW(setns(parent, 0));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    SHOW(child > 0);
    wait_for(child);
    close(space), close(parent), close(fd), close(pair[0]), close(pair[1]);
    no_pipes();
}

// The init process.
static volatile int caught;
static void catch(int number) { caught = number; }
static int init(void *unused) {
    (void)unused;
    // From inside: only what has a handler.
    SHOW(kill(1, SIGTERM));
    SHOW(kill(1, SIGKILL));
    SHOW(kill(1, SIGSTOP));
    SHOW(raise(SIGINT));
    signal(SIGUSR1, catch);
    SHOW(kill(1, SIGUSR1));
    SHOW(caught == SIGUSR1);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    SHOW(kill(1, SIGTERM));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    // An orphan is ours.
    fflush(stdout);
    pid_t middle = fork();
    if (middle == 0) {
        if (fork() == 0) {
            while (getppid() != 1)
                usleep(1000);
            _exit(getpid());
        }
        _exit(0);
    }
    int status, count = 0, orphan = 0;
    while (wait(&status) > 0) {
        count++;
        orphan += WEXITSTATUS(status);
    }
    SHOW(count);
    SHOW(orphan == middle + 1);
    // What we leave behind ends with us.
    tell(up[1]);
    hear(down[0]);
    for (int i = 0; i < 3; i++) {
        if (fork() == 0) {
            signal(SIGTERM, SIG_IGN);
            if (i == 2 && fork() == 0)
                setsid();
            tell(up[1]);
            for (;;)
                pause();
        }
        hear(down[0]);
    }
    return 5;
}

static void inits(void) {
    pipes();
    pid_t pid = start(init, CLONE_NEWPID, NULL);
    hear(up[0]);
    // From outside: SIGKILL and SIGSTOP alone.
    SHOW(kill(pid, SIGTERM));
    int status;
    SHOW(kill(pid, SIGSTOP));
    SHOW(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    SHOW(kill(pid, SIGCONT));
    tell(down[1]);
    for (int i = 0; i < 4; i++) {
        hear(up[0]);
        if (i != 2)
            tell(down[1]);
    }
    status = wait_for(pid);
    printf("init: %d\n", WEXITSTATUS(status));
    // They were the last to have the pipe open.
    close(up[1]);
    char byte;
    SHOW(read(up[0], &byte, 1));
    close(up[0]), close(down[0]), close(down[1]);
    pipes();
    pid = start(init, CLONE_NEWPID, NULL);
    hear(up[0]);
    SHOW(kill(pid, SIGKILL));
    status = wait_for(pid);
    printf("init: %d\n", WTERMSIG(status));
    no_pipes();
}
static int faults(void *unused) {
    (void)unused;
    *(volatile int *)16 = 0;
    return 0;
}

// unshare, and what is in /proc.
static void unshared(void) {
    pipes();
    fflush(stdout);
    pid_t maker = fork();
    if (maker == 0) {
        SHOW(unshare(CLONE_NEWPID));
        SHOW(getpid() > 1);
        SHOW(readlink("/proc/self/ns/pid_for_children", stack, sizeof stack));
        SHOW(unshare(CLONE_NEWPID));
        pthread_t thread;
        SHOW_ERROR(pthread_create(&thread, NULL, thread_body, NULL));
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            SHOW(getpid());
            SHOW(getppid());
            NEED(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
            SHOW(readlink("/proc/self", stack, sizeof stack) > 0 && atoi(stack) != 1);
            NEED(mount("proc", "/proc", "proc", 0, NULL) == 0);
            memset(stack, 0, sizeof stack);
            SHOW(readlink("/proc/self", stack, sizeof stack) == 1 && stack[0] == '1');
            SHOW(readlink("/proc/thread-self", stack, sizeof stack));
            printf("%s\n", stack);
            line_of("/proc/self/status", "Pid:");
            line_of("/proc/self/status", "Tgid:");
            line_of("/proc/self/status", "PPid:");
            line_of("/proc/self/status", "NS");
            pid_t child = fork();
            if (child == 0) {
                for (;;)
                    pause();
            }
            SHOW(access("/proc/2/stat", F_OK));
            SHOW(access("/proc/2/task/2/stat", F_OK));
            SHOW(access("/proc/3", F_OK));
            SHOW(process_state(2) != 'X');
            // A namespace within.
            pid_t deep = syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);
            if (deep == 0) {
                printf("deep: %d, parent %d\n", getpid(), getppid());
                SHOW(readlink("/proc/self", stack, sizeof stack) > 0 && atoi(stack) > 2);
                line_of("/proc/self/status", "NSpid:");
                fflush(stdout);
                _exit(0);
            }
            wait_for(deep);
            printf("deep was %d\n", deep);
            SHOW(kill(child, SIGKILL));
            wait_for(child);
            fflush(stdout);
            _exit(0);
        }
        bool has_namespace = readlink("/proc/self/ns/pid_for_children", stack, sizeof stack) > 0;
        wait_for(pid);
        SHOW(pid > 1);
        SHOW(has_namespace);
        SHOW(fork());
        fflush(stdout);
        _exit(0);
    }
    wait_for(maker);
    no_pipes();
}

// Chosen numbers.
static pid_t clone_with(unsigned long flags, pid_t *ids, size_t count) {
    struct clone_args arguments = {.flags = flags, .exit_signal = SIGCHLD, .set_tid = (uintptr_t)ids, .set_tid_size = count};
    fflush(stdout);
    pid_t pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid == 0)
        _exit(getpid() == ids[0] ? 0 : 9);
    if (pid > 0) {
        int error = WEXITSTATUS(wait_for(pid));
        errno = 0;
        return error;
    }
    return pid;
}
static int chooses(void *unused) {
    (void)unused;
    SHOW(clone_with(0, (pid_t[]){77}, 1));
    SHOW(clone_with(0, (pid_t[]){1}, 1));
    SHOW(clone_with(0, (pid_t[]){0}, 1));
    SHOW(clone_with(0, (pid_t[]){-5}, 1));
    SHOW(clone_with(0, (pid_t[]){1 << 22}, 1));
    SHOW(clone_with(CLONE_NEWPID, (pid_t[]){1, 42}, 2));
    SHOW(clone_with(CLONE_NEWPID, (pid_t[]){2, 42}, 2));
    SHOW(clone_with(0, (pid_t[]){10, 11, 12, 13, 14, 15, 16, 17}, 8));
    SHOW(clone_with(0, (pid_t[]){10}, 0));
    NEED(setuid(1000) == 0);
    SHOW(clone_with(0, (pid_t[]){78}, 1));
    fflush(stdout);
    return 0;
}

static int nothing(void *unused) {
    (void)unused;
    return 0;
}

// As one without rights has it, with a namespace of users.
static void of_users(void) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        NEED(setgid(1000) == 0 && setuid(1000) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0);
        SHOW(unshare(CLONE_NEWPID));
        SHOW(unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS));
        SHOW(mount("proc", "/proc", "proc", 0, NULL));
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            SHOW(getpid());
            SHOW(mount("proc", "/proc", "proc", 0, NULL));
            line_of("/proc/self/status", "Pid:");
            fflush(stdout);
            _exit(0);
        }
        wait_for(child);
        _exit(0);
    }
    wait_for(pid);
}

int main(void) {
    enter_scratch();
    NEED(chmod(".", 0755) == 0);
    seen_from_outside();
    inits();
    int status = wait_for(start(faults, CLONE_NEWPID, NULL));
    printf("fault: %d\n", WTERMSIG(status));
    unshared();
    wait_for(start(chooses, CLONE_NEWPID, NULL));
    of_users();
    SHOW(clone(nothing, stack + sizeof stack, CLONE_NEWPID | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM, NULL));
    DONE();
}
