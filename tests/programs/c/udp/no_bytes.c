// Receiving no bytes: recv(2) takes a datagram, and waits for one; read(2) takes nothing, and does not wait.
#include "t.h"
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/uio.h>

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    char bytes[16];
    int s = socket(AF_INET, SOCK_DGRAM, 0), nonblock = MSG_DONTWAIT;
    NEED(bind(s, (struct sockaddr *)&address, length) == 0);
    NEED(getsockname(s, (struct sockaddr *)&address, &length) == 0);
    NEED(connect(s, (struct sockaddr *)&address, length) == 0);
    SHOW(read(s, bytes, 0));
    SHOW(readv(s, &(struct iovec){bytes, 0}, 1));
    SHOW(recv(s, bytes, 0, nonblock));
    SHOW(send(s, "xyz", 3, 0));
    SHOW(read(s, bytes, 0));
    SHOW(recv(s, bytes, sizeof bytes, 0));
    SHOW(send(s, "xyz", 3, 0));
    SHOW(recv(s, bytes, 0, 0));
    SHOW(recv(s, bytes, sizeof bytes, nonblock));
    SHOW(send(s, bytes, 0, 0));
    SHOW(read(s, bytes, 0));
    SHOW(recv(s, bytes, sizeof bytes, 0));
    SHOW(recv(s, bytes, sizeof bytes, nonblock));
    DONE();
}
