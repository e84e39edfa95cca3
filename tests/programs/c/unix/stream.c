// AF_UNIX stream sockets with a path: bind, listen, connect, names, the file, unlink, what is refused.
#include "net.h"

int main(void) {
    enter_scratch();
    struct sockaddr_un a = {AF_UNIX, "socket"}, got;
    int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
    SHOW(connect(c, ADDR(a)));
    SHOW(bind(l, ADDR(a)));
    SHOW(bind(socket(AF_UNIX, SOCK_STREAM, 0), ADDR(a)));
    SHOW(connect(c, ADDR(a)));
    SHOW(listen(l, 5));
    SHOW(connect(c, ADDR(a)));
    socklen_t length = sizeof got;
    int s = accept(l, (struct sockaddr *)&got, &length);
    SHOW(length);
    length = sizeof got;
    SHOW(getsockname(s, (struct sockaddr *)&got, &length));
    printf("%d %s\n", (int)length, got.sun_path);
    length = sizeof got;
    SHOW(getpeername(c, (struct sockaddr *)&got, &length));
    puts(got.sun_path);
    struct stat st;
    SHOW(stat("socket", &st));
    SHOW(S_ISSOCK(st.st_mode));
    SHOW(open("socket", O_RDWR));
    char b[32] = {0};
    SHOW(write(c, "over unix", 9));
    SHOW(read(s, b, 32));
    puts(b);
    SHOW(shutdown(s, SHUT_WR));
    SHOW(read(c, b, 32));
    SHOW(write(c, "more", 4));
    SHOW(close(s));
    signal(SIGPIPE, SIG_IGN);
    SHOW(write(c, "x", 1));
    SHOW(unlink("socket"));
    SHOW(connect(socket(AF_UNIX, SOCK_STREAM, 0), ADDR(a)));
    write_file("plain", "");
    strcpy(a.sun_path, "plain");
    SHOW(connect(socket(AF_UNIX, SOCK_STREAM, 0), ADDR(a)));
    struct ucred cred;
    int pair[2];
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    length = sizeof cred;
    SHOW(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &cred, &length));
    CHECK(cred.pid == getpid() && cred.uid == getuid());
    DONE();
}
