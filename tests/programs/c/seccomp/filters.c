// seccomp: what filters may be, each action, several filters, and who inherits them.
// flags: -pthread
#include "t.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define INSTALL(flags, ...)                                                                                      \
    ({                                                                                                           \
        struct sock_filter code[] = {__VA_ARGS__};                                                               \
        struct sock_fprog program = {sizeof code / sizeof *code, code};                                          \
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);                                          \
    })
// Has call `number` have this outcome, and all others be made.
#define ON(number, value)                                                                                        \
    LOAD(nr), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), RETURN(value), RETURN(SECCOMP_RET_ALLOW)
#ifdef __x86_64__
enum { ARCH = AUDIT_ARCH_X86_64 };
#else
enum { ARCH = AUDIT_ARCH_AARCH64 };
#endif

// Runs a part in a child, and prints how that ends.
#define IN_CHILD(what, ...)                                                                                      \
    do {                                                                                                         \
        fflush(stdout);                                                                                          \
        pid_t child = fork();                                                                                    \
        NEED(child >= 0);                                                                                        \
        if (child == 0) {                                                                                        \
            __VA_ARGS__;                                                                                         \
            fflush(stdout);                                                                                      \
            _exit(0);                                                                                            \
        }                                                                                                        \
        int status;                                                                                              \
        NEED(waitpid(child, &status, 0) == child);                                                               \
        if (WIFSIGNALED(status))                                                                                 \
            printf("%s: killed by %d\n", what, WTERMSIG(status));                                                \
        else                                                                                                     \
            printf("%s: ended with %d\n", what, WEXITSTATUS(status));                                            \
    } while (0)

static void trapped(int signal, siginfo_t *info, void *context) {
    (void)context;
    printf("SIGSYS: signal %d, code %d, errno %d, call %s, arch %s, address %s\n", signal, info->si_code, info->si_errno,
           info->si_syscall == SYS_getpgid ? "getpgid" : "?", info->si_arch == ARCH ? "own" : "?",
           info->si_call_addr ? "some" : "none");
}

static void *tries_getpgid(void *unused) {
    (void)unused;
    errno = 0;
    return (void *)(intptr_t)(syscall(SYS_getpgid, 0) == -1 ? errno : 0);
}
static void *installs(void *unused) {
    (void)unused;
    return (void *)(intptr_t)INSTALL(0, ON(SYS_getsid, SECCOMP_RET_ERRNO | EDOM));
}
static void *waits(void *lock) {
    pthread_mutex_lock(lock);
    return tries_getpgid(NULL);
}

static void sizes(void) {
    static struct sock_filter many[4097];
    for (int i = 0; i < 4097; i++)
        many[i] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
    struct sock_fprog program = {4097, many};
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    program.len = 0;
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    program.len = 4096;
    int installed = 0;
    while (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0)
        installed++;
    printf("%s, then %s\n", installed > 2 ? "some" : "none", t_errno(errno));
}

static void synchronise(void) {
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_t thread;
    void *result;
    pthread_mutex_lock(&lock);
    NEED(pthread_create(&thread, NULL, waits, &lock) == 0);
    SHOW(INSTALL(SECCOMP_FILTER_FLAG_TSYNC, ON(SYS_getpgid, SECCOMP_RET_ERRNO | ERANGE)));
    pthread_mutex_unlock(&lock);
    NEED(pthread_join(thread, &result) == 0);
    printf("in the other thread: %s\n", t_errno((int)(intptr_t)result));
    // A thread of one's own filters.
    NEED(pthread_create(&thread, NULL, installs, NULL) == 0);
    NEED(pthread_join(thread, &result) == 0);
    SHOW(result == NULL);
    SHOW(INSTALL(SECCOMP_FILTER_FLAG_TSYNC, ON(SYS_getsid, SECCOMP_RET_ALLOW)));
}

