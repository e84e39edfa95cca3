// The line discipline of a pseudo-terminal: what is echoed, edited, translated and read in canonical mode and outside of it
// (termios(3)).
#include "pty.h"

static struct pair pair;

// Types a text that ends with `last`, and shows what is echoed and what is then read.
static void line(const char *what, const char *text, char last) {
    printf("-- %s\n", what);
    type(pair.master, text);
    show_until("echo", pair.master, last);
    show_read("read", pair.slave, 100);
}

static void editing(void) {
    line("plain", "hello\r", '\n');
    line("erase", "abcd\x7f\x7fxy\n", '\n');
    line("erase all", "ab\x7f\x7f\x7f\x7fz\n", '\n');
    line("erase a control character", "a\x01\x7f" "b\n", '\n');
    line("kill", "something\x15" "else\n", '\n');
    line("word", "one two-three  \x17" "four\n", '\n');
    line("words", "one two_3 \x17\x17six\n", '\n');
    line("literal", "a\x16\x04\x16\x03z\n", '\n');
    type(pair.master, "abc\x12" "d\n");
    show_until("reprint", pair.master, '\n');
    show_until("reprint", pair.master, '\n');
    show_read("read", pair.slave, 100);
    line("tab", "a\tb\x7f\x7f" "c\n", '\n');
    line("tab at start", "\t\x7f" "x\n", '\n');
    line("two tabs", "ab\t\tc\x7f\x7f" "d\n", '\n');
    line("control characters", "\x01\x02\x1b[A\n", '\n');
    line("bytes above 127", "\xc3\xa9\x7f!\n", '\n');
    struct termios modes;
    NEED(tcgetattr(pair.slave, &modes) == 0);
    modes.c_iflag |= IUTF8;
    NEED(tcsetattr(pair.slave, TCSANOW, &modes) == 0);
    line("a character of two bytes", "a\xc3\xa9\x7f!\n", '\n');
    modes.c_cc[VEOL] = ';';
    modes.c_cc[VEOL2] = ':';
    NEED(tcsetattr(pair.slave, TCSANOW, &modes) == 0);
    line("ends of lines", "first;", ';');
    line("ends of lines", "second:", ':');
    printf("-- end of file\n");
    type(pair.master, "\x04");
    show_read("read", pair.slave, 100);
    type(pair.master, "part\x04");
    show_until("echo", pair.master, 't');
    show_read("read", pair.slave, 100);
    printf("-- in pieces\n");
    type(pair.master, "abcdef\nghi\n");
    show_until("echo", pair.master, 'i');
    show_until("echo", pair.master, '\n');
    SHOW(waiting(pair.slave));
    show_read("read", pair.slave, 2);
    SHOW(waiting(pair.slave));
    show_read("read", pair.slave, 100);
    show_read("read", pair.slave, 100);
    SHOW(waiting(pair.slave));
}

static void local_modes(void) {
    tcflag_t usual = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
    set_modes(pair.slave, ICRNL, OPOST | ONLCR, usual & ~ECHOCTL);
    line("no ECHOCTL", "\x01" "a\x01\x7f\x7f" "b\n", '\n');
    set_modes(pair.slave, ICRNL, OPOST | ONLCR, usual & ~ECHOE);
    line("no ECHOE", "ab\x7f" "c\n", '\n');
    set_modes(pair.slave, ICRNL, OPOST | ONLCR, usual & ~ECHOKE);
    line("no ECHOKE", "ab\x15" "c\n", 'c');
    show_until("echo", pair.master, '\n');
    set_modes(pair.slave, ICRNL, OPOST | ONLCR, (usual & ~ECHO) | ECHONL);
    line("ECHONL", "ab\x7f" "c\n", '\n');
    set_modes(pair.slave, ICRNL, OPOST | ONLCR, usual & ~IEXTEN);
    line("no IEXTEN", "a\x16\x17z\n", '\n');
    set_modes(pair.slave, ICRNL, OPOST | ONLCR, ICANON | ECHO);
    line("no ISIG", "a\x03\x1c\x1az\n", '\n');
    set_modes(pair.slave, 0, OPOST | ONLCR, ICANON | ECHO);
    line("no ICRNL", "a\r\n", '\n');
    set_modes(pair.slave, IGNCR, OPOST | ONLCR, ICANON | ECHO);
    line("IGNCR", "a\rb\n", '\n');
    set_modes(pair.slave, INLCR | ICRNL, OPOST | ONLCR, ICANON | ECHO);
    line("INLCR", "a\nb\r", '\n');
    set_modes(pair.slave, ISTRIP, OPOST, ICANON | ECHO);
    line("ISTRIP", "\xe1\xe2\n", '\n');
    set_modes(pair.slave, IUCLC, OPOST, ICANON | ECHO | IEXTEN);
    line("IUCLC", "ABC\n", '\n');
}

