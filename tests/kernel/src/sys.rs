//! System calls of a test's program.
use coracle_hal::host::program;
use linux_raw_sys::general as abi;

/// The number of an error.
pub type Error = u32;

/// What a call returned, as the manual pages have it.
pub fn result(raw: i64) -> Result<usize, Error> {
    /// Results from here on are errors.
    const FIRST_ERROR: i64 = -4095;
    if (FIRST_ERROR..0).contains(&raw) { Err(raw.unsigned_abs() as Error) } else { Ok(raw as usize) }
}

/// Makes a call with up to six arguments.
pub fn call(number: u32, arguments: &[usize]) -> Result<usize, Error> {
    let mut words = [0; 6];
    for (word, &argument) in words.iter_mut().zip(arguments) {
        *word = argument as u64;
    }
    result(program::call(number as usize, words))
}

/// exit_group(2).
pub fn exit_group(status: i32) -> ! {
    let _ = call(abi::__NR_exit_group, &[status as usize]);
    unreachable!("exit_group(2) does not return")
}

/// exit(2).
pub fn exit(status: i32) -> ! {
    let _ = call(abi::__NR_exit, &[status as usize]);
    unreachable!("exit(2) does not return")
}

/// New private memory, of zeroes, of at least `len` bytes (mmap(2)).
pub fn memory(len: usize) -> usize {
    let (prot, flags) = (abi::PROT_READ | abi::PROT_WRITE, abi::MAP_PRIVATE | abi::MAP_ANONYMOUS);
    let at = call(abi::__NR_mmap, &[0, len, prot as usize, flags as usize, usize::MAX, 0]);
    at.expect("memory is mapped")
}

/// Gives memory back (munmap(2)).
pub fn free(at: usize, len: usize) {
    call(abi::__NR_munmap, &[at, len]).expect("memory of ours is unmapped");
}

/// Puts bytes into new memory; returns their address.
pub fn put(bytes: &[u8]) -> usize {
    let at = memory(bytes.len().max(1));
    crate::write(at, bytes);
    at
}

/// Puts a path, or another string, into new memory, with a zero at its end; returns its address.
pub fn string(text: &str) -> usize {
    put(&[text.as_bytes(), b"\0"].concat())
}

/// Puts words of 64 bits into new memory; returns their address.
pub fn words(words: &[u64]) -> usize {
    put(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>())
}

/// `len` bytes at an address.
pub fn bytes(at: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    crate::read(at, &mut bytes);
    bytes
}

/// A `struct timespec` in new memory.
pub fn timespec(ns: u64) -> usize {
    /// Nanoseconds in a second.
    const SECOND: u64 = 1_000_000_000;
    words(&[ns / SECOND, ns % SECOND])
}

/// The time of CLOCK_MONOTONIC, in nanoseconds.
pub fn now() -> u64 {
    let at = memory(16);
    call(abi::__NR_clock_gettime, &[abi::CLOCK_MONOTONIC as usize, at]).expect("there is such a clock");
    crate::load_u64(at) * 1_000_000_000 + crate::load_u64(at + 8)
}

/// Sleeps (nanosleep(2)).
pub fn sleep(ns: u64) {
    call(abi::__NR_nanosleep, &[timespec(ns), 0]).expect("a sleep ends by itself");
}

/// futex(2), with private words: FUTEX_WAIT.
pub fn futex_wait(word: usize, expected: u32, timeout_ns: Option<u64>) -> Result<(), Error> {
    let timeout = timeout_ns.map_or(0, timespec);
    let operation = abi::FUTEX_WAIT | abi::FUTEX_PRIVATE_FLAG;
    call(abi::__NR_futex, &[word, operation as usize, expected as usize, timeout]).map(drop)
}

/// futex(2), with private words: FUTEX_WAKE. Returns how many were woken.
pub fn futex_wake(word: usize, count: usize) -> usize {
    let operation = abi::FUTEX_WAKE | abi::FUTEX_PRIVATE_FLAG;
    call(abi::__NR_futex, &[word, operation as usize, count]).expect("a wake-up of a word of ours")
}
