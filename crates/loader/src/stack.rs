//! The initial stack (System V ABI, AMD64 supplement, section 3.4.1): argc, argv, envp, auxiliary vector, and the
//! strings they point to.
use crate::strings::Strings;
use alloc::vec::Vec;
use coracle_fallible::{NoMemory, TryVec as _};
use core::fmt;

/// Auxiliary vector types whose values this module fills in (getauxval(3)).
const AT_NULL: u64 = 0;
const AT_PLATFORM: u64 = 15;
const AT_RANDOM: u64 = 25;
const AT_EXECFN: u64 = 31;
/// Alignment of the stack pointer at the entry point.
const STACK_ALIGN: u64 = 16;

/// Why there is no stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StackError {
    /// Arguments and environment don't fit.
    TooLarge,
    /// There is no memory to lay it out in.
    NoMemory,
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StackError::TooLarge => "arguments and environment are too large",
            StackError::NoMemory => "out of memory",
        })
    }
}

impl core::error::Error for StackError {}

impl From<NoMemory> for StackError {
    fn from(_: NoMemory) -> StackError {
        StackError::NoMemory
    }
}

/// What a program finds on its stack.
pub struct InitialStack<'a> {
    /// Arguments.
    pub arguments: &'a Strings,
    /// Environment.
    pub environment: &'a Strings,
    /// Auxiliary vector without AT_RANDOM, AT_EXECFN, AT_PLATFORM and AT_NULL, which are added.
    pub auxiliary: &'a [(u64, u64)],
    /// AT_EXECFN: the path that was executed.
    pub path: &'a [u8],
    /// The machine's name (AT_PLATFORM), with a zero at its end or not.
    pub platform: &'a [u8],
    /// The bytes AT_RANDOM points to.
    pub random: [u8; 16],
}

/// A stack as it was laid out: what the caller writes, and where. Everything else on it is zero.
#[derive(Debug)]
pub struct Laid<'a> {
    /// The stack pointer.
    pub sp: u64,
    /// What lies there: argc, the pointers, the auxiliary vector.
    pub words: Vec<u8>,
    /// The strings: address and bytes of each group.
    pub parts: [(u64, &'a [u8]); 5],
    /// The whole auxiliary vector.
    pub auxiliary: Vec<(u64, u64)>,
}

impl<'a> InitialStack<'a> {
    /// Lays it out to end at `top`, within `limit` bytes.
    ///
    /// # Errors
    /// See [`StackError`].
    pub fn build(&'a self, top: u64, limit: u64) -> Result<Laid<'a>, StackError> {
        // Each group behind the one before; the path's zero is what lies behind it.
        let groups = [
            &self.random[..],
            self.platform,
            self.arguments.as_bytes(),
            self.environment.as_bytes(),
            self.path,
        ];
        let zeroes = [0, 1, 0, 0, 1];
        let strings_len: u64 = groups.iter().zip(zeroes).map(|(group, zero)| group.len() as u64 + zero).sum();
        let auxiliary_len = self.auxiliary.len() + 4;
        let words = 1 + self.arguments.len() + 1 + self.environment.len() + 1 + 2 * auxiliary_len;
        let len = (words as u64 * 8).checked_add(strings_len + STACK_ALIGN).ok_or(StackError::TooLarge)?;
        if len > limit || len > top {
            return Err(StackError::TooLarge);
        }
        // The last word on a Linux stack is zero; the strings lie below it.
        let strings_at = top - 8 - strings_len;
        let sp = (strings_at - words as u64 * 8) & !(STACK_ALIGN - 1);
        if top - sp > limit {
            return Err(StackError::TooLarge);
        }
        let mut at = strings_at;
        let mut parts = [(0, &[][..]); 5];
        for ((part, group), zero) in parts.iter_mut().zip(groups).zip(zeroes) {
            *part = (at, group);
            at += group.len() as u64 + zero;
        }
        let [random, platform, arguments, environment, path] = parts.map(|(at, _)| at);
        let mut auxiliary = Vec::new();
        auxiliary.make_room(auxiliary_len)?;
        auxiliary.try_extend_from_slice(self.auxiliary)?;
        auxiliary.try_extend_from_slice(&[
            (AT_RANDOM, random),
            (AT_EXECFN, path),
            (AT_PLATFORM, platform),
            (AT_NULL, 0),
        ])?;

        let mut bytes = Vec::new();
        bytes.make_room(words * 8)?;
        let mut word = |value: u64| bytes.try_extend_from_slice(&value.to_le_bytes());
        word(self.arguments.len() as u64)?;
        for (group, start) in [(self.arguments, arguments), (self.environment, environment)] {
            let mut at = start;
            for string in group.iter() {
                word(at)?;
                at += string.len() as u64 + 1;
            }
            word(0)?;
        }
        for &(kind, value) in &auxiliary {
            word(kind)?;
            word(value)?;
        }
        Ok(Laid { sp, words: bytes, parts, auxiliary })
    }
}
