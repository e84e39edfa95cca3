//! The initial stack (System V ABI, AMD64 supplement, section 3.4.1): argc, argv, envp, auxiliary vector, and the
//! strings they point to.
use alloc::vec::Vec;
use core::fmt;

/// Auxiliary vector types whose values this module fills in (getauxval(3)).
const AT_NULL: u64 = 0;
const AT_PLATFORM: u64 = 15;
const AT_RANDOM: u64 = 25;
const AT_EXECFN: u64 = 31;
/// Alignment of the stack pointer at the entry point.
const STACK_ALIGN: u64 = 16;
/// The platform's name (AT_PLATFORM).
const PLATFORM: &[u8] = b"x86_64";

/// Arguments and environment don't fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StackTooLarge;

impl fmt::Display for StackTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("arguments and environment are too large")
    }
}

impl core::error::Error for StackTooLarge {}

/// What a program finds on its stack.
pub struct InitialStack<'a> {
    /// Arguments, without their zeroes.
    pub arguments: &'a [Vec<u8>],
    /// Environment, without zeroes.
    pub environment: &'a [Vec<u8>],
    /// Auxiliary vector without AT_RANDOM, AT_EXECFN, AT_PLATFORM and AT_NULL, which are added.
    pub auxiliary: &'a [(u64, u64)],
    /// AT_EXECFN: the path that was executed.
    pub path: &'a [u8],
    /// The bytes AT_RANDOM points to.
    pub random: [u8; 16],
}

impl InitialStack<'_> {
    /// Lays it out to end at `top`, within `limit` bytes. Gives the stack pointer, the bytes from there to `top`, and the
    /// whole auxiliary vector.
    #[allow(clippy::type_complexity)]
    pub fn build(&self, top: u64, limit: u64) -> Result<(u64, Vec<u8>, Vec<(u64, u64)>), StackTooLarge> {
        let mut strings = Vec::new();
        let mut place = |bytes: &[u8], zero: bool| {
            let at = strings.len() as u64;
            strings.extend_from_slice(bytes);
            if zero {
                strings.push(0);
            }
            at
        };
        let random = place(&self.random, false);
        let platform = place(PLATFORM, true);
        let arguments: Vec<u64> = self.arguments.iter().map(|argument| place(argument, true)).collect();
        let environment: Vec<u64> = self.environment.iter().map(|variable| place(variable, true)).collect();
        let path = place(self.path, true);
        let strings_len = strings.len() as u64;

        let auxiliary_len = self.auxiliary.len() + 4;
        let words = 1 + arguments.len() + 1 + environment.len() + 1 + 2 * auxiliary_len;
        let len = (words as u64 * 8).checked_add(strings_len + STACK_ALIGN).ok_or(StackTooLarge)?;
        if len > limit || len > top {
            return Err(StackTooLarge);
        }
        // The last word on a Linux stack is zero; the strings lie below it.
        let strings_at = top - 8 - strings_len;
        let sp = (strings_at - words as u64 * 8) & !(STACK_ALIGN - 1);
        if top - sp > limit {
            return Err(StackTooLarge);
        }
        let mut auxiliary = self.auxiliary.to_vec();
        auxiliary.push((AT_RANDOM, strings_at + random));
        auxiliary.push((AT_EXECFN, strings_at + path));
        auxiliary.push((AT_PLATFORM, strings_at + platform));
        auxiliary.push((AT_NULL, 0));

        let mut bytes = Vec::with_capacity((top - sp) as usize);
        let mut word = |value: u64| bytes.extend_from_slice(&value.to_le_bytes());
        word(arguments.len() as u64);
        arguments.iter().for_each(|offset| word(strings_at + offset));
        word(0);
        environment.iter().for_each(|offset| word(strings_at + offset));
        word(0);
        auxiliary.iter().for_each(|&(kind, value)| {
            word(kind);
            word(value);
        });
        bytes.resize((strings_at - sp) as usize, 0);
        bytes.extend_from_slice(&strings);
        bytes.resize((top - sp) as usize, 0);
        Ok((sp, bytes, auxiliary))
    }
}
