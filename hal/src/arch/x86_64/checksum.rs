//! CRC-32C by the CPU's instruction where it has one (SSE4.2; it works on general registers).
use crate::arch::instructions;
use core::arch::asm;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Bytes that a round of the fast loop takes.
const ROUND: usize = 512;
/// CPUID leaf 1, ECX: SSE4.2 (Intel SDM volume 2, CPUID).
const SSE4_2: u32 = 1 << 20;

/// Whether the CPU has the instruction; cached, because CPUID exits a virtual machine.
fn has_instruction() -> bool {
    const UNKNOWN: u8 = 0;
    const MISSING: u8 = 1;
    const THERE: u8 = 2;
    static KNOWN: AtomicU8 = AtomicU8::new(UNKNOWN);
    if KNOWN.load(Relaxed) == UNKNOWN {
        let there = instructions::cpuid(1, 0).ecx & SSE4_2 != 0;
        KNOWN.store(if there { THERE } else { MISSING }, Relaxed);
    }
    KNOWN.load(Relaxed) == THERE
}

/// The CRC-32C of `bytes` (RFC 3720, section 12.1). A page takes some 540 instructions, or 20,000 on a CPU of before 2008.
pub fn crc32c(bytes: &[u8]) -> u32 {
    !update(coracle_crc32c::START, bytes)
}

/// Goes on with a checksum, as [`coracle_crc32c::update`] does.
pub fn update(sum: u32, bytes: &[u8]) -> u32 {
    if !has_instruction() {
        return coracle_crc32c::update(sum, bytes);
    }
    let mut sum = u64::from(sum);
    let (rounds, rest) = bytes.split_at(bytes.len() / ROUND * ROUND);
    if !rounds.is_empty() {
        let range = rounds.as_ptr_range();
        // SAFETY: reads whole rounds of the slice, from its start to its end, and writes nothing; the CPU has the
        // instruction.
        unsafe {
            asm!(
                "2:",
                ".irp block, 0, 128, 256, 384",
                ".irp offset, 0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120",
                "crc32 {sum}, qword ptr [{at} + \\block + \\offset]",
                ".endr",
                ".endr",
                "add {at}, {round}",
                "cmp {at}, {end}",
                "jb 2b",
                sum = inout(reg) sum,
                at = inout(reg) range.start => _,
                end = in(reg) range.end,
                round = const ROUND,
                options(nostack, readonly),
            );
        }
    }
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        // SAFETY: the instruction is there, and works on registers.
        unsafe {
            asm!("crc32 {sum}, {word}", sum = inout(reg) sum, word = in(reg) word, options(nostack, nomem, pure))
        };
    }
    for &byte in rest {
        // SAFETY: as above.
        unsafe {
            asm!("crc32 {sum:e}, {byte}", sum = inout(reg) sum, byte = in(reg_byte) byte, options(nostack, nomem, pure))
        };
    }
    sum as u32
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn is_the_same_as_without_the_instruction() {
        let bytes: [u8; 1000] = core::array::from_fn(|index| ((index * index) >> 3) as u8);
        for start in 0..9 {
            for end in start..bytes.len() {
                let part = &bytes[start..end];
                assert_eq!(crc32c(part), coracle_crc32c::crc32c(part));
            }
        }
    }
}
