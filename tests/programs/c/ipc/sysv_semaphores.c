// Sets of semaphores (semget(2), semop(2), semctl(2)): operations are done all or none, sleep until they can be, and are undone
// when their process ends.
// machines: all
#include "t.h"
#include <sched.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/wait.h>

#define OP(number, change, flags) ((struct sembuf){number, change, flags})
#define DO(set, ...) semop(set, (struct sembuf[]){__VA_ARGS__}, sizeof((struct sembuf[]){__VA_ARGS__}) / sizeof(struct sembuf))

static int pid_is(int child) {
    int status;
    return waitpid(child, &status, 0) == child ? status : -1;
}

static void wait_for(int set, int number, int command, int wanted) {
    while (semctl(set, number, command) != wanted)
        usleep(1000);
}

static void nothing(int signal) { (void)signal; }

static void keys(void) {
    key_t key = 0x51ab0000 + getpid();
    SHOW(semget(key, 3, 0));
    int set = semget(key, 3, IPC_CREAT | IPC_EXCL | 0600);
    CHECK(set >= 0);
    SHOW(semget(key, 3, 0600) == set);
    SHOW(semget(key, 0, 0) == set);
    SHOW(semget(key, 2, IPC_CREAT | 0600) == set);
    SHOW(semget(key, 4, 0));
    SHOW(semget(key, 3, IPC_CREAT | IPC_EXCL | 0600));
    SHOW(semget(IPC_PRIVATE, 0, 0600));
    SHOW(semget(IPC_PRIVATE, -1, 0600));
    SHOW(semget(IPC_PRIVATE, 32001, 0600));
    struct semid_ds ds;
    SHOW(semctl(set, 0, IPC_STAT, &ds));
    SHOW(ds.sem_nsems);
    SHOW(ds.sem_perm.mode & 0777);
    SHOW(ds.sem_perm.__key == key);
    SHOW(ds.sem_perm.cuid == geteuid() && ds.sem_perm.gid == getegid());
    SHOW(ds.sem_otime == 0 && ds.sem_ctime != 0);
    SHOW(DO(set, OP(0, 1, 0)));
    semctl(set, 0, IPC_STAT, &ds);
    SHOW(ds.sem_otime != 0);
    ds.sem_perm.mode = 0640;
    SHOW(semctl(set, 0, IPC_SET, &ds));
    semctl(set, 0, IPC_STAT, &ds);
    SHOW(ds.sem_perm.mode & 0777);
    SHOW(semctl(set, 0, IPC_RMID));
    SHOW(semctl(set, 0, IPC_RMID));
    SHOW(semctl(set, 0, 99));
    SHOW(semctl(-1, 0, IPC_STAT, &ds));
    SHOW(semget(key, 3, 0));
}

static void operations(int set) {
    SHOW(DO(set, OP(0, 2, 0), OP(1, 3, 0)));
    SHOW(semctl(set, 0, GETVAL));
    SHOW(semctl(set, 1, GETVAL));
    SHOW(semctl(set, 1, GETPID) == getpid());
    // The second would wait: the first is not done either.
    SHOW(DO(set, OP(0, -1, 0), OP(1, -4, IPC_NOWAIT)));
    SHOW(semctl(set, 0, GETVAL));
    SHOW(DO(set, OP(0, 0, IPC_NOWAIT)));
    SHOW(DO(set, OP(2, 0, IPC_NOWAIT)));
    SHOW(DO(set, OP(0, -2, 0), OP(0, 0, 0), OP(0, 2, 0)));
    SHOW(DO(set, OP(3, 1, 0)));
    SHOW(DO(set, OP(0, 32767, 0)));
    SHOW(semop(set, NULL, 0));
    SHOW(semop(set, (struct sembuf *)8, 1));
    struct sembuf many[501] = {0};
    SHOW(semop(set, many, 501));
    SHOW(semctl(set, 0, SETVAL, 32768));
    SHOW(semctl(set, 0, SETVAL, -1));
    SHOW(semctl(set, 3, SETVAL, 1));
    SHOW(semctl(set, 2, SETVAL, 7));
    unsigned short values[3] = {9, 9, 9};
    SHOW(semctl(set, 0, GETALL, values));
    printf("%d %d %d\n", values[0], values[1], values[2]);
    values[1] = 40000;
    SHOW(semctl(set, 0, SETALL, values));
    values[0] = values[1] = values[2] = 0;
    SHOW(semctl(set, 0, SETALL, values));
    SHOW(semctl(set, 2, GETVAL));
}

