// IPC namespaces: System V objects and POSIX queues of another one, what goes with it, SEM_UNDO, and setns of several kinds at once.
#include "t.h"
#include <mqueue.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>

enum { KEY = 0x636f7261 };

static ino_t space_of(pid_t pid) {
    char path[64];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d/ns/ipc", pid);
    NEED(stat(path, &st) == 0);
    return st.st_ino;
}
static int lines_in(const char *path) {
    char line[512];
    int count = -1;
    FILE *file = fopen(path, "r");
    NEED(file);
    while (fgets(line, sizeof line, file))
        count++;
    fclose(file);
    return count;
}
static int done(pid_t pid) {
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    return status;
}

int main(void) {
    char name[64];
    snprintf(name, sizeof name, "/coracle-test-%d", getpid());
    // Ours, in a namespace where nothing else is.
    SHOW(unshare(CLONE_NEWIPC));
    int set = semget(KEY, 1, IPC_CREAT | 0600), segment = shmget(KEY, 4096, IPC_CREAT | 0600), queue = msgget(KEY, IPC_CREAT | 0600);
    NEED(set >= 0 && segment >= 0 && queue >= 0);
    SHOW(set);
    SHOW(segment);
    SHOW(queue);
    char *memory = shmat(segment, NULL, 0);
    strcpy(memory, "ours");
    struct mq_attr attributes = {.mq_maxmsg = 2, .mq_msgsize = 16};
    mqd_t mq = mq_open(name, O_CREAT | O_RDWR | O_EXCL, 0600, &attributes);
    NEED(mq >= 0);
    int ready[2], go[2];
    char byte;
    NEED(pipe(ready) == 0 && pipe(go) == 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct sembuf up = {.sem_num = 0, .sem_op = 5, .sem_flg = SEM_UNDO};
        SHOW(semop(set, &up, 1));
        SHOW(semctl(set, 0, GETVAL));
        ino_t before = space_of(getpid());
        SHOW(unshare(CLONE_NEWIPC));
        SHOW(space_of(getpid()) != before);
        SHOW(semget(KEY, 1, 0));
        SHOW(shmget(KEY, 1, 0));
        SHOW(msgget(KEY, 0));
        SHOW(semctl(set, 0, GETVAL));
        SHOW(mq_open(name, O_RDWR));
        // What is mapped or open stays.
        printf("%s\n", memory);
        SHOW(mq_send(mq, "word", 4, 1));
        SHOW(shmdt(memory));
        SHOW(semget(KEY, 3, IPC_CREAT | IPC_EXCL | 0600) == set);
        SHOW(lines_in("/proc/sysvipc/sem"));
        SHOW(lines_in("/proc/sysvipc/shm"));
        SHOW(shmget(KEY, 8192, IPC_CREAT | IPC_EXCL | 0600) >= 0);
        memory = shmat(shmget(KEY, 0, 0), NULL, 0);
        strcpy(memory, "theirs");
        SHOW(mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attributes) >= 0);
        SHOW(mq_unlink(name));
        fflush(stdout);
        NEED(write(ready[1], "", 1) == 1 && read(go[0], &byte, 1) == 1);
        // The last that had it.
        _exit(0);
    }
    NEED(read(ready[0], &byte, 1) == 1);
    SHOW(semctl(set, 0, GETVAL));
    struct shmid_ds state;
    NEED(shmctl(segment, IPC_STAT, &state) == 0);
    printf("attached %d\n", (int)state.shm_nattch);
    char word[16];
    SHOW(mq_receive(mq, word, sizeof word, NULL));
    SHOW(space_of(pid) != space_of(getpid()));
    // Into it, all or nothing.
    fflush(stdout);
    pid_t other = fork();
    if (other == 0) {
        int process = syscall(SYS_pidfd_open, pid, 0);
        ino_t own = space_of(getpid());
        // That of its users is ours already.
        SHOW(setns(process, CLONE_NEWIPC | CLONE_NEWUSER));
        SHOW(space_of(getpid()) == own);
        SHOW(setns(process, CLONE_NEWIPC | CLONE_NEWUTS));
        SHOW(space_of(getpid()) == space_of(pid));
        memory = shmat(shmget(KEY, 0, 0), NULL, 0);
        printf("%s\n", memory);
        SHOW(lines_in("/proc/sysvipc/sem"));
        fflush(stdout);
        NEED(write(go[1], "", 1) == 1);
        _exit(t_failures);
    }
    SHOW(done(other));
    SHOW(done(pid));
    SHOW(semctl(set, 0, IPC_RMID));
    SHOW(shmctl(segment, IPC_RMID, NULL));
    SHOW(msgctl(queue, IPC_RMID, NULL));
    SHOW(mq_unlink(name));
    // A file system of queues shows those of its maker's namespace.
    enter_scratch();
    NEED(mkdir("q", 0755) == 0 && unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    NEED(mount("none", "q", "mqueue", 0, NULL) == 0);
    NEED(mq_open("/seen", O_CREAT | O_RDWR, 0600, &attributes) >= 0);
    SHOW(access("q/seen", F_OK));
    NEED(unshare(CLONE_NEWIPC) == 0);
    SHOW(access("q/seen", F_OK));
    SHOW(mq_open("/seen", O_RDWR));
    SHOW(mq_open("/unseen", O_CREAT | O_RDWR, 0600, &attributes) >= 0);
    SHOW(access("q/unseen", F_OK));
    NEED(setuid(1000) == 0);
    SHOW(unshare(CLONE_NEWIPC));
    SHOW(unshare(CLONE_NEWUSER | CLONE_NEWIPC));
    SHOW(semget(KEY, 1, 0));
    DONE();
}