static void output_modes(void) {
    static const struct {
        const char *name;
        tcflag_t modes;
    } all[] = {
        {"none", 0},
        {"no processing", ONLCR},
        {"OPOST", OPOST},
        {"ONLCR", OPOST | ONLCR},
        {"OCRNL", OPOST | OCRNL},
        {"ONOCR", OPOST | ONOCR},
        {"ONLRET", OPOST | ONLRET | ONOCR},
        {"OLCUC", OPOST | OLCUC},
        {"XTABS", OPOST | XTABS | ONLCR},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        set_modes(pair.slave, 0, all[i].modes, 0);
        const char text[] = "\rab\r\tcd\n\tx\b\n\r\rz!";
        NEED(write(pair.slave, text, strlen(text)) == (ssize_t)strlen(text));
        show_until(all[i].name, pair.master, '!');
    }
}

static void raw(void) {
    set_raw(pair.slave);
    printf("-- raw\n");
    char bytes[256], back[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    NEED(write(pair.master, bytes, 256) == 256);
    size_t done = 0;
    while (done < 256) {
        ssize_t more = read(pair.slave, back + done, 256 - done);
        NEED(more > 0);
        done += (size_t)more;
    }
    SHOW(memcmp(bytes, back, 256));
    NEED(write(pair.slave, bytes, 256) == 256);
    for (done = 0; done < 256;) {
        ssize_t more = read(pair.master, back + done, 256 - done);
        NEED(more > 0);
        done += (size_t)more;
    }
    SHOW(memcmp(bytes, back, 256));
    // What was typed stays when the mode changes.
    set_modes(pair.slave, 0, 0, ICANON | ECHO);
    type(pair.master, "half");
    show_until("echo", pair.master, 'f');
    set_raw(pair.slave);
    show_read("half a line", pair.slave, 100);
    type(pair.master, "bytes");
    WAIT_UNTIL(waiting(pair.slave) == 5);
    set_modes(pair.slave, 0, 0, ICANON);
    show_read("bytes become a line", pair.slave, 100);
    set_modes(pair.slave, ICRNL | IXON, OPOST | ONLCR, ISIG | ICANON | ECHO | EXTPROC);
    type(pair.master, "a\x7f\x03\r");
    WAIT_UNTIL(waiting(pair.slave) == 4);
    show_read("EXTPROC", pair.slave, 100);
}

static void much(void) {
    // More than fits passes through, in both directions.
    enum { MUCH = 100000 };
    for (int up = 0; up < 2; up++) {
        set_raw(pair.slave);
        int from = up ? pair.slave : pair.master, to = up ? pair.master : pair.slave;
        pid_t child = fork();
        NEED(child >= 0);
        if (child == 0) {
            static char bytes[MUCH];
            for (int i = 0; i < MUCH; i++)
                bytes[i] = (char)pattern((size_t)i);
            _exit(write(from, bytes, MUCH) == MUCH ? 0 : 1);
        }
        bool same = true;
        for (size_t done = 0; done < MUCH;) {
            char bytes[3000];
            ssize_t more = read(to, bytes, sizeof bytes);
            NEED(more > 0);
            for (ssize_t i = 0; i < more; i++)
                same &= bytes[i] == (char)pattern(done + (size_t)i);
            done += (size_t)more;
        }
        SHOW(same);
        show_end("writer", child);
    }
}

int main(void) {
    pair = new_pair();
    editing();
    local_modes();
    output_modes();
    raw();
    much();
    close_pair(&pair);
    DONE();
}