static void sleeping(int set) {
    int child = fork();
    if (!child)
        _exit(DO(set, OP(0, -3, 0)));
    wait_for(set, 0, GETNCNT, 1);
    SHOW(DO(set, OP(0, 2, 0)));
    SHOW(semctl(set, 0, GETNCNT));
    SHOW(DO(set, OP(0, 1, 0)));
    SHOW(pid_is(child));
    SHOW(semctl(set, 0, GETVAL));

    semctl(set, 1, SETVAL, 1);
    child = fork();
    if (!child)
        _exit(DO(set, OP(1, 0, 0)));
    wait_for(set, 1, GETZCNT, 1);
    SHOW(semctl(set, 1, GETNCNT));
    SHOW(DO(set, OP(1, -1, 0)));
    SHOW(pid_is(child));

    struct timespec time = {.tv_nsec = 20000000};
    SHOW(semtimedop(set, &OP(0, -1, 0), 1, &time));
    SHOW(semctl(set, 0, GETNCNT));
    time.tv_nsec = -1;
    SHOW(semtimedop(set, &OP(0, -1, 0), 1, &time));

    // A signal ends the wait, whatever SA_RESTART says.
    child = fork();
    if (!child) {
        sigaction(SIGUSR1, &(struct sigaction){.sa_handler = nothing, .sa_flags = SA_RESTART}, NULL);
        DO(set, OP(2, 1, 0));
        int result = DO(set, OP(0, -1, 0));
        _exit(result == -1 && errno == EINTR);
    }
    wait_for(set, 0, GETNCNT, 1);
    kill(child, SIGUSR1);
    SHOW(pid_is(child) >> 8);
    SHOW(semctl(set, 0, GETNCNT));

    // So does the end of the set.
    int other = semget(IPC_PRIVATE, 1, 0600);
    child = fork();
    if (!child) {
        int result = DO(other, OP(0, -1, 0));
        _exit(result == -1 && errno == EIDRM);
    }
    wait_for(other, 0, GETNCNT, 1);
    SHOW(semctl(other, 0, IPC_RMID));
    SHOW(pid_is(child) >> 8);
}

static void undo(int set) {
    semctl(set, 0, SETVAL, 5), semctl(set, 1, SETVAL, 5);
    int child = fork();
    if (!child) {
        DO(set, OP(0, -3, SEM_UNDO), OP(1, 2, SEM_UNDO));
        _exit(semctl(set, 0, GETVAL) == 2 && semctl(set, 1, GETVAL) == 7);
    }
    SHOW(pid_is(child) >> 8);
    SHOW(semctl(set, 0, GETVAL));
    SHOW(semctl(set, 1, GETVAL));
    SHOW(semctl(set, 1, GETPID) == child);
    // SETVAL cancels it; killed or not makes no difference.
    child = fork();
    if (!child) {
        DO(set, OP(0, -3, SEM_UNDO), OP(1, -1, SEM_UNDO));
        semctl(set, 1, SETVAL, 1);
        raise(SIGKILL);
    }
    SHOW(WTERMSIG(pid_is(child)));
    SHOW(semctl(set, 0, GETVAL));
    SHOW(semctl(set, 1, GETVAL));
}

static void rights(void) {
    int set = semget(IPC_PRIVATE, 1, 0640);
    int child = fork();
    if (!child) {
        CHECK(setgid(4321) == 0 && setuid(4321) == 0);
        SHOW(semctl(set, 0, GETVAL));
        SHOW(DO(set, OP(0, 1, 0)));
        SHOW(semctl(set, 0, IPC_RMID));
        exit(0);
    }
    pid_is(child);
    semctl(set, 0, IPC_RMID);
}

static void contended(int set) {
    enum { CHILDREN = 4, ROUNDS = 300 };
    int *count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    semctl(set, 0, SETVAL, 1);
    for (int i = 0; i < CHILDREN; i++)
        if (!fork()) {
            for (int round = 0; round < ROUNDS; round++) {
                DO(set, OP(0, -1, SEM_UNDO));
                int seen = *(volatile int *)count;
                if (round % 64 == 0)
                    sched_yield();
                *(volatile int *)count = seen + 1;
                DO(set, OP(0, 1, SEM_UNDO));
            }
            _exit(0);
        }
    while (wait(NULL) > 0)
        ;
    SHOW(*count);
    SHOW(semctl(set, 0, GETVAL));
}

int main(void) {
    keys();
    int set = semget(IPC_PRIVATE, 3, 0600);
    operations(set);
    sleeping(set);
    undo(set);
    contended(set);
    SHOW(semctl(set, 0, IPC_RMID));
    rights();
    DONE();
}
