//! The walk of paths, names that change, and mounts.
use coracle_kernel_tests::abi;
use coracle_kernel_tests::errno::{EBUSY, EEXIST, ELOOP, ENOENT, ENOTDIR, ENOTEMPTY, EXDEV};
use coracle_kernel_tests::files::{contents, make, open, with_path, with_paths};
use coracle_kernel_tests::threads::{Thread, spawn};
use coracle_kernel_tests::{run, sys};

fn make_directory(path: &str) {
    with_path(abi::__NR_mkdir, path, 0o755).expect("a directory is made");
}

/// A directory for one test.
fn enter(name: &str) {
    make_directory(name);
    with_path(abi::__NR_chdir, name, 0).expect("a directory is entered");
}

#[test]
fn names_are_walked() {
    run(|| {
        enter("/tmp/walk");
        make_directory("a");
        make_directory("a/b");
        make("a/b/file", b"found");
        for path in [
            "a/b/file",
            "./a//b/../b/./file",
            "/tmp/walk/a/b/file",
            "../walk/a/b/file",
            "/../tmp/walk/a/b/file",
        ] {
            assert_eq!(contents(path), Ok(b"found".to_vec()), "{path}");
        }
        assert_eq!(contents("a/b/file/"), Err(ENOTDIR));
        assert_eq!(contents("a/none/file"), Err(ENOENT));
        assert_eq!(contents("a/b/file/x"), Err(ENOTDIR));
        assert_eq!(with_path(abi::__NR_mkdir, "a", 0o755), Err(EEXIST));
        assert_eq!(with_path(abi::__NR_rmdir, "a", 0), Err(ENOTEMPTY));
    });
}

#[test]
fn links_lead_on() {
    run(|| {
        enter("/tmp/links");
        make_directory("d");
        make("d/file", b"linked");
        with_paths(abi::__NR_symlink, "d", "to-d").expect("a link is made");
        with_paths(abi::__NR_symlink, "../links/to-d/file", "to-file").expect("a link is made");
        with_paths(abi::__NR_symlink, "loop-b", "loop-a").expect("a link is made");
        with_paths(abi::__NR_symlink, "loop-a", "loop-b").expect("a link is made");
        assert_eq!(contents("to-d/file"), Ok(b"linked".to_vec()));
        assert_eq!(contents("to-file"), Ok(b"linked".to_vec()));
        assert_eq!(contents("loop-a"), Err(ELOOP));
        assert_eq!(open("to-file", abi::O_RDONLY | abi::O_NOFOLLOW, 0), Err(ELOOP));
        with_paths(abi::__NR_link, "d/file", "hard").expect("a link is made");
        with_path(abi::__NR_unlink, "d/file", 0).expect("a file is removed");
        assert_eq!((contents("hard"), contents("to-file")), (Ok(b"linked".to_vec()), Err(ENOENT)));
    });
}

#[test]
fn a_mount_covers_and_uncovers() {
    run(|| {
        enter("/tmp/mounts");
        make_directory("at");
        make("at/below", b"below");
        let mount = || {
            let arguments = [sys::string("none"), sys::string("at"), sys::string("tmpfs"), 0, 0];
            sys::call(abi::__NR_mount, &arguments).expect("a file system is mounted")
        };
        mount();
        assert_eq!(contents("at/below"), Err(ENOENT));
        make("at/above", b"above");
        make("outside", b"");
        assert_eq!(with_paths(abi::__NR_rename, "outside", "at/outside"), Err(EXDEV));
        assert_eq!(contents("at/../at/above"), Ok(b"above".to_vec()));
        let open = open("at/above", abi::O_RDONLY, 0).expect("a file is opened");
        assert_eq!(with_path(abi::__NR_umount2, "at", 0), Err(EBUSY));
        coracle_kernel_tests::files::close(open);
        assert_eq!(with_path(abi::__NR_umount2, "at", 0), Ok(0));
        assert_eq!((contents("at/below"), contents("at/above")), (Ok(b"below".to_vec()), Err(ENOENT)));
    });
}

#[test]
fn renames_are_one_step() {
    run(|| {
        enter("/tmp/renames");
        make("current", b"version");
        let renamers: Vec<_> = (0..2)
            .map(|number| {
                spawn(move || {
                    for _ in 0..40 {
                        let new = format!("new-{number}");
                        make(&new, b"version");
                        with_paths(abi::__NR_rename, &new, "current").expect("a file is renamed");
                    }
                })
            })
            .collect();
        let reader = spawn(|| {
            for _ in 0..80 {
                assert_eq!(contents("current"), Ok(b"version".to_vec()));
            }
        });
        renamers.into_iter().for_each(Thread::join);
        reader.join();
        assert_eq!(contents("new-0"), Err(ENOENT));
    });
}
