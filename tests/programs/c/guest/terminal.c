// A serial console is a terminal: termios and window size are there; raw mode gives single bytes.
// linux: no
// console: serial
// stdin: ab
// stdout-has: isatty 1 1 1
// stdout-has: echo 0 canonical 1 onlcr 0
#include "t.h"
#include <sys/ioctl.h>
#include <termios.h>

int main(void) {
    printf("isatty %d %d %d\n", isatty(0), isatty(1), isatty(2));
    struct termios t;
    CHECK(tcgetattr(0, &t) == 0);
    printf("echo %d canonical %d onlcr %d\n", (t.c_lflag & ECHO) != 0, (t.c_lflag & ICANON) != 0, (t.c_oflag & ONLCR) != 0);
    t.c_lflag &= ~(tcflag_t)ICANON;
    CHECK(tcsetattr(0, TCSANOW, &t) == 0);
    CHECK(tcgetattr(0, &t) == 0 && !(t.c_lflag & ICANON));
    struct winsize w;
    CHECK(ioctl(0, TIOCGWINSZ, &w) == 0);
    DONE();
}
