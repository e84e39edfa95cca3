// What isn't a terminal says so, and ioctls that belong elsewhere are refused.
#include "t.h"
#include <sys/ioctl.h>
#include <termios.h>

int main(void) {
    struct termios t;
    struct winsize w;
    enter_scratch();
    int f = open("f", O_RDWR | O_CREAT, 0600), null = open("/dev/null", O_RDWR), p[2], n = -1;
    NEED(pipe(p) == 0);
    SHOW(tcgetattr(f, &t));
    SHOW(tcgetattr(null, &t));
    SHOW(tcgetattr(p[0], &t));
    SHOW(ioctl(f, TIOCGWINSZ, &w));
    SHOW(ioctl(999, TIOCGWINSZ, &w));
    SHOW(isatty(f));
    write(p[1], "12345", 5);
    SHOW(ioctl(p[0], FIONREAD, &n));
    SHOW(n);
    int on = 1;
    SHOW(ioctl(p[0], FIONBIO, &on));
    SHOW((fcntl(p[0], F_GETFL) & O_NONBLOCK) != 0);
    SHOW(ioctl(p[0], FIOCLEX));
    SHOW(fcntl(p[0], F_GETFD));
    SHOW(ioctl(p[0], FIONCLEX));
    SHOW(fcntl(p[0], F_GETFD));
    write(f, "123", 3);
    lseek(f, 1, SEEK_SET);
    SHOW(ioctl(f, FIONREAD, &n));
    SHOW(n);
    DONE();
}
