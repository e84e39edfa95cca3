//! Structures that ioctl(2) of a terminal takes from the program and returns to it.
use coracle_control::Window;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::mm::user_buf::UserBuf;

/// Size of `struct winsize`.
const WINSIZE_BYTES: usize = 8;

/// Copies a whole structure from the program. EFAULT.
pub fn read_user(address: usize, dst: &mut [u8]) -> Result<(), Errno> {
    let len = dst.len();
    if UserBuf::user(address, len).take(dst)? < len { Err(Errno::FAULT) } else { Ok(()) }
}

/// Copies a whole structure to the program. EFAULT.
pub fn write_user(address: usize, src: &[u8]) -> SysResult {
    if UserBuf::user(address, src.len()).put(src)? < src.len() { Err(Errno::FAULT) } else { Ok(0) }
}

/// A C int of the program. EFAULT.
pub fn read_int(address: usize) -> Result<i32, Errno> {
    let mut bytes = [0; 4];
    read_user(address, &mut bytes)?;
    Ok(i32::from_le_bytes(bytes))
}

/// Returns a C int to the program. EFAULT.
pub fn write_int(address: usize, value: i32) -> SysResult {
    write_user(address, &value.to_le_bytes())
}

/// A size of a window (TIOCSWINSZ). EFAULT.
pub fn read_window(address: usize) -> Result<Window, Errno> {
    let mut bytes = [0; WINSIZE_BYTES];
    read_user(address, &mut bytes)?;
    let word = |index: usize| u16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]]);
    Ok(Window { rows: word(0), columns: word(1), width: word(2), height: word(3) })
}

/// As `struct winsize` (TIOCGWINSZ).
pub fn window_bytes(window: Window) -> [u8; WINSIZE_BYTES] {
    let Window { rows, columns, width, height } = window;
    let mut bytes = [0; WINSIZE_BYTES];
    for (place, word) in bytes.chunks_exact_mut(2).zip([rows, columns, width, height]) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}
