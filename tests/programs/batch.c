// The first process of a guest that runs several test programs, one after the other, as tests/src/linux.rs runs them on Linux: each in
// a process group of its own, with its standard streams on pipes. What they print and how they end goes to standard output, in frames:
// `start N`, then `end N STATUS IS-LATE LENGTH` and the output.
// The argument names a file of words that end with a zero byte: for each program its limit in seconds, the file with its standard input,
// the number of its arguments (the first is its path), the arguments, the number of variables of its environment, and these.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *next, *end;

static void need(int is_true, const char *what) {
    if (!is_true) {
        perror(what);
        exit(125);
    }
}

static char *word(void) {
    char *word = next;
    need(next < end, "the list is cut");
    next += strlen(next) + 1;
    return word;
}

static char **words(void) {
    int count = atoi(word());
    char **all = calloc(count + 1, sizeof *all);
    need(all != NULL, "memory");
    for (int i = 0; i < count; i++)
        all[i] = word();
    return all;
}

// A file's bytes.
static char *content(const char *path, size_t *length) {
    struct stat stat;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    need(file >= 0 && fstat(file, &stat) == 0, path);
    char *bytes = malloc(stat.st_size + 1);
    need(bytes && read(file, bytes, stat.st_size) == stat.st_size, path);
    close(file);
    *length = stat.st_size;
    return bytes;
}

static long long milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

int main(int argc, char **argv) {
    need(argc == 2, "usage: batch LIST");
    size_t size;
    next = content(argv[1], &size);
    end = next + size;
    // A program may stop reading.
    signal(SIGPIPE, SIG_IGN);
    for (int number = 0; next < end; number++) {
        long long limit = atoll(word()) * 1000;
        size_t length;
        char *input = content(word(), &length);
        char **arguments = words(), **environment = words();
        printf("start %d\n", number);
        fflush(stdout);
        int in[2], out[2];
        need(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0, "pipe");
        pid_t child = fork();
        need(child >= 0, "fork");
        if (child == 0) {
            setpgid(0, 0);
            signal(SIGPIPE, SIG_DFL);
            umask(022);
            if (dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0 || dup2(out[1], 2) < 0 || chdir("/") != 0)
                _exit(125);
            execve(arguments[0], arguments, environment);
            perror(arguments[0]);
            _exit(127);
        }
        close(in[0]);
        close(out[1]);
        fcntl(in[1], F_SETFL, O_NONBLOCK);
        long long deadline = milliseconds() + limit;
        size_t written = 0, used = 0, room = 1 << 16;
        char *output = malloc(room);
        int is_late = 0;
        for (int is_open = 1; is_open;) {
            if (written == length && in[1] >= 0) {
                close(in[1]);
                in[1] = -1;
            }
            struct pollfd ends[2] = {{out[0], POLLIN, 0}, {in[1], POLLOUT, 0}};
            long long left = deadline - milliseconds();
            if (left <= 0 || poll(ends, 2, (int)left) == 0) {
                is_late = 1;
                break;
            }
            if (ends[1].revents) {
                ssize_t n = write(in[1], input + written, length - written);
                written = n > 0 ? written + n : n < 0 && errno == EAGAIN ? written : length;
            }
            if (ends[0].revents) {
                if (room - used < 1 << 15)
                    output = realloc(output, room *= 2);
                need(output != NULL, "memory");
                ssize_t n = read(out[0], output + used, room - used);
                is_open = n > 0;
                used += n > 0 ? n : 0;
            }
        }
        if (in[1] >= 0)
            close(in[1]);
        close(out[0]);
        // It may have closed its output before its end.
        int status = 0;
        while (!is_late && waitpid(child, &status, WNOHANG) == 0) {
            is_late = milliseconds() > deadline;
            usleep(1000);
        }
        // What it left behind.
        kill(-1, SIGKILL);
        while (waitpid(-1, is_late ? &status : NULL, 0) > 0 || errno == EINTR)
            ;
        printf("end %d %d %d %zu\n", number, WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), is_late, used);
        fwrite(output, 1, used, stdout);
        fflush(stdout);
        free(output);
        free(input);
        free(arguments);
        free(environment);
    }
    return 0;
}
