// AF_UNIX datagrams between bound sockets, abstract names, and automatic ones.
#include "net.h"

int main(void) {
    enter_scratch();
    int a = socket(AF_UNIX, SOCK_DGRAM, 0), b = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct sockaddr_un name_a = {AF_UNIX, "a"}, from;
    SHOW(bind(a, ADDR(name_a)));
    SHOW(sendto(b, "anonymous", 9, 0, ADDR(name_a)));
    char text[32] = {0};
    socklen_t length = sizeof from;
    SHOW(recvfrom(a, text, 32, 0, (struct sockaddr *)&from, &length));
    SHOW(length);
    struct sockaddr_un abstract = {AF_UNIX, "\0coracle-test-name"};
    socklen_t abstract_length = offsetof(struct sockaddr_un, sun_path) + 18;
    SHOW(bind(b, (struct sockaddr *)&abstract, abstract_length));
    SHOW(bind(socket(AF_UNIX, SOCK_DGRAM, 0), (struct sockaddr *)&abstract, abstract_length));
    SHOW(sendto(a, "to abstract", 11, 0, (struct sockaddr *)&abstract, abstract_length));
    length = sizeof from;
    memset(text, 0, sizeof text);
    SHOW(recvfrom(b, text, 32, 0, (struct sockaddr *)&from, &length));
    printf("%s from %s\n", text, from.sun_path);
    SHOW(connect(b, ADDR(name_a)));
    SHOW(send(b, "connected", 9, 0));
    length = sizeof from;
    SHOW(recvfrom(a, text, 32, 0, (struct sockaddr *)&from, &length));
    SHOW(length == abstract_length && memcmp(from.sun_path, abstract.sun_path, 18) == 0);
    close(b);
    SHOW(sendto(a, "x", 1, 0, (struct sockaddr *)&abstract, abstract_length));
    int automatic = socket(AF_UNIX, SOCK_STREAM, 0);
    SHOW(bind(automatic, (struct sockaddr *)&abstract, sizeof(sa_family_t)));
    length = sizeof from;
    SHOW(getsockname(automatic, (struct sockaddr *)&from, &length));
    SHOW(length);
    SHOW(from.sun_path[0]);
    DONE();
}
