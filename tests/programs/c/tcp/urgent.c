// Urgent data: MSG_OOB, SO_OOBINLINE, SIOCATMARK, POLLPRI, exceptfds of select and SIGURG. The stream stops before an urgent byte,
// and goes on without it; with SO_OOBINLINE it stays in its place.
// machines: all
#include "net.h"
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/select.h>

static int listener, client, server;
static struct sockaddr_in address;
static volatile sig_atomic_t signals;

static void count(int signal) { signals += signal == SIGURG; }

static void connect_pair(void) {
    NEED((client = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
    NEED(connect(client, (struct sockaddr *)&address, sizeof address) == 0);
    NEED((server = accept(listener, NULL, NULL)) >= 0);
}

static void close_pair(void) {
    close(client);
    close(server);
}

static int at_mark(void) {
    int answer = -1;
    NEED(ioctl(server, SIOCATMARK, &answer) == 0);
    return answer;
}

static int readable(void) {
    int answer = -1;
    NEED(ioctl(server, FIONREAD, &answer) == 0);
    return answer;
}

static int events(void) {
    struct pollfd polled = {server, POLLIN | POLLPRI | POLLRDNORM, 0};
    NEED(poll(&polled, 1, 0) >= 0);
    return polled.revents;
}

static void wait_for(int event) {
    struct pollfd polled = {server, (short)event, 0};
    NEED(poll(&polled, 1, -1) == 1);
}

// What recv gives, in quotes.
static void show(const char *name, int flags) {
    char bytes[32];
    errno = 0;
    ssize_t n = recv(server, bytes, sizeof bytes, flags | MSG_DONTWAIT);
    if (n < 0)
        printf("%s: %s\n", name, t_errno(errno));
    else
        printf("%s: \"%.*s\", at mark %d\n", name, (int)n, bytes, at_mark());
}

static void state(const char *when) {
    printf("%s: readable %d, at mark %d, POLLIN %d, POLLPRI %d\n", when, readable(), at_mark(), !!(events() & POLLIN),
           !!(events() & POLLPRI));
}

static void apart(void) {
    connect_pair();
    show("no urgent data", MSG_OOB);
    state("nothing");
    SHOW(send(client, "abc", 3, MSG_OOB));
    wait_for(POLLPRI);
    SHOW(send(client, "def", 3, 0));
    // The byte behind the mark has come once there is more than it.
    char bytes[8];
    NEED(recv(server, bytes, 2, MSG_PEEK | MSG_WAITALL) == 2);
    state("arrived");
    show("peeked", MSG_PEEK);
    show("up to the mark", 0);
    wait_for(POLLIN);
    state("at the mark");
    show("urgent, peeked", MSG_OOB | MSG_PEEK);
    show("urgent", MSG_OOB);
    state("taken");
    show("urgent again", MSG_OOB);
    wait_for(POLLIN);
    show("peeked behind it", MSG_PEEK);
    show("behind it", 0);
    state("all read");
    // An urgent byte that is read past is lost.
    SHOW(send(client, "1", 1, 0));
    SHOW(send(client, "2", 1, MSG_OOB));
    wait_for(POLLPRI);
    show("first", 0);
    state("only the urgent byte");
    show("past it", 0);
    state("lost");
    show("urgent", MSG_OOB);
    // Of two, the first becomes a part of the stream.
    SHOW(send(client, "xy", 2, MSG_OOB));
    wait_for(POLLPRI);
    SHOW(send(client, "zw", 2, MSG_OOB));
    while (readable() < 3)
        sleep_ms(1);
    state("two");
    show("up to the second", 0);
    show("urgent", MSG_OOB);
    SHOW(shutdown(client, SHUT_WR));
    wait_for(POLLIN);
    show("end", 0);
    show("urgent at the end", MSG_OOB);
    close_pair();
}

static void inlined(void) {
    connect_pair();
    int on = 1, answer = -1;
    socklen_t len = sizeof answer;
    SHOW(getsockopt(server, SOL_SOCKET, SO_OOBINLINE, &answer, &len));
    SHOW(answer);
    SHOW(setsockopt(server, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on));
    SHOW(getsockopt(server, SOL_SOCKET, SO_OOBINLINE, &answer, &len));
    SHOW(answer);
    SHOW(send(client, "ab!", 3, MSG_OOB));
    wait_for(POLLPRI);
    SHOW(send(client, "cd", 2, 0));
    while (readable() < 5)
        sleep_ms(1);
    state("arrived");
    show("urgent", MSG_OOB);
    show("up to the mark", 0);
    state("at the mark");
    show("from it on", 0);
    state("past it");
    close_pair();
}

static void signalled(void) {
    connect_pair();
    struct sigaction action = {.sa_handler = count};
    sigset_t blocked, old;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGURG);
    NEED(sigaction(SIGURG, &action, NULL) == 0 && sigprocmask(SIG_BLOCK, &blocked, &old) == 0);
    SHOW(fcntl(server, F_SETOWN, getpid()));
    SHOW(send(client, "plain", 5, 0));
    wait_for(POLLIN);
    show("plain", 0);
    SHOW(send(client, "!", 1, MSG_OOB));
    while (!signals)
        sigsuspend(&old);
    NEED(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
    SHOW(signals);
    fd_set except;
    FD_ZERO(&except);
    FD_SET(server, &except);
    SHOW(select(server + 1, NULL, NULL, &except, NULL));
    SHOW(FD_ISSET(server, &except));
    char byte = 0;
    struct iovec piece = {&byte, 1};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    SHOW(recvmsg(server, &message, MSG_OOB));
    printf("%c, MSG_OOB %d\n", byte, (message.msg_flags & MSG_OOB) != 0);
    close_pair();
}

int main(void) {
    socklen_t len = sizeof address;
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    NEED((listener = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
    NEED(bind(listener, (struct sockaddr *)&address, len) == 0 && listen(listener, 8) == 0);
    NEED(getsockname(listener, (struct sockaddr *)&address, &len) == 0);
    apart();
    inlined();
    signalled();
    DONE();
}
