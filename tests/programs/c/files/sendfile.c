// sendfile and copy_file_range move bytes between files, pipes and sockets, and keep the offsets right.
// data: yes
// demand: also
#include "t.h"
#include <sys/sendfile.h>
#include <sys/socket.h>

int main(void) {
    int in = open(data_file("pages.bin"), O_RDONLY);
    enter_scratch();
    int out = open("copy", O_RDWR | O_CREAT, 0600);
    SHOW(sendfile(out, in, NULL, 5000));
    SHOW(lseek(in, 0, SEEK_CUR));
    off_t at = 100;
    SHOW(sendfile(out, in, &at, 1000));
    SHOW(at);
    SHOW(lseek(in, 0, SEEK_CUR));
    SHOW(lseek(out, 0, SEEK_CUR));
    unsigned char buffer[6000];
    SHOW(pread(out, buffer, sizeof buffer, 0));
    int bad = 0;
    for (int i = 0; i < 5000; i++)
        bad += buffer[i] != pattern((size_t)i);
    for (int i = 0; i < 1000; i++)
        bad += buffer[5000 + i] != pattern((size_t)i + 100);
    SHOW(bad);
    int s[2];
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    at = 0;
    SHOW(sendfile(s[0], in, &at, 4000));
    SHOW(recv(s[1], buffer, sizeof buffer, MSG_WAITALL | MSG_DONTWAIT));
    at = 1 << 30;
    SHOW(sendfile(s[0], in, &at, 10));
    SHOW(sendfile(out, s[0], NULL, 10) < 0);
    SHOW(sendfile(999, in, NULL, 10));
    SHOW(sendfile(out, 999, NULL, 10));
    loff_t from = 4000, to = 0;
    SHOW(copy_file_range(out, &from, open("second", O_RDWR | O_CREAT, 0600), &to, 10000, 0));
    SHOW(from);
    SHOW(to);
    SHOW(copy_file_range(out, &from, 1, NULL, 10, 0) < 0);
    DONE();
}
