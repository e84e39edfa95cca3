// F_SEAL_EXEC (Linux 6.3), and that only files of memfd_create(2) that ask for it take seals.
// linux: no
// stdout-has: fchmod(file, 0777) = -1 EPERM
// stdout-has: fchmod(file, 0600) = 0
// stdout-has: fcntl(program, F_GET_SEALS) = 62
// stdout-has: fcntl(plain, F_ADD_SEALS, F_SEAL_WRITE) = -1 EPERM
// stdout-has: fcntl(fixed, F_ADD_SEALS, F_SEAL_WRITE) = -1 EPERM
#include "t.h"

#define NOEXEC 8
#define SEAL_EXEC 0x20

int main(void) {
    enter_scratch();
    int file = memfd_create("data", NOEXEC);
    SHOW(fcntl(file, F_GET_SEALS));
    SHOW(fchmod(file, 0777));
    SHOW(fchmod(file, 0600));
    // A program keeps its bytes as well as its bits.
    int program = memfd_create("program", MFD_ALLOW_SEALING);
    SHOW(fcntl(program, F_ADD_SEALS, SEAL_EXEC));
    SHOW(fcntl(program, F_GET_SEALS));
    SHOW(write(program, "x", 1));
    SHOW(fchmod(program, 0600));
    int plain = open("a", O_RDWR | O_CREAT, 0644);
    SHOW(fcntl(plain, F_GET_SEALS));
    SHOW(fcntl(plain, F_ADD_SEALS, F_SEAL_WRITE));
    int fixed = memfd_create("fixed", 0);
    SHOW(fcntl(fixed, F_GET_SEALS));
    SHOW(fcntl(fixed, F_ADD_SEALS, F_SEAL_WRITE));
    DONE();
}
