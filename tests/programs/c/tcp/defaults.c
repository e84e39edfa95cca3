// What the options of TCP sockets are before they are set, which values they take, and what they make of them (tcp(7), socket(7)).
#include "net.h"

static const struct {
    const char *name;
    int level, option;
} options[] = {
    {"TCP_MAXSEG", IPPROTO_TCP, TCP_MAXSEG},
    {"TCP_SYNCNT", IPPROTO_TCP, TCP_SYNCNT},
    {"TCP_LINGER2", IPPROTO_TCP, TCP_LINGER2},
    {"TCP_DEFER_ACCEPT", IPPROTO_TCP, TCP_DEFER_ACCEPT},
    {"TCP_WINDOW_CLAMP", IPPROTO_TCP, TCP_WINDOW_CLAMP},
    {"TCP_QUICKACK", IPPROTO_TCP, TCP_QUICKACK},
    {"TCP_FASTOPEN", IPPROTO_TCP, TCP_FASTOPEN},
    {"SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE},
    {"SO_INCOMING_CPU", SOL_SOCKET, SO_INCOMING_CPU},
    {"SO_SNDLOWAT", SOL_SOCKET, SO_SNDLOWAT},
    {"SO_PRIORITY", SOL_SOCKET, SO_PRIORITY},
};
static const int values[] = {0, 1, 4, 5, 64, 88, 500, 32767, 32768, 100000, -1};

static int get(int fd, int level, int option) {
    int value = -7;
    socklen_t len = sizeof value;
    NEED(getsockopt(fd, level, option, &value, &len) == 0);
    return value;
}

static void try_value(const char *name, int level, int option, int value) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    NEED(fd >= 0);
    int result = setsockopt(fd, level, option, &value, sizeof value);
    const char *answer = result == 0 ? "set" : t_errno(errno);
    printf("%s to %d: %s, now %d\n", name, value, answer, get(fd, level, option));
    close(fd);
}

int main(void) {
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        NEED(fd >= 0);
        printf("%s is %d\n", options[i].name, get(fd, options[i].level, options[i].option));
        close(fd);
        // Higher priorities need a right.
        for (size_t j = 0; j < sizeof values / sizeof *values; j++)
            if (options[i].option != SO_PRIORITY || (values[j] >= 0 && values[j] <= 6))
                try_value(options[i].name, options[i].level, options[i].option, values[j]);
    }
    int fd[2], one = 1, none = 0;
    tcp_pair(fd);
    SHOW(setsockopt(fd[0], IPPROTO_TCP, TCP_FASTOPEN, &one, sizeof one));
    SHOW(setsockopt(fd[0], IPPROTO_TCP, TCP_WINDOW_CLAMP, &none, sizeof none));
    SHOW(get(fd[0], SOL_SOCKET, SO_INCOMING_CPU) >= 0);

    // An address is too short before it is of another family.
    struct sockaddr_in a = loopback(9);
    for (int kind = SOCK_STREAM; kind <= SOCK_DGRAM; kind++) {
        int s = socket(AF_INET, kind, 0), s6 = socket(AF_INET6, kind, 0);
        NEED(s >= 0 && s6 >= 0);
        a.sin_family = AF_INET + 97;
        SHOW(connect(s, (struct sockaddr *)&a, 3));
        SHOW(bind(s, (struct sockaddr *)&a, 3));
        SHOW(connect(s, (struct sockaddr *)&a, sizeof a));
        SHOW(connect(s6, (struct sockaddr *)&a, sizeof a));
        a.sin_family = AF_INET;
        SHOW(connect(s, (struct sockaddr *)&a, 15));
        SHOW(connect(s, (void *)8, 16));
        a.sin_family = AF_UNSPEC;
        SHOW(connect(s, (struct sockaddr *)&a, 2));
        close(s), close(s6);
    }
    SHOW(connect(0, (void *)8, 16));

    int raw = socket(AF_UNIX, SOCK_RAW, 0), ends[2];
    NEED(raw >= 0);
    SHOW(get(raw, SOL_SOCKET, SO_TYPE) == SOCK_DGRAM);
    SHOW(socketpair(AF_UNIX, SOCK_RAW, 0, ends));
    SHOW(write(ends[0], "a", 1) + write(ends[0], "b", 1));
    char bytes[2];
    SHOW(read(ends[1], bytes, 2));
    DONE();
}
