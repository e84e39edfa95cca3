//! A cryptographic random generator with fast key erasure (D. J. Bernstein, "Fast-key-erasure random-number
//! generators", 2017) on the ChaCha20 block function (RFC 8439, section 2.3).
//!
//! It is our own because existing crates choose vector instructions at run time, and the kernel must not touch
//! the program's vector registers.
#![no_std]
#![forbid(unsafe_code)]

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a ChaCha20 block.
pub const BLOCK_BYTES: usize = 64;

/// "expand 32-byte k" (RFC 8439, section 2.3).
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];
/// Double rounds of ChaCha20.
const DOUBLE_ROUNDS: usize = 10;

/// The ChaCha20 block function.
pub fn block(key: &[u8; KEY_BYTES], counter: u32, nonce: [u32; 3]) -> [u8; BLOCK_BYTES] {
    let mut start = [0u32; 16];
    start[..4].copy_from_slice(&CONSTANTS);
    for (word, bytes) in start[4..12].iter_mut().zip(key.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    start[12] = counter;
    start[13..].copy_from_slice(&nonce);
    let mut state = start;
    for _ in 0..DOUBLE_ROUNDS {
        for [a, b, c, d] in [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]] {
            quarter_round(&mut state, a, b, c, d);
        }
        for [a, b, c, d] in [[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]] {
            quarter_round(&mut state, a, b, c, d);
        }
    }
    let mut out = [0; BLOCK_BYTES];
    for (bytes, (a, b)) in out.as_chunks_mut::<4>().0.iter_mut().zip(state.into_iter().zip(start)) {
        *bytes = a.wrapping_add(b).to_le_bytes();
    }
    out
}

#[inline(always)]
fn quarter_round(s: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    s[a] = s[a].wrapping_add(s[b]);
    s[d] = (s[d] ^ s[a]).rotate_left(16);
    s[c] = s[c].wrapping_add(s[d]);
    s[b] = (s[b] ^ s[c]).rotate_left(12);
    s[a] = s[a].wrapping_add(s[b]);
    s[d] = (s[d] ^ s[a]).rotate_left(8);
    s[c] = s[c].wrapping_add(s[d]);
    s[b] = (s[b] ^ s[c]).rotate_left(7);
}

/// The generator. Its key is replaced before any output leaves, so that the state does not reveal later what
/// was given out earlier.
pub struct Generator {
    key: [u8; KEY_BYTES],
}

impl Generator {
    /// A generator with this key.
    pub const fn new(key: [u8; KEY_BYTES]) -> Self {
        Generator { key }
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        let key = self.key;
        let mut counter = 0u32;
        let first = block(&key, counter, [0; 3]);
        self.key.copy_from_slice(&first[..KEY_BYTES]);
        let (short, rest) = out.split_at_mut(out.len().min(BLOCK_BYTES - KEY_BYTES));
        short.copy_from_slice(&first[KEY_BYTES..][..short.len()]);
        let mut nonce = 0u32;
        for chunk in rest.chunks_mut(BLOCK_BYTES) {
            counter = counter.wrapping_add(1);
            if counter == 0 {
                nonce += 1;
            }
            chunk.copy_from_slice(&block(&key, counter, [nonce, 0, 0])[..chunk.len()]);
        }
    }

    /// Mixes entropy into the key: what is added can make the output less predictable, never more.
    pub fn mix(&mut self, entropy: &[u8]) {
        for chunk in entropy.chunks(KEY_BYTES) {
            for (key, byte) in self.key.iter_mut().zip(chunk) {
                *key ^= byte;
            }
            self.fill(&mut []);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8439, section 2.3.2.
    #[test]
    fn block_of_the_rfc() {
        let key: [u8; 32] = core::array::from_fn(|i| i as u8);
        let out = block(&key, 1, [0x0900_0000, 0x4a00_0000, 0]);
        assert_eq!(out[..8], [0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15]);
        assert_eq!(out[56..], [0xcb, 0xd0, 0x83, 0xe8, 0xa2, 0x50, 0x3c, 0x4e]);
    }

    #[test]
    fn output_does_not_repeat_and_depends_on_the_mix() {
        let mut a = Generator::new([7; 32]);
        let mut b = Generator::new([7; 32]);
        let (mut x, mut y) = ([0; 200], [0; 200]);
        a.fill(&mut x);
        b.fill(&mut y);
        assert_eq!(x, y);
        a.fill(&mut x);
        assert_ne!(x, y);
        b.mix(&[1]);
        b.fill(&mut y);
        assert_ne!(x, y);
    }
}