static int thread_count(void) {
    char text[4096] = "";
    int fd = open("/proc/self/status", O_RDONLY);
    NEED(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return atoi(strstr(text, "Threads:") + 8);
}

static void *ends_by_filter(void *unused) {
    (void)unused;
    INSTALL(0, ON(SYS_getpgid, SECCOMP_RET_KILL_THREAD));
    syscall(SYS_getpgid, 0);
    puts("FAILED: it goes on");
    return NULL;
}

int main(int argc, char **argv) {
    if (argc > 1) {
        printf("after exec: %s\n", t_errno((int)(intptr_t)tries_getpgid(NULL)));
        return 0;
    }
    SHOW(prctl(PR_GET_SECCOMP));
    uint32_t actions[] = {SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP, SECCOMP_RET_ERRNO,
                          SECCOMP_RET_TRACE, SECCOMP_RET_LOG, SECCOMP_RET_ALLOW, 0x12345678};
    for (int i = 0; i < 8; i++)
        SHOW(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &actions[i]));
    SHOW(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 1, &actions[0]));
    SHOW(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, NULL));
    SHOW(syscall(SYS_seccomp, 77, 0, NULL));
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL));
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0x80, NULL));
    SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1, NULL));
    SHOW(prctl(PR_SET_SECCOMP, 9, NULL));
    NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);

    // Programs that are no filters of calls.
    SHOW(INSTALL(0, BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0), RETURN(SECCOMP_RET_ALLOW)));
    SHOW(INSTALL(0, BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), RETURN(SECCOMP_RET_ALLOW)));
    SHOW(INSTALL(0, BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 3), RETURN(SECCOMP_RET_ALLOW)));
    SHOW(INSTALL(0, BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)));
    SHOW(INSTALL(0, BPF_JUMP(BPF_JMP | BPF_JA, 5, 0, 0), RETURN(SECCOMP_RET_ALLOW)));

    IN_CHILD("errno", SHOW(INSTALL(0, ON(SYS_getpgid, SECCOMP_RET_ERRNO | EXDEV))); SHOW(syscall(SYS_getpgid, 0));
             SHOW(prctl(PR_GET_SECCOMP)));
    // Words that a filter stores are there when it loads them.
    IN_CHILD("words of its own",
             SHOW(INSTALL(0, LOAD(args[0]), BPF_STMT(BPF_ST, 3), BPF_STMT(BPF_MISC | BPF_TAX, 0), BPF_STMT(BPF_STX, 15),
                          LOAD(nr), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 4), BPF_STMT(BPF_LD | BPF_MEM, 3),
                          BPF_STMT(BPF_LDX | BPF_MEM, 15), BPF_STMT(BPF_ALU | BPF_OR | BPF_K, SECCOMP_RET_ERRNO),
                          BPF_STMT(BPF_RET | BPF_A, 0), RETURN(SECCOMP_RET_ALLOW)));
             SHOW(syscall(SYS_getpgid, EDOM)); SHOW(syscall(SYS_getpgid, EXDEV)); SHOW(INSTALL(0, BPF_STMT(BPF_LD | BPF_MEM, 3), RETURN(0))));
    IN_CHILD("errno 0", INSTALL(0, ON(SYS_getpgid, SECCOMP_RET_ERRNO)); SHOW(syscall(SYS_getpgid, 0)));
    IN_CHILD("large errno", INSTALL(0, ON(SYS_getpgid, SECCOMP_RET_ERRNO | 0xffff)); errno = 0;
             SHOW(syscall(SYS_getpgid, 0)); SHOW(errno));
    IN_CHILD("trap", struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO}; sigaction(SIGSYS, &action, NULL);
             INSTALL(0, ON(SYS_getpgid, SECCOMP_RET_TRAP | 77)); SHOW(syscall(SYS_getpgid, 0) == SYS_getpgid));
    IN_CHILD("trap without a handler", INSTALL(0, ON(SYS_getpgid, SECCOMP_RET_TRAP)); syscall(SYS_getpgid, 0));
    IN_CHILD("trace without a tracer", INSTALL(0, ON(SYS_getpgid, SECCOMP_RET_TRACE)); SHOW(syscall(SYS_getpgid, 0)));
    IN_CHILD("log", INSTALL(0, ON(SYS_getpgid, SECCOMP_RET_LOG)); SHOW(syscall(SYS_getpgid, 0) > 0));
    IN_CHILD("kill process", INSTALL(0, ON(SYS_getpgid, SECCOMP_RET_KILL_PROCESS)); syscall(SYS_getpgid, 0));
    IN_CHILD("kill thread, the only one", INSTALL(0, ON(SYS_getpgid, SECCOMP_RET_KILL_THREAD)); syscall(SYS_getpgid, 0));
    IN_CHILD("kill thread, one of two", pthread_t thread; NEED(pthread_create(&thread, NULL, ends_by_filter, NULL) == 0);
             WAIT_UNTIL(thread_count() == 1); puts("the other goes on"));
    IN_CHILD("unknown action", INSTALL(0, ON(SYS_getpgid, 0x00010000)); syscall(SYS_getpgid, 0));
    IN_CHILD("division by zero", INSTALL(0, BPF_STMT(BPF_LDX | BPF_IMM, 0), BPF_STMT(BPF_LD | BPF_IMM, 1),
                                         BPF_STMT(BPF_ALU | BPF_DIV | BPF_X, 0), RETURN(SECCOMP_RET_ALLOW)); syscall(SYS_getpgid, 0));
    IN_CHILD("strictest counts", INSTALL(0, ON(SYS_getpgid, SECCOMP_RET_ERRNO | EXDEV)); INSTALL(0, ON(SYS_getpgid, SECCOMP_RET_LOG));
             SHOW(syscall(SYS_getpgid, 0)); INSTALL(0, ON(SYS_getpgid, SECCOMP_RET_ERRNO | EDOM)); SHOW(syscall(SYS_getpgid, 0)));
    IN_CHILD("arguments", INSTALL(0, LOAD(nr), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 3), LOAD(args[0]),
                                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 4242, 0, 1), RETURN(SECCOMP_RET_ERRNO | EDOM), RETURN(SECCOMP_RET_ALLOW));
             SHOW(syscall(SYS_getpgid, 4242)); SHOW(syscall(SYS_getpgid, 0) > 0));
    IN_CHILD("architecture", INSTALL(0, LOAD(arch), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0), RETURN(SECCOMP_RET_KILL_PROCESS),
                                     RETURN(SECCOMP_RET_ALLOW)); SHOW(syscall(SYS_getpgid, 0) > 0));
    // The same place of the program makes the call before and after, often enough to be made quicker.
    IN_CHILD("one place", int bad = 0; for (int i = 0; i < 200; i++) {
        if (i == 100)
            INSTALL(0, ON(SYS_getpgid, SECCOMP_RET_ERRNO | EDOM));
        bad += (getpgid(0) == -1) != (i >= 100);
    } SHOW(bad));
    IN_CHILD("inherited", INSTALL(0, ON(SYS_getpgid, SECCOMP_RET_ERRNO | EDOM)); pthread_t thread; void *result;
             NEED(pthread_create(&thread, NULL, tries_getpgid, NULL) == 0); pthread_join(thread, &result);
             printf("in a thread: %s\n", t_errno((int)(intptr_t)result)); IN_CHILD("its child", SHOW(getpgid(0))); fflush(stdout);
             execl("/proc/self/exe", argv[0], "again", NULL));
    IN_CHILD("sizes", sizes());
    IN_CHILD("synchronised", synchronise());
    IN_CHILD("strict", SHOW(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)); write(1, "written\n", 8); syscall(SYS_exit, 3));
    IN_CHILD("strict, another call", prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT); syscall(SYS_getpgid, 0));
    IN_CHILD("a filter in strict mode", fflush(stdout); SHOW(INSTALL(0, RETURN(SECCOMP_RET_ALLOW)));
             SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL)));
    DONE();
}
