// Makes the same few system calls again and again: for `coracle trace`.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void *reader(void *pipe) {
  char byte;
  // Blocks until the other end writes, which it never does.
  return read(*(int *)pipe, &byte, 1) == 1 ? pipe : NULL;
}

int main(void) {
  int pair[2], quiet[2];
  pthread_t thread;
  if (pipe(quiet) != 0 || pthread_create(&thread, NULL, reader, quiet) != 0) return 1;
  for (;;) {
    char back[16];
    struct timespec pause = {0, 20000000};
    int status;
    if (open("/no/such/file", O_RDONLY | O_CLOEXEC) != -1 || errno != ENOENT) return 2;
    if (pipe(pair) != 0 || write(pair[1], "a\n\"\001", 4) != 4 || read(pair[0], back, sizeof back) != 4) return 3;
    close(pair[0]);
    close(pair[1]);
    pid_t child = fork();
    if (child == 0) _exit(7);
    if (waitpid(child, &status, 0) != child) return 4;
    nanosleep(&pause, NULL);
  }
}
