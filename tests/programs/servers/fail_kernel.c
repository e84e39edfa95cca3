// Has the kernel fail in the way that its argument says, or crashes itself.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **words) {
    const char *how = count > 1 ? words[1] : "";
    puts("ready");
    fflush(stdout);
    usleep(100000);
    if (strcmp(how, "crash") == 0)
        *(volatile int *)8 = 1;
    int fd = open("/proc/self/fail-kernel", O_WRONLY);
    if (fd < 0) {
        perror("fail-kernel");
        return 3;
    }
    return write(fd, how, strlen(how)) < 0;
}
