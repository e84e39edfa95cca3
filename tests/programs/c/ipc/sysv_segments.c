// Segments of shared memory (shmget(2), shmat(2), shmdt(2), shmctl(2)): processes share their bytes, mappings are counted, and a
// removed segment lives until the last mapping is gone.
// machines: all
#include "t.h"
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/wait.h>

#ifndef SHM_EXEC
#define SHM_EXEC 0100000
#endif

enum { PAGE = 4096, SIZE = 3 * PAGE + 100 };

static int status(int child) {
    int status;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// The kernel gives a mapping of an ended process back soon, not at once.
static void attached(int id, int wanted) {
    struct shmid_ds ds;
    do
        CHECK(shmctl(id, IPC_STAT, &ds) == 0);
    while ((int)ds.shm_nattch != wanted && usleep(1000) == 0);
    printf("attached %d\n", wanted);
}

// Whether a line of /proc/self/maps or of /proc/sysvipc/shm holds the text.
static int listed(const char *path, const char *text) {
    char line[512];
    int found = 0;
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        found += strstr(line, text) != NULL;
    fclose(file);
    return found;
}

int main(void) {
    key_t key = 0x51ad0000 + getpid();
    struct shmid_ds ds;
    SHOW(shmget(key, SIZE, 0));
    SHOW(shmget(key, 0, IPC_CREAT | 0600));
    int id = shmget(key, SIZE, IPC_CREAT | IPC_EXCL | 0600);
    CHECK(id >= 0);
    SHOW(shmget(key, 0, 0) == id);
    SHOW(shmget(key, SIZE, 0600) == id);
    SHOW(shmget(key, SIZE + 1, 0));
    SHOW(shmget(key, SIZE, IPC_CREAT | IPC_EXCL));

    char *a = shmat(id, NULL, 0), *b = shmat(id, NULL, SHM_RDONLY);
    CHECK(a != (void *)-1 && b != (void *)-1 && a != b);
    SHOW(a[0] == 0 && a[SIZE - 1] == 0);
    strcpy(a + 2 * PAGE - 3, "across");
    SHOW(strcmp(b + 2 * PAGE - 3, "across"));
    SHOW(mprotect(b, PAGE, PROT_READ | PROT_WRITE));
    attached(id, 2);
    shmctl(id, IPC_STAT, &ds);
    SHOW(ds.shm_segsz);
    SHOW(ds.shm_cpid == getpid() && ds.shm_lpid == getpid());
    SHOW(ds.shm_atime && !ds.shm_dtime && ds.shm_ctime);
    SHOW(ds.shm_perm.mode & 0777);
    SHOW(ds.shm_perm.__key == key);
    char name[32];
    snprintf(name, sizeof name, "/SYSV%08x (deleted)", key);
    SHOW(listed("/proc/self/maps", name));
    snprintf(name, sizeof name, "%10d %10d ", key, id);
    SHOW(listed("/proc/sysvipc/shm", name));

    int child = fork();
    if (!child) {
        a[0] = 'c';
        _exit(shmdt(a) == 0 && shmdt(a) == -1 && errno == EINVAL && b[0] == 'c');
    }
    SHOW(status(child));
    SHOW(a[0] == 'c');
    attached(id, 2);
    child = fork();
    if (!child)
        pause();
    attached(id, 4);
    kill(child, SIGKILL);
    SHOW(status(child));
    attached(id, 2);

    // Addresses.
    SHOW(shmat(id, a + 1, 0));
    SHOW(shmat(id, a, 0));
    SHOW(shmat(id, NULL, SHM_REMAP));
    SHOW(shmat(-1, NULL, 0));
    char *space = mmap(NULL, 8 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SHOW(shmat(id, space, SHM_REMAP) == space);
    SHOW(space[0] == 'c');
    munmap(space + 4 * PAGE, 4 * PAGE);
    SHOW((char *)shmat(id, space + 4 * PAGE + 5, SHM_RND) == space + 4 * PAGE);
    attached(id, 4);
    // A hole in the middle of one: detaching takes what is left.
    SHOW(munmap(space + PAGE, PAGE));
    attached(id, 5);
    SHOW(shmdt(space + PAGE));
    SHOW(shmdt(space));
    attached(id, 3);
    SHOW(shmdt(space + 4 * PAGE));
    SHOW(shmdt(b));
    shmctl(id, IPC_STAT, &ds);
    SHOW(ds.shm_dtime != 0);
    unsigned char *code = shmat(id, NULL, SHM_EXEC);
    memcpy(code + 100, RETURN, sizeof RETURN - 1);
    __builtin___clear_cache((char *)code + 100, (char *)code + 104);
    ((void (*)(void))(code + 100))();
    SHOW(shmdt(code));

    ds.shm_perm.mode = 0440;
    SHOW(shmctl(id, IPC_SET, &ds));
    SHOW(shmctl(id, SHM_LOCK, NULL));
    shmctl(id, IPC_STAT, &ds);
    SHOW(ds.shm_perm.mode == (SHM_LOCKED | 0440));
    SHOW(shmctl(id, SHM_UNLOCK, NULL));
    child = fork();
    if (!child) {
        CHECK(setgid(4321) == 0 && setuid(4321) == 0);
        SHOW(shmat(id, NULL, SHM_RDONLY));
        SHOW(shmctl(id, IPC_STAT, &ds));
        SHOW(shmctl(id, IPC_RMID, NULL));
        exit(0);
    }
    status(child);

    // Removed: the key is free, the bytes are there until the last mapping goes.
    SHOW(shmctl(id, IPC_RMID, NULL));
    SHOW(shmget(key, SIZE, 0));
    SHOW(shmctl(id, IPC_STAT, &ds));
    SHOW((ds.shm_perm.mode & SHM_DEST) != 0);
    SHOW(ds.shm_perm.__key);
    b = shmat(id, NULL, 0);
    SHOW(b[0] == 'c');
    SHOW(shmdt(b));
    SHOW(shmdt(a));
    SHOW(shmctl(id, IPC_STAT, &ds));
    id = shmget(IPC_PRIVATE, SIZE, 0600);
    SHOW(shmctl(id, IPC_RMID, NULL));
    SHOW(shmat(id, NULL, 0));

    // exec and exit detach.
    id = shmget(IPC_PRIVATE, SIZE, 0600);
    child = fork();
    if (!child) {
        shmat(id, NULL, 0);
        _exit(7);
    }
    SHOW(status(child));
    attached(id, 0);
    SHOW(shmctl(id, IPC_RMID, NULL));
    DONE();
}
