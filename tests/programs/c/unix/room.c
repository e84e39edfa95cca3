// How many messages of each size wait at a receiver, and what they count for (SIOCOUTQ): as on Linux more than their bytes.
#include "net.h"
#include <linux/sockios.h>
#include <sys/ioctl.h>

static int waiting(int socket) {
    int count;
    NEED(ioctl(socket, SIOCOUTQ, &count) == 0);
    return count;
}

static void fill(const char *name, int kind) {
    static char bytes[60000];
    static const int sizes[] = {1, 192, 193, 704, 705, 1728, 3776, 3777, 7000, 16000, 32768};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int s[2], sent = 0, first = 0;
        NEED(socketpair(AF_UNIX, kind, 0, s) == 0);
        for (; send(s[0], bytes, sizes[i], MSG_DONTWAIT) == sizes[i]; sent++)
            if (sent == 0)
                first = waiting(s[0]);
        printf("%s of %d: %d, the first counts for %d, all for %d, %s\n", name, sizes[i], sent, first, waiting(s[0]),
               strerror(errno));
        // A message counts until its last byte was received.
        int part = recv(s[1], bytes, sizes[i] - sizes[i] / 2, 0);
        printf("%d received: %d\n", part, waiting(s[0]));
        while (recv(s[1], bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
        }
        int none = waiting(s[0]), again = send(s[0], "x", 1, MSG_DONTWAIT);
        printf("all received: %d, then %d: %d\n", none, again, waiting(s[0]));
        close(s[0]), close(s[1]);
    }
}

int main(void) {
    fill("stream", SOCK_STREAM);
    fill("packet", SOCK_SEQPACKET);
    fill("datagram", SOCK_DGRAM);
    DONE();
}
