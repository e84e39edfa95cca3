//! SYN cookies: under a flood a SYN is answered without keeping any state. The state is encoded in
//! our sequence number and timestamp (D. J. Bernstein, 1996; the encoding follows Linux's).

use super::demux::Tuple;
use super::seq::Seq;
use crate::hash::Key;

/// The counter in a cookie advances once in so many ns (2^36, about 69 s).
const PERIOD_SHIFT: u32 = 36;
/// A cookie is good for this many periods.
const MAX_AGE: u32 = 2;
const COUNT_SHIFT: u32 = 24;
const DATA_MASK: u32 = (1 << COUNT_SHIFT) - 1;
/// The segment sizes that a cookie can encode, the most common ones.
const SIZES: [u16; 4] = [536, 1300, 1440, 1460];

/// Bits of our timestamp that carry the peer's options.
const OPTION_BITS: u32 = 6;
const OPTION_MASK: u32 = (1 << OPTION_BITS) - 1;
const SACK_BIT: u32 = 1 << 4;
const NO_SCALE: u32 = 15;

/// What a cookie encodes of the SYN that it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieOptions {
    /// Window scale.
    pub scale: Option<u8>,
    /// SACK permitted.
    pub sack: bool,
}

fn hashes(key: Key, tuple: &Tuple, count: u32) -> (u32, u32) {
    let hash = tuple.hash(key);
    (hash as u32, key.hash(hash, u64::from(count)) as u32)
}

/// The sequence number to answer a SYN with.
pub fn make(key: Key, tuple: &Tuple, irs: Seq, mss: u16, now: u64) -> Seq {
    let count = (now >> PERIOD_SHIFT) as u32;
    let (fixed, varying) = hashes(key, tuple, count);
    let index = SIZES.iter().rposition(|size| *size <= mss).unwrap_or(0) as u32;
    let data = varying.wrapping_add(index) & DATA_MASK;
    Seq(fixed.wrapping_add(irs.0).wrapping_add(count << COUNT_SHIFT).wrapping_add(data))
}

/// The segment size encoded in a cookie that an acknowledgement returns, if it is one of ours and not too old.
pub fn check(key: Key, tuple: &Tuple, irs: Seq, cookie: Seq, now: u64) -> Option<u16> {
    let count = (now >> PERIOD_SHIFT) as u32;
    let fixed = tuple.hash(key) as u32;
    let rest = cookie.0.wrapping_sub(fixed).wrapping_sub(irs.0);
    let age = (count.wrapping_sub(rest >> COUNT_SHIFT)) & (u32::MAX >> COUNT_SHIFT);
    if age >= MAX_AGE {
        return None;
    }
    let (_, varying) = hashes(key, tuple, count.wrapping_sub(age));
    let index = rest.wrapping_sub(varying) & DATA_MASK;
    SIZES.get(index as usize).copied()
}

/// Hides the peer's options in our timestamp.
pub fn hide(timestamp: u32, options: CookieOptions) -> u32 {
    let scale = options.scale.map_or(NO_SCALE, u32::from);
    timestamp & !OPTION_MASK | if options.sack { SACK_BIT } else { 0 } | scale
}

/// Finds them in the timestamp that was echoed.
pub fn find(echo: u32) -> CookieOptions {
    let scale = echo & (SACK_BIT - 1);
    CookieOptions { scale: (scale != NO_SCALE).then_some(scale as u8), sack: echo & SACK_BIT != 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip::Address;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn comes_back(local: u32, remote: u32, local_port: u16, remote_port: u16, irs: u32, now in 0u64..1 << 60, wait in 0u64..60_000_000_000) {
            let key = Key(1, 2);
            let (local, remote) = (Address::v4(local), Address::v4(remote));
            let tuple = Tuple { local, remote, local_port, remote_port };
            let cookie = make(key, &tuple, Seq(irs), 1452, now);
            prop_assert_eq!(check(key, &tuple, Seq(irs), cookie, now + wait), Some(1440));
            prop_assert_eq!(check(key, &tuple, Seq(irs), cookie, now + (3 << PERIOD_SHIFT)), None);
            prop_assert_eq!(check(key, &tuple, Seq(irs) + 0x3000_0000, cookie, now), None);
        }

        #[test]
        fn options_come_back(ts: u32, scale in proptest::option::of(0u8..15), sack: bool) {
            let options = CookieOptions { scale, sack };
            prop_assert_eq!(find(hide(ts, options)), options);
        }
    }
}
