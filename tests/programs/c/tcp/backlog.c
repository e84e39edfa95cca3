// A listener holds connections until they are accepted, in order, with what was sent before.
#include "net.h"

int main(void) {
    int l = tcp_listener(64);
    int c[50];
    for (int i = 0; i < 50; i++) {
        c[i] = tcp_connect(l);
        char text[16];
        int n = snprintf(text, sizeof text, "client %d", i);
        write_all(c[i], text, (size_t)n);
    }
    int ordered = 0;
    for (int i = 0; i < 50; i++) {
        int s = accept(l, NULL, NULL);
        char b[16] = {0}, expected[16];
        snprintf(expected, sizeof expected, "client %d", i);
        NEED(read(s, b, sizeof b) > 0);
        ordered += strcmp(b, expected) == 0;
        close(s);
        close(c[i]);
    }
    SHOW(ordered);
    // A client that is gone before it is accepted.
    int gone = tcp_connect(l);
    write_all(gone, "bye", 3);
    close(gone);
    int s = accept(l, NULL, NULL);
    char b[8] = {0};
    SHOW(read(s, b, 8));
    SHOW(read(s, b, 8));
    // Closing the listener resets those who wait.
    int waiting = tcp_connect(l);
    close(l);
    events_of(waiting, POLLIN, 60000);
    SHOW(read(waiting, b, 8));
    DONE();
}
