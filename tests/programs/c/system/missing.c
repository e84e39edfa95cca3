// A system call that does not exist gives ENOSYS, each time, and the program goes on.
#include "t.h"

int main(void) {
    SHOW(syscall(5000));
    SHOW(syscall(5000));
    SHOW(syscall(1 << 20));
    SHOW(syscall(-5L));
    puts("still here");
    DONE();
}
