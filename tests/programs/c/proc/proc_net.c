// /proc/net: the lines of this program's own sockets, which are found by their inode numbers, as Linux writes them: states, queues,
// timers and users; and the files that monitoring programs read.
#include "t.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static unsigned long inode_of(int fd) {
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    return st.st_ino;
}

// Shows the line of a socket in a file of /proc/net: its words without addresses, numbers of lines, and what differs between runs.
static void show_line(const char *file, const char *what, int fd) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/net/%s", file);
    FILE *f = fopen(path, "r");
    CHECK(f != NULL);
    bool found = false;
    while (fgets(line, sizeof line, f)) {
        unsigned state, tx, rx, timer, when, retransmits, uid, timeout;
        unsigned long inode;
        char local[64], remote[64];
        int n = sscanf(line, " %*d: %63s %63s %x %x:%x %x:%x %x %u %u %lu", local, remote, &state, &tx, &rx, &timer, &when,
                       &retransmits, &uid, &timeout, &inode);
        if (n != 11 || inode != inode_of(fd))
            continue;
        found = true;
        *strrchr(local, ':') = *strrchr(remote, ':') = 0;
        printf("%s %s: local %s remote %s state %02X unread %u unsent %u timer %u retransmits %u own %d timeout %u\n", file, what, local,
               remote, state, strncmp(file, "udp", 3) ? rx : rx > 0, tx > 0, timer, retransmits, uid == geteuid(), timeout);
    }
    if (!found)
        printf("%s %s: none\n", file, what);
    fclose(f);
}

// Shows whether there is a connection in a state between two ports, which no descriptor has.
static void show_state(const char *what, unsigned short local, unsigned short remote) {
    char line[512];
    FILE *f = fopen("/proc/net/tcp", "r");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f)) {
        unsigned a, b, state, timer;
        if (sscanf(line, " %*d: %*[^:]:%x %*[^:]:%x %x %*s %x:", &a, &b, &state, &timer) == 4 && a == local && b == remote)
            printf("%s: state %02X timer %u\n", what, state, timer);
    }
    fclose(f);
}

static void show_unix(const char *what, int fd) {
    char line[512];
    FILE *f = fopen("/proc/net/unix", "r");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f)) {
        unsigned flags, type, state;
        unsigned long inode;
        int at = 0;
        if (sscanf(line, "%*[^:]: %*x %*x %x %x %x %lu%n", &flags, &type, &state, &inode, &at) == 4 && inode == inode_of(fd))
            printf("unix %s: flags %x type %u state %u%s", what, flags, type, state, line + at);
    }
    fclose(f);
}

static unsigned short port_of(int fd, bool peer) {
    struct sockaddr_in in = {0};
    socklen_t len = sizeof in;
    CHECK((peer ? getpeername : getsockname)(fd, (struct sockaddr *)&in, &len) == 0);
    return ntohs(in.sin_port);
}

static int connected(int listener) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port_of(listener, false))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

// The first line, without the spaces at its end.
static void show_header(const char *path) {
    char line[2048];
    FILE *f = fopen(path, "r");
    CHECK(f != NULL && fgets(line, sizeof line, f));
    fclose(f);
    for (size_t len = strlen(line); len > 0 && (line[len - 1] == '\n' || line[len - 1] == ' '); len--)
        line[len - 1] = 0;
    printf("%s: %s\n", path, line);
}

int main(void) {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET};
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(listener, (struct sockaddr *)&any, sizeof any) == 0);
    show_line("tcp", "bound", listener);
    CHECK(listen(listener, 5) == 0);
    show_line("tcp", "listening", listener);
    int waiting = connected(listener);
    show_line("tcp", "with one to accept", listener);
    int server = accept(listener, NULL, NULL);
    show_line("tcp", "accepted", server);
    CHECK(send(waiting, "12345", 5, 0) == 5);
    char byte;
    CHECK(recv(server, &byte, 1, MSG_PEEK) == 1);
    show_line("tcp", "with bytes unread", server);
    unsigned short port = port_of(waiting, false), own = port_of(server, false);
    CHECK(recv(server, &(char[8]){0}, 8, 0) == 5);
    CHECK(shutdown(waiting, SHUT_WR) == 0);
    CHECK(recv(server, &byte, 1, 0) == 0);
    show_line("tcp", "that the peer has closed", server);
    close(server);
    CHECK(recv(waiting, &byte, 1, 0) == 0);
    close(waiting);
    show_state("ended", port, own);

    int v6 = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6};
    CHECK(bind(v6, (struct sockaddr *)&any6, sizeof any6) == 0 && listen(v6, 1) == 0);
    show_line("tcp6", "listening", v6);
    show_line("tcp", "of IPv6", v6);

    int udp = socket(AF_INET, SOCK_DGRAM, 0), sender = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(bind(udp, (struct sockaddr *)&any, sizeof any) == 0);
    show_line("udp", "bound", udp);
    struct sockaddr_in to = any;
    to.sin_port = htons(port_of(udp, false));
    CHECK(connect(sender, (struct sockaddr *)&to, sizeof to) == 0);
    show_line("udp", "connected", sender);
    CHECK(send(sender, "abc", 3, 0) == 3);
    CHECK(recv(udp, &byte, 1, MSG_PEEK) == 1);
    show_line("udp", "with a datagram", udp);
    int unbound = socket(AF_INET, SOCK_DGRAM, 0);
    show_line("udp", "unbound", unbound);

    int pair[2], bound = socket(AF_UNIX, SOCK_STREAM, 0), datagrams = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    show_unix("pair", pair[0]);
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0proc-net-test"};
    CHECK(bind(bound, (struct sockaddr *)&name, offsetof(struct sockaddr_un, sun_path) + 14) == 0);
    show_unix("bound", bound);
    CHECK(listen(bound, 1) == 0);
    show_unix("listening", bound);
    show_unix("unbound", datagrams);

    static const char *const headers[] = {"tcp", "tcp6", "udp", "udp6", "unix", "raw", "dev", "arp", "route", "packet", NULL};
    for (int i = 0; headers[i]; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/net/%s", headers[i]);
        show_header(path);
    }
    char text[64] = "";
    static const char *const files[] = {"address", "mtu", "operstate", "type", "flags", "ifindex", "carrier", NULL};
    for (int i = 0; files[i]; i++) {
        snprintf(text, sizeof text, "/sys/class/net/lo/%s", files[i]);
        show_header(text);
    }
    FILE *f = fopen("/sys/class/net/lo/statistics/rx_packets", "r");
    unsigned long packets = 0;
    CHECK(f != NULL && fscanf(f, "%lu", &packets) == 1 && packets > 0);
    return t_failures != 0;
}
