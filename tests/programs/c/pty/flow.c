// Flow control of a pseudo-terminal by characters and tcflow(3), packet mode, and tcflush(3) (termios(3), ioctl_tty(2)).
#include "pty.h"

static struct pair pair;

// Shows a packet: the status, or what follows a 0.
static void show_packet(const char *what) {
    char bytes[256];
    await(pair.master, POLLIN);
    ssize_t count = read(pair.master, bytes, sizeof bytes);
    NEED(count > 0);
    if (bytes[0])
        printf("%s: status %d, %zd byte\n", what, bytes[0], count);
    else
        show_bytes(what, bytes + 1, count - 1);
}

static void by_characters(void) {
    printf("-- by characters\n");
    type(pair.master, "\x13");
    WAIT_UNTIL(!(events(pair.slave) & POLLOUT));
    fcntl(pair.slave, F_SETFL, O_RDWR | O_NONBLOCK);
    SHOW(write(pair.slave, "x", 1));
    fcntl(pair.slave, F_SETFL, O_RDWR);
    // Echo waits as well.
    type(pair.master, "ab");
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0)
        _exit(write(pair.slave, "written!", 8) == 8 ? 0 : 1);
    WAIT_UNTIL_ASLEEP(process_state(child));
    SHOW(waiting(pair.master));
    type(pair.master, "\x11");
    show_end("writer", child);
    char bytes[64];
    ssize_t count = 0;
    while (count < 10) {
        ssize_t more = read(pair.master, bytes + count, sizeof bytes - (size_t)count);
        NEED(more > 0);
        count += more;
    }
    // The order of the two is not said anywhere.
    SHOW(memmem(bytes, (size_t)count, "ab", 2) != NULL && memmem(bytes, (size_t)count, "written!", 8) != NULL);
    type(pair.master, "\n");
    show_until("echo", pair.master, '\n');
    show_read("read", pair.slave, 100);
    // Any character starts output again.
    struct termios modes;
    NEED(tcgetattr(pair.slave, &modes) == 0);
    modes.c_iflag |= IXANY;
    NEED(tcsetattr(pair.slave, TCSANOW, &modes) == 0);
    type(pair.master, "\x13");
    WAIT_UNTIL(!(events(pair.slave) & POLLOUT));
    type(pair.master, "y\n");
    await(pair.slave, POLLOUT);
    show_until("echo", pair.master, '\n');
    show_read("read", pair.slave, 100);
    // Without IXON the characters are as any other.
    modes.c_iflag &= ~(tcflag_t)(IXON | IXANY);
    NEED(tcsetattr(pair.slave, TCSANOW, &modes) == 0);
    type(pair.master, "\x13\x11\n");
    show_until("echo", pair.master, '\n');
    show_read("read", pair.slave, 100);
    modes.c_iflag |= IXON;
    NEED(tcsetattr(pair.slave, TCSANOW, &modes) == 0);
}

static void by_calls(void) {
    printf("-- by calls\n");
    SHOW(tcflow(pair.slave, TCOOFF));
    show_events("stopped", pair.slave);
    SHOW(tcflow(pair.slave, TCOON));
    show_events("started", pair.slave);
    SHOW(tcflow(pair.slave, TCIOFF));
    SHOW(tcflow(pair.slave, TCION));
    show_until("master", pair.master, '\x11');
}

static void packets(void) {
    printf("-- packets\n");
    int on = 1, now = -1;
    SHOW(ioctl(pair.master, TIOCPKT, &on));
    SHOW(ioctl(pair.master, TIOCGPKT, &now));
    SHOW(now);
    NEED(write(pair.slave, "data", 4) == 4);
    show_packet("data");
    SHOW(tcflush(pair.slave, TCIFLUSH));
    show_events("input flushed", pair.master);
    show_packet("input flushed");
    SHOW(tcflush(pair.slave, TCOFLUSH));
    show_packet("output flushed");
    SHOW(tcflush(pair.slave, TCIOFLUSH));
    show_packet("both flushed");
    SHOW(tcflow(pair.slave, TCOOFF));
    show_packet("stopped");
    SHOW(tcflow(pair.slave, TCOON));
    show_packet("started");
    SHOW(tcflow(pair.slave, TCOOFF));
    SHOW(tcflow(pair.slave, TCOON));
    show_packet("stopped and started");
    struct termios modes;
    NEED(tcgetattr(pair.slave, &modes) == 0);
    modes.c_iflag &= ~(tcflag_t)IXON;
    NEED(tcsetattr(pair.slave, TCSANOW, &modes) == 0);
    show_packet("no flow control");
    modes.c_iflag |= IXON;
    NEED(tcsetattr(pair.slave, TCSANOW, &modes) == 0);
    show_packet("flow control");
    modes.c_cc[VSTOP] = 'S';
    NEED(tcsetattr(pair.slave, TCSANOW, &modes) == 0);
    show_packet("another character");
    modes.c_lflag |= EXTPROC;
    NEED(tcsetattr(pair.slave, TCSANOW, &modes) == 0);
    show_packet("EXTPROC");
    modes.c_lflag &= ~(tcflag_t)ECHO;
    NEED(tcsetattr(pair.slave, TCSANOW, &modes) == 0);
    show_packet("a change under EXTPROC");
    NEED(write(pair.slave, "data", 4) == 4);
    char byte = 'x';
    await(pair.master, POLLIN);
    SHOW(read(pair.master, &byte, 1));
    SHOW(byte);
    show_packet("a byte was room for the header alone");
    on = 0;
    SHOW(ioctl(pair.master, TIOCPKT, &on));
    modes.c_lflag &= ~(tcflag_t)EXTPROC;
    modes.c_cc[VSTOP] = 19;
    NEED(tcsetattr(pair.slave, TCSANOW, &modes) == 0);
    show_events("no packets", pair.master);
}

static void flushing(void) {
    printf("-- flushing\n");
    set_raw(pair.slave);
    type(pair.master, "thrown away");
    WAIT_UNTIL(waiting(pair.slave) == 11);
    SHOW(tcflush(pair.slave, TCOFLUSH));
    SHOW(waiting(pair.slave));
    SHOW(tcflush(pair.slave, TCIFLUSH));
    SHOW(waiting(pair.slave));
    type(pair.master, "thrown away");
    WAIT_UNTIL(waiting(pair.slave) == 11);
    struct termios modes;
    NEED(tcgetattr(pair.slave, &modes) == 0);
    SHOW(tcsetattr(pair.slave, TCSADRAIN, &modes));
    SHOW(waiting(pair.slave));
    SHOW(tcsetattr(pair.slave, TCSAFLUSH, &modes));
    SHOW(waiting(pair.slave));
    NEED(write(pair.slave, "output", 6) == 6);
    WAIT_UNTIL(waiting(pair.master) == 6);
    SHOW(tcflush(pair.master, TCIFLUSH));
    SHOW(waiting(pair.master));
}

int main(void) {
    pair = new_pair();
    by_characters();
    by_calls();
    packets();
    flushing();
    close_pair(&pair);
    DONE();
}
