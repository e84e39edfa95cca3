//! The numbers of system calls in guests of other architectures: the table of this command has those of x86-64.

use std::sync::OnceLock;

use coracle_control::{CALLS, CHOICE_BYTES, Capture};
use syscalls::aarch64::Sysno;

use super::calls;
use crate::arch::Arch;

/// Calls that are called otherwise in the list of aarch64 than in the table, and by strace(1).
const OTHER_NAMES: [(&str, &str); 1] = [("newfstatat", "fstatat")];

/// Numbers on aarch64 by those on x86-64; `None`: there is no such call.
fn aarch64() -> &'static [Option<u16>] {
    static NUMBERS: OnceLock<Vec<Option<u16>>> = OnceLock::new();
    NUMBERS.get_or_init(|| {
        let named = |number| {
            let name = calls::name(number)?;
            let other = OTHER_NAMES.iter().find(|(own, _)| *own == name).map_or(name, |(_, other)| *other);
            Sysno::iter().find(|call| call.name() == other)
        };
        (0..CALLS).map(|number| named(number).and_then(|found| u16::try_from(found.id()).ok())).collect()
    })
}

/// The number in a guest of a call of the table.
fn in_guest(arch: Arch, number: u16) -> Option<u16> {
    match arch {
        Arch::X86_64 => Some(number),
        Arch::Aarch64 => aarch64().get(usize::from(number)).copied().flatten(),
    }
}

/// The number in the table of a call of a guest; one that is in no table if there is no such call.
pub fn of_guest(arch: Arch, number: u16) -> u16 {
    match arch {
        Arch::X86_64 => number,
        Arch::Aarch64 => {
            let place = aarch64().iter().position(|&known| known == Some(number));
            place.and_then(|place| u16::try_from(place).ok()).unwrap_or(u16::MAX)
        }
    }
}

/// A choice of calls of the table, and what is captured of them, as a guest has their numbers.
pub fn choice_for(arch: Arch, bits: &[u8; CHOICE_BYTES], captures: &[Capture]) -> Vec<u8> {
    let mut own = [0; CHOICE_BYTES];
    for number in 0..CALLS {
        let is_chosen = bits[number / 8] & 1 << (number % 8) != 0;
        let number = u16::try_from(number).ok().and_then(|number| in_guest(arch, number));
        if let Some(number) = number.map(usize::from).filter(|&number| is_chosen && number < CALLS) {
            own[number / 8] |= 1 << (number % 8);
        }
    }
    let captures = captures.iter().filter_map(|capture| {
        let call = in_guest(arch, capture.call)?;
        Some(Capture { call, ..*capture }.encode())
    });
    own.into_iter().chain(captures.flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_there_and_back() {
        let openat = libc::SYS_openat as u16;
        assert_eq!(in_guest(Arch::Aarch64, openat), Some(56));
        assert_eq!(of_guest(Arch::Aarch64, 56), openat);
        assert_eq!(in_guest(Arch::Aarch64, libc::SYS_open as u16), None);
        assert_eq!(of_guest(Arch::Aarch64, 79), libc::SYS_newfstatat as u16);
        assert_eq!(of_guest(Arch::Aarch64, 400), u16::MAX);
        assert_eq!(in_guest(Arch::X86_64, 400), Some(400));
    }

    #[test]
    fn a_choice_in_other_numbers() {
        let mut bits = [0; CHOICE_BYTES];
        for call in [libc::SYS_open as usize, libc::SYS_openat as usize] {
            bits[call / 8] |= 1 << (call % 8);
        }
        let capture =
            |call: i64| Capture { call: call as u16, argument: 1, extent: coracle_control::Extent::String };
        let choice = choice_for(Arch::Aarch64, &bits, &[capture(libc::SYS_open), capture(libc::SYS_openat)]);
        let (own, captures) = choice.split_first_chunk::<CHOICE_BYTES>().unwrap();
        assert_eq!(own.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
        assert_eq!(own[56 / 8], 1 << (56 % 8));
        assert_eq!(captures, Capture { call: 56, ..capture(0) }.encode());
    }
}
