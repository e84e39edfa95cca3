// The machine's own name resolves to an address that it can be reached at (hosts(5)), and stands in /etc/hostname.
// linux: no
// stdout-has: the own name resolves
#include "t.h"
#include <netdb.h>
#include <sys/socket.h>

int main(void) {
    char name[65], line[80];
    CHECK(gethostname(name, sizeof name) == 0 && strlen(name) > 0);
    FILE *file = fopen("/etc/hostname", "r");
    CHECK(file && fgets(line, sizeof line, file));
    line[strcspn(line, "\n")] = 0;
    CHECK(strcmp(line, name) == 0);

    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    CHECK(getaddrinfo(name, NULL, &hints, &found) == 0);
    // A server on that address, and a client that reaches it by name.
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t length = found->ai_addrlen;
    CHECK(bind(listener, found->ai_addr, length) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, found->ai_addr, &length) == 0);
    CHECK(connect(client, found->ai_addr, length) == 0);
    puts("the own name resolves");
    return 0;
}
