// Queues of messages (msgget(2), msgsnd(2), msgrcv(2), msgctl(2)): which message is received, what fits, and how waits end.
// machines: all
#include "t.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/wait.h>

#ifndef MSG_COPY
#define MSG_COPY 040000
#endif

static struct {
    long kind;
    char text[16384];
} message;

static int put(int queue, long kind, const char *text, int flags) {
    message.kind = kind;
    strcpy(message.text, text);
    return msgsnd(queue, &message, strlen(text) + 1, flags);
}

static void get(int queue, long kind, int size, int flags) {
    memset(&message, 0, sizeof message);
    errno = 0;
    long got = msgrcv(queue, &message, size, kind, flags);
    printf("receive %ld, %d, %#o = %ld %s type %ld \"%s\"\n", kind, size, flags, got, got < 0 ? t_errno(errno) : "", message.kind, message.text);
}

static int status(int child) {
    int status;
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}

static void nothing(int signal) { (void)signal; }

int main(void) {
    key_t key = 0x51ac0000 + getpid();
    SHOW(msgget(key, 0));
    int queue = msgget(key, IPC_CREAT | 0600);
    CHECK(queue >= 0);
    SHOW(msgget(key, 0) == queue);
    SHOW(msgget(key, IPC_CREAT | IPC_EXCL));

    SHOW(put(queue, 0, "", 0));
    SHOW(put(queue, -1, "", 0));
    SHOW(msgsnd(queue, &message, 8193, 0));
    SHOW(msgsnd(-1, &message, 1, 0));
    SHOW(msgsnd(queue, (void *)8, 1, 0));

    const char *texts[] = {"three", "one", "two", "one again", "four"};
    long kinds[] = {3, 1, 2, 1, 4};
    for (int i = 0; i < 5; i++)
        CHECK(put(queue, kinds[i], texts[i], 0) == 0);
    get(queue, 1, 100, MSG_COPY | IPC_NOWAIT);
    get(queue, 9, 100, MSG_COPY | IPC_NOWAIT);
    get(queue, 0, 100, MSG_COPY);
    get(queue, 2, 2, 0);
    get(queue, 2, 2, MSG_NOERROR);
    get(queue, 2, 100, IPC_NOWAIT);
    get(queue, -2, 100, 0);
    get(queue, 3, 100, MSG_EXCEPT);
    get(queue, 0, 100, 0);
    get(queue, -3, 100, IPC_NOWAIT);
    get(queue, LONG_MIN, 100, 0);
    get(queue, 0, 100, IPC_NOWAIT);
    get(queue, 0, -1, IPC_NOWAIT);

    struct msqid_ds ds;
    SHOW(put(queue, 5, "x", 0));
    SHOW(msgsnd(queue, &message, 0, 0));
    SHOW(msgctl(queue, IPC_STAT, &ds));
    SHOW(ds.msg_qnum);
    SHOW(ds.__msg_cbytes);
    SHOW(ds.msg_qbytes);
    SHOW(ds.msg_lspid == getpid() && ds.msg_lrpid == getpid());
    SHOW(ds.msg_stime && ds.msg_rtime && ds.msg_ctime);
    SHOW(ds.msg_perm.mode & 0777);
    SHOW(ds.msg_perm.__key == key);
    get(queue, 0, 100, 0);
    get(queue, 0, 100, 0);

    // It holds 16,384 bytes: two such messages, and no third.
    message.kind = 1;
    SHOW(msgsnd(queue, &message, 8192, 0));
    SHOW(msgsnd(queue, &message, 8192, 0));
    SHOW(msgsnd(queue, &message, 1, IPC_NOWAIT));
    int child = fork();
    if (!child)
        _exit(msgsnd(queue, &message, 8192, 0) == 0);
    while (process_state(child) != 'S')
        usleep(1000);
    SHOW(msgrcv(queue, &message, sizeof message.text, 0, 0));
    SHOW(status(child));
    msgctl(queue, IPC_STAT, &ds);
    SHOW(ds.msg_qnum);
    SHOW(ds.msg_lspid == child);
    ds.msg_qbytes = 1000, ds.msg_perm.mode = 0622;
    SHOW(msgctl(queue, IPC_SET, &ds));
    SHOW(msgrcv(queue, &message, sizeof message.text, 0, 0));
    SHOW(msgrcv(queue, &message, sizeof message.text, 0, 0));
    SHOW(msgsnd(queue, &message, 1001, IPC_NOWAIT));
    SHOW(msgsnd(queue, &message, 1000, IPC_NOWAIT));
    SHOW(msgrcv(queue, &message, sizeof message.text, 0, 0));

    // A receiver sleeps until its type comes; a signal or the end of the queue ends the wait.
    child = fork();
    if (!child) {
        long got = msgrcv(queue, &message, 100, 7, 0);
        _exit(got == 6 && strcmp(message.text, "seven") == 0);
    }
    while (process_state(child) != 'S')
        usleep(1000);
    SHOW(put(queue, 6, "six", 0));
    SHOW(put(queue, 7, "seven", 0));
    SHOW(status(child));
    get(queue, 0, 100, IPC_NOWAIT);
    child = fork();
    if (!child) {
        sigaction(SIGUSR1, &(struct sigaction){.sa_handler = nothing, .sa_flags = SA_RESTART}, NULL);
        put(queue, 8, "ready", 0);
        _exit(msgrcv(queue, &message, 100, 7, 0) == -1 && errno == EINTR);
    }
    get(queue, 8, 100, 0);
    while (process_state(child) != 'S')
        usleep(1000);
    kill(child, SIGUSR1);
    SHOW(status(child));
    child = fork();
    if (!child)
        _exit(msgrcv(queue, &message, 100, 7, 0) == -1 && errno == EIDRM);
    while (process_state(child) != 'S')
        usleep(1000);
    int other = fork();
    if (!other) {
        CHECK(setgid(4321) == 0 && setuid(4321) == 0);
        SHOW(put(queue, 1, "may write", 0));
        SHOW(msgrcv(queue, &message, 100, 0, IPC_NOWAIT));
        SHOW(msgctl(queue, IPC_RMID, NULL));
        exit(0);
    }
    status(other);
    SHOW(msgctl(queue, IPC_RMID, NULL));
    SHOW(status(child));
    SHOW(msgctl(queue, IPC_STAT, &ds));
    SHOW(put(queue, 1, "gone", 0));
    DONE();
}
