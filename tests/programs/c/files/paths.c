// How paths are resolved: dots, doubled slashes, trailing slashes, lengths, and files that are no directories.
#include "t.h"

int main(void) {
    enter_scratch();
    mkdir("d", 0755);
    write_file("d/f", "found");
    show_file("d//f");
    show_file("./d/./f");
    show_file("d/../d/f");
    show_file("d/f/");
    show_file("d/f/..");
    show_file("none/../d/f");
    char name[300];
    memset(name, 'n', sizeof name);
    name[255] = 0;
    write_file(name, "255");
    SHOW(access(name, F_OK));
    name[255] = 'n';
    name[256] = 0;
    SHOW(open(name, O_CREAT | O_RDWR, 0600));
    static char path[5000];
    for (int i = 0; i < 4096; i += 2)
        memcpy(path + i, "./", 2);
    SHOW(open(path, O_RDONLY));
    path[4095] = 0;
    path[4090] = 0;
    SHOW(open(path, O_RDONLY) >= 0);
    write_file("sp ace \"q\" \\ \n é", "odd name");
    show_file("sp ace \"q\" \\ \n é");
    symlink("d", "link");
    show_file("link/f");
    struct stat st;
    SHOW(lstat("link/", &st));
    SHOW(S_ISDIR(st.st_mode));
    SHOW(unlink("link/"));
    SHOW(rmdir("link"));
    char chain[16] = "d";
    for (int i = 0; i < 45; i++) {
        char next[16];
        snprintf(next, sizeof next, "c%d", i);
        symlink(chain, next);
        strcpy(chain, next);
    }
    SHOW(access("c39", F_OK));
    SHOW(access("c40", F_OK));
    DONE();
}
