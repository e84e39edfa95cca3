//! Writing a message into a buffer.

/// Appends to a buffer; from the first thing that does not fit on, nothing is appended.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
    is_full: bool,
}

impl<'a> Writer<'a> {
    /// Begins at the buffer's front.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Writer { buffer, len: 0, is_full: false }
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        match self.buffer.get_mut(self.len..self.len + bytes.len()) {
            Some(room) if !self.is_full => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            _ => self.is_full = true,
        }
    }

    /// A byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    /// A text with its length before it. One that is longer than 65535 bytes does not fit.
    pub fn text(&mut self, text: &[u8]) {
        match u16::try_from(text.len()) {
            Ok(len) => self.u16(len),
            Err(_) => self.is_full = true,
        }
        self.bytes(text);
    }

    /// Puts the size in the first four bytes: that of all, and of `more` bytes that lie elsewhere. Returns the bytes here; `None` if something
    /// did not fit.
    pub fn finish(self, more: u32) -> Option<usize> {
        let size = u32::try_from(self.len).ok()?.checked_add(more)?;
        self.buffer.get_mut(..4)?.copy_from_slice(&size.to_le_bytes());
        (!self.is_full).then_some(self.len)
    }
}
