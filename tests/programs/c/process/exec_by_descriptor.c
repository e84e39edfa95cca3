// execveat and fexecve: programs and scripts by descriptors of all kinds, and the names that they get (execveat(2)). A file that is neither
// is refused with ENOEXEC, by posix_spawn(3), too.
#include "t.h"
#include <spawn.h>
#include <sys/auxv.h>
#include <sys/wait.h>

// Numbers of descriptors, as programs see them in their names.
enum { PROGRAM = 50, MARKED = 51, DIRECTORY = 52 };

static void run(const char *what, int directory, const char *path, int flags) {
    char *arguments[] = {"given", "again", NULL}, *environment[] = {NULL};
    printf("%s: ", what);
    fflush(stdout);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        syscall(SYS_execveat, directory, path, arguments, environment, flags);
        puts(t_errno(errno));
        _exit(0);
    }
    NEED(waitpid(child, NULL, 0) == child);
}

// A file with this in it, opened as it is asked for.
static int file_of(const char *name, const char *content, int mode, int flags) {
    int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, mode);
    NEED(file >= 0 && fchmod(file, mode) == 0 && write(file, content, strlen(content)) == (ssize_t)strlen(content));
    NEED(close(file) == 0);
    return open(name, flags);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        printf("runs as %s:", (const char *)getauxval(AT_EXECFN));
        for (int i = 0; i < argc; i++)
            printf(" %s", argv[i]);
        putchar('\n');
        return 0;
    }
    enter_scratch();
    const char *self = "/proc/self/exe", *script = "#!/proc/self/exe word\n";
    static const struct { const char *name; int flags; } ways[] = {{"read", O_RDONLY}, {"place", O_PATH}};
    for (int i = 0; i < 2; i++) {
        int flags = ways[i].flags;
        puts(ways[i].name);
        int opened = open(self, flags);
        NEED(opened >= 0 && dup2(opened, PROGRAM) == PROGRAM && dup3(opened, MARKED, O_CLOEXEC) == MARKED);
        run("program", PROGRAM, "", AT_EMPTY_PATH);
        run("closed on exec", MARKED, "", AT_EMPTY_PATH);
        run("no links", PROGRAM, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
        run("empty", PROGRAM, "", 0);
        run("below a file", PROGRAM, "file", 0);
        run("absolute", PROGRAM, self, 0);
        run("absolute link", PROGRAM, self, AT_SYMLINK_NOFOLLOW);
        run("unknown flag", PROGRAM, "", AT_EMPTY_PATH | AT_SYMLINK_FOLLOW);
        close(opened);
        opened = file_of("script", script, 0755, flags);
        NEED(opened >= 0 && dup2(opened, PROGRAM) == PROGRAM && dup3(opened, MARKED, O_CLOEXEC) == MARKED);
        run("script", PROGRAM, "", AT_EMPTY_PATH);
        run("script closed on exec", MARKED, "", AT_EMPTY_PATH);
        NEED(unlink("script") == 0);
        run("removed script", PROGRAM, "", AT_EMPTY_PATH);
        close(opened);
        opened = file_of("plain", script, 0644, flags);
        NEED(opened >= 0 && dup2(opened, PROGRAM) == PROGRAM);
        run("not executable", PROGRAM, "", AT_EMPTY_PATH);
        close(opened);
        opened = open(".", flags | O_DIRECTORY);
        NEED(opened >= 0 && dup2(opened, DIRECTORY) == DIRECTORY && dup3(opened, MARKED, O_CLOEXEC) == MARKED);
        NEED(close(file_of("script", script, 0755, flags)) == 0);
        run("directory", DIRECTORY, "", AT_EMPTY_PATH);
        run("script of a directory", DIRECTORY, "script", 0);
        run("script of a marked directory", MARKED, "script", 0);
        run("script here", AT_FDCWD, "script", 0);
        close(opened);
    }
    NEED(symlink("/proc/self/exe", "link") == 0);
    int link = open("link", O_PATH | O_NOFOLLOW);
    NEED(link >= 0);
    run("link itself", link, "", AT_EMPTY_PATH);
    run("link not followed", AT_FDCWD, "link", AT_SYMLINK_NOFOLLOW);
    run("closed descriptor", 99, "", AT_EMPTY_PATH);
    run("closed directory", 99, "script", 0);
    run("closed directory, absolute", 99, self, 0);

    close(file_of("neither", "echo no", 0775, O_RDONLY));
    run("neither", AT_FDCWD, "neither", 0);
    char *none[] = {NULL};
    pid_t pid;
    SHOW_ERROR(posix_spawn(&pid, "./neither", NULL, NULL, none, none));
    SHOW_ERROR(posix_spawnp(&pid, "./neither", NULL, NULL, none, none));
    // Set-ID bits change nothing of that.
    NEED(chmod("neither", 03565) == 0);
    SHOW_ERROR(posix_spawn(&pid, "./neither", NULL, NULL, none, none));
    DONE();
}
