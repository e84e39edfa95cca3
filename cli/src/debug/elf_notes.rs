//! The notes of a core file (core(5); Linux's `include/uapi/linux/elf.h` and `elfcore.h`).

use super::session::{FXSAVE, State};

/// Kinds of notes.
pub mod kind {
    pub const PRSTATUS: u32 = 1;
    pub const FPREGSET: u32 = 2;
    pub const PRPSINFO: u32 = 3;
    pub const AUXV: u32 = 6;
    pub const X86_XSTATE: u32 = 0x202;
    pub const SIGINFO: u32 = 0x5349_4749;
    pub const FILE: u32 = 0x4649_4c45;
}

/// Selectors of a program under Linux, in the order of the registers.
const CODE: u64 = 0x33;
const DATA: u64 = 0x2b;
/// `struct user_regs_struct`, by the names of `coracle_control::REGISTERS` where these have them.
const USER_REGISTERS: [&str; 27] = [
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
    "orig_rax", "rip", "cs", "rflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
];
/// `struct elf_prstatus`: bytes, and where its parts are.
const PRSTATUS_BYTES: usize = 336;
const REGISTERS_AT: usize = 112;
const FPVALID_AT: usize = 328;
/// `struct elf_prpsinfo`.
const PRPSINFO_BYTES: usize = 136;
const NAME_AT: usize = 40;
const NAME_BYTES: usize = 16;
const ARGUMENTS_AT: usize = 56;
const ARGUMENTS_BYTES: usize = 80;
/// Bytes of an XSAVE area with x87, SSE and AVX, and where XCR0 is noted in it.
const AVX_AREA: usize = 832;
const XCR0_AT: usize = 464;
const X87_SSE_AVX: u64 = 7;
/// Bytes of a page.
const PAGE: u64 = 4096;

/// Numbers of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbers {
    /// Its own, its parent's, its group's, its session's.
    pub pid: u32,
    /// See above.
    pub parent: u32,
    /// See above.
    pub group: u32,
    /// See above.
    pub session: u32,
    /// User and group.
    pub uid: u32,
    /// See above.
    pub gid: u32,
}

/// Appends a note.
pub fn put(out: &mut Vec<u8>, name: &str, kind: u32, contents: &[u8]) {
    let name_len = u32::try_from(name.len() + 1).unwrap_or_default();
    out.extend(name_len.to_le_bytes());
    out.extend(u32::try_from(contents.len()).unwrap_or_default().to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend(name.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(contents);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// NT_PRSTATUS: a thread's registers, and the signal.
pub fn status(tid: u32, numbers: &Numbers, signal: u8, state: &State) -> Vec<u8> {
    let mut bytes = vec![0; PRSTATUS_BYTES];
    set(&mut bytes, 0, &u32::from(signal).to_le_bytes());
    set(&mut bytes, 12, &u16::from(signal).to_le_bytes());
    for (index, number) in [tid, numbers.parent, numbers.group, numbers.session].into_iter().enumerate() {
        set(&mut bytes, 32 + 4 * index, &number.to_le_bytes());
    }
    for (index, name) in USER_REGISTERS.into_iter().enumerate() {
        let value = match name {
            "cs" => CODE,
            "ss" => DATA,
            "fs_base" => state.state.fs_base,
            "gs_base" => state.state.gs_base,
            name => state.register(name).unwrap_or_default(),
        };
        set(&mut bytes, REGISTERS_AT + 8 * index, &value.to_le_bytes());
    }
    set(&mut bytes, FPVALID_AT, &u32::from(state.area.len() >= FXSAVE).to_le_bytes());
    bytes
}

/// NT_PRPSINFO: what the process is.
pub fn process(numbers: &Numbers, state: u8, name: &str, arguments: &str) -> Vec<u8> {
    let mut bytes = vec![0; PRPSINFO_BYTES];
    bytes[1] = state;
    let all = [numbers.uid, numbers.gid, numbers.pid, numbers.parent, numbers.group, numbers.session];
    for (index, number) in all.into_iter().enumerate() {
        set(&mut bytes, 16 + 4 * index, &number.to_le_bytes());
    }
    let cut = |text: &str, most: usize| text.as_bytes()[..text.len().min(most - 1)].to_vec();
    set(&mut bytes, NAME_AT, &cut(name, NAME_BYTES));
    set(&mut bytes, ARGUMENTS_AT, &cut(arguments, ARGUMENTS_BYTES));
    bytes
}

/// NT_X86_XSTATE: all floating-point registers; `None` where the CPU has no more than NT_FPREGSET says.
pub fn extended(area: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = area.get(..AVX_AREA)?.to_vec();
    set(&mut bytes, XCR0_AT, &X87_SSE_AVX.to_le_bytes());
    // What is written out is there.
    set(&mut bytes, FXSAVE, &X87_SSE_AVX.to_le_bytes());
    Some(bytes)
}

/// NT_FILE: the files that are mapped: start, end, offset, name.
pub fn files<'a>(all: impl Iterator<Item = (u64, u64, u64, &'a str)> + Clone) -> Vec<u8> {
    let mut bytes = (all.clone().count() as u64).to_le_bytes().to_vec();
    bytes.extend(PAGE.to_le_bytes());
    for (start, end, offset, _) in all.clone() {
        [start, end, offset / PAGE].into_iter().for_each(|word| bytes.extend(word.to_le_bytes()));
    }
    for (.., name) in all {
        bytes.extend(name.as_bytes());
        bytes.push(0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_aligned() {
        let mut out = Vec::new();
        put(&mut out, "CORE", 7, &[1, 2, 3]);
        assert_eq!(out, [5, 0, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0, b'C', b'O', b'R', b'E', 0, 0, 0, 0, 1, 2, 3, 0]);
    }

    #[test]
    fn files_are_listed_with_their_pages() {
        let bytes = files([(0x1000, 0x3000, 0x2000, "/a"), (0x5000, 0x6000, 0, "/bc")].into_iter());
        assert_eq!(bytes.len(), 16 + 2 * 24 + 3 + 4);
        assert_eq!(bytes[..8], 2u64.to_le_bytes());
        assert_eq!(bytes[32..40], 2u64.to_le_bytes());
        assert!(bytes.ends_with(b"/a\0/bc\0"));
    }

    #[test]
    fn long_names_are_cut() {
        let long = "x".repeat(200);
        let bytes = process(&Numbers { pid: 7, ..Numbers::default() }, b'R', &long, &long);
        assert_eq!((bytes.len(), bytes[NAME_AT + 15], bytes[PRPSINFO_BYTES - 1]), (PRPSINFO_BYTES, 0, 0));
        assert_eq!(bytes[24], 7);
    }
}
