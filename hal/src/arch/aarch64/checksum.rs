//! CRC-32C by the CPU's instructions where it has them (Arm ARM, FEAT_CRC32).
use super::instructions::read;
use core::arch::asm;

/// Whether the CPU has the instructions (ID_AA64ISAR0_EL1.CRC32).
fn has_instruction() -> bool {
    const CRC32: u64 = 0xf << 16;
    read!("id_aa64isar0_el1") & CRC32 != 0
}

/// The CRC-32C of `bytes` (RFC 3720, section 12.1).
pub fn crc32c(bytes: &[u8]) -> u32 {
    !update(coracle_crc32c::START, bytes)
}

/// Goes on with a checksum, as [`coracle_crc32c::update`] does.
pub fn update(mut sum: u32, bytes: &[u8]) -> u32 {
    if !has_instruction() {
        return coracle_crc32c::update(sum, bytes);
    }
    let (blocks, rest) = bytes.as_chunks::<16>();
    if !blocks.is_empty() {
        // SAFETY: the CPU has the instruction; all of the blocks, and nothing behind them, is read.
        unsafe {
            asm!(".arch_extension crc", "2: ldp {a}, {b}, [{at}], #16", "crc32cx {sum:w}, {sum:w}, {a}",
                "crc32cx {sum:w}, {sum:w}, {b}", "subs {left}, {left}, #1", "b.ne 2b",
                sum = inout(reg) sum, at = inout(reg) blocks.as_ptr() => _, left = inout(reg) blocks.len() => _,
                a = out(reg) _, b = out(reg) _, options(readonly, nostack));
        }
    }
    coracle_crc32c::update(sum, rest)
}
