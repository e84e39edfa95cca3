// Threads that connect, accept, send, receive, shut down and close on one loopback port at once.
// machines: all
// flags: -pthread
#include "stress.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static int listener;
static struct sockaddr_in address;

static void stress_step(unsigned thread) {
    (void)thread;
    static __thread char bytes[65536];
    int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(client, (struct sockaddr *)&address, sizeof address);
    int server = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    send(client, bytes, below(20000), MSG_NOSIGNAL);
    if (server >= 0) {
        recv(server, bytes, 60000, 0);
        if (below(2))
            shutdown(server, (int)below(3));
        if (below(4) == 0) {
            struct linger now = {1, 0};
            setsockopt(server, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        }
        close(server);
    }
    if (below(2))
        recv(client, bytes, 60000, 0);
    close(client);
}

int main(void) {
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    NEED(bind(listener, (struct sockaddr *)&address, len) == 0 && listen(listener, 100) == 0);
    NEED(getsockname(listener, (struct sockaddr *)&address, &len) == 0);
    stress();
    DONE();
}
