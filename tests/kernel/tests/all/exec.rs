//! execve(2): what of a process stays, and which files are refused.
use coracle_hal::host::program;
use coracle_kernel_tests::errno::{EACCES, ENOENT, ENOEXEC};
use coracle_kernel_tests::files::{self, close, make, open, pipe, with_path};
use coracle_kernel_tests::threads::{fork, wait};
use coracle_kernel_tests::{abi, load_u64, run, sys};

/// Where the program's only segment is, and how long: the addresses of code are in it.
const BASE: u64 = 0x40_0000;
const LEN: u64 = 1 << 20;

/// A static program for x86-64 (elf(5)) with one executable segment, which begins with all of the file, and code at `entry`.
fn program(entry: u64) -> Vec<u8> {
    /// Bytes of the file's header, and of a program header.
    const HEADER: u16 = 64;
    const SEGMENT: u16 = 56;
    const EXECUTABLE: u16 = 2;
    const X86_64: u16 = 62;
    const LOAD: u32 = 1;
    const READ_AND_EXECUTE: u32 = 5;
    let len = u64::from(HEADER + SEGMENT);
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    file.resize(16, 0);
    file.extend([EXECUTABLE, X86_64].iter().flat_map(|half| half.to_le_bytes()));
    file.extend(1_u32.to_le_bytes());
    file.extend([entry, HEADER.into(), 0].iter().flat_map(|word| word.to_le_bytes()));
    file.extend(0_u32.to_le_bytes());
    file.extend([HEADER, SEGMENT, 1, 0, 0, 0].iter().flat_map(|half| half.to_le_bytes()));
    file.extend([LOAD, READ_AND_EXECUTE].iter().flat_map(|word| word.to_le_bytes()));
    file.extend([0, BASE, BASE, len, LEN, 4096].iter().flat_map(|word: &u64| word.to_le_bytes()));
    file
}

fn execute(path: &str, arguments: &[&str]) -> Result<usize, u32> {
    let strings = arguments.iter().map(|argument| sys::string(argument) as u64);
    let vector = sys::words(&strings.chain([0]).collect::<Vec<_>>());
    sys::call(abi::__NR_execve, &[sys::string(path), vector, sys::words(&[0])])
}

#[test]
fn a_program_takes_the_place_of_another() {
    run(|| {
        let (from, to) = pipe(0);
        let (_, closed) = pipe(abi::O_CLOEXEC);
        let entry = program::code(move || {
            // Its own memory alone is there, and what it may keep of the old one's files.
            assert_eq!(load_u64(BASE as usize) & 0xffff_ffff, 0x464c_457f);
            assert!(files::write(closed, b"gone").is_err());
            assert_eq!(files::write(to, b"replaced"), Ok(8));
            sys::exit_group(7)
        });
        make("/tmp/program", &program(entry));
        with_path(abi::__NR_chmod, "/tmp/program", 0o755).expect("its mode is set");
        let child =
            fork(|| panic!("execve(2) returned {:?}", execute("/tmp/program", &["program", "argument"])));
        let child = child.expect("a child is made");
        assert_eq!(files::read(from, 16).as_deref(), Ok(&b"replaced"[..]));
        assert_eq!(wait(child), Ok(7 << 8));
        close(from);
    });
}

#[test]
fn other_files_are_refused() {
    run(|| {
        make("/tmp/text", b"no program");
        assert_eq!(execute("/tmp/text", &["text"]), Err(EACCES));
        with_path(abi::__NR_chmod, "/tmp/text", 0o755).expect("its mode is set");
        assert_eq!(execute("/tmp/text", &["text"]), Err(ENOEXEC));
        assert_eq!(execute("/tmp/missing", &["missing"]), Err(ENOENT));
        assert_eq!(execute("/tmp", &["directory"]), Err(EACCES));
        make("/tmp/script", b"#!/tmp/missing\n");
        with_path(abi::__NR_chmod, "/tmp/script", 0o755).expect("its mode is set");
        assert_eq!(execute("/tmp/script", &["script"]), Err(ENOENT));
        // A header that promises more than the file has.
        make("/tmp/short", &program(BASE)[..70]);
        with_path(abi::__NR_chmod, "/tmp/short", 0o755).expect("its mode is set");
        assert!(execute("/tmp/short", &["short"]).is_err());
        assert!(open("/tmp/short", abi::O_RDONLY, 0).is_ok());
    });
}
