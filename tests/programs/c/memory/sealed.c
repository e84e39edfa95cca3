// Seals of memory files hold for mappings: none that can be written to is made any more, nor is one made writable; and F_SEAL_WRITE
// is refused while one could be, in whatever process.
// machines: all
#include "t.h"
#include <sys/wait.h>

enum { PAGES = 4, SIZE = PAGES * 4096 };
// The test takes the word FAILED for a fault.
#define NO_MAP ((char *)MAP_FAILED)

static int sealable(void) {
    int file = memfd_create("sealed", MFD_ALLOW_SEALING);
    NEED(file >= 0 && ftruncate(file, SIZE) == 0);
    return file;
}

static char *map(int file, int rights, int kind) { return mmap(NULL, SIZE, rights, kind, file, 0); }

int main(void) {
    // One that is mapped already may be written to after F_SEAL_FUTURE_WRITE, through that mapping.
    int file = sealable();
    char *old = map(file, PROT_READ | PROT_WRITE, MAP_SHARED);
    NEED(old != NO_MAP);
    old[0] = 1;
    SHOW(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
    SHOW(fcntl(file, F_GET_SEALS));
    SHOW(fcntl(file, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
    SHOW(fcntl(file, F_GET_SEALS));
    old[1] = 2;
    SHOW(map(file, PROT_READ | PROT_WRITE, MAP_SHARED) == NO_MAP ? -1 : 0);
    char *view = map(file, PROT_READ, MAP_SHARED);
    SHOW(view == NO_MAP);
    SHOW(view[1]);
    SHOW(mprotect(view, SIZE, PROT_READ | PROT_WRITE));
    SHOW(write(file, "x", 1));

    // A part of the mapping is enough to refuse F_SEAL_WRITE, also one that is not writable now.
    SHOW(munmap(old, SIZE - 4096));
    SHOW(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
    SHOW(mprotect(old + SIZE - 4096, 4096, PROT_READ));
    SHOW(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
    SHOW(munmap(old + SIZE - 4096, 4096));
    SHOW(munmap(view, SIZE));
    SHOW(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
    SHOW(fcntl(file, F_GET_SEALS));
    char *copy = map(file, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    SHOW(copy == NO_MAP);
    copy[0] = 9;
    char byte;
    SHOW(pread(file, &byte, 1, 0));
    SHOW(byte);
    close(file);

    // The mapping of another process counts.
    file = sealable();
    char *shared = map(file, PROT_READ | PROT_WRITE, MAP_SHARED);
    NEED(shared != NO_MAP);
    int ready[2];
    NEED(pipe(ready) == 0);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        NEED(write(ready[1], "r", 1) == 1);
        for (;;)
            pause();
    }
    NEED(read(ready[0], &byte, 1) == 1);
    SHOW(munmap(shared, SIZE));
    SHOW(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
    SHOW(pwrite(file, "x", 1, 0));
    NEED(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    SHOW(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL));
    SHOW(pwrite(file, "x", 1, 0));
    SHOW(map(file, PROT_WRITE, MAP_SHARED) == NO_MAP ? -1 : 0);
    SHOW(fcntl(file, F_ADD_SEALS, F_SEAL_GROW));
    DONE();
}
