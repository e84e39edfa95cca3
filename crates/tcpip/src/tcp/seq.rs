//! Sequence numbers: 32-bit, compared modulo 2^32 (RFC 9293, 3.4).

use core::ops::{Add, AddAssign, Sub};

/// A sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Seq(pub u32);

impl Seq {
    /// `self < other`, if they are less than 2^31 apart.
    #[inline(always)]
    pub fn before(self, other: Seq) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// `self > other`, if they are less than 2^31 apart.
    #[inline(always)]
    pub fn after(self, other: Seq) -> bool {
        other.before(self)
    }

    /// The later of the two.
    #[inline(always)]
    pub fn max(self, other: Seq) -> Seq {
        if self.before(other) { other } else { self }
    }

    /// The earlier of the two.
    #[inline(always)]
    pub fn min(self, other: Seq) -> Seq {
        if self.after(other) { other } else { self }
    }
}

impl Add<u32> for Seq {
    type Output = Seq;
    #[inline(always)]
    fn add(self, count: u32) -> Seq {
        Seq(self.0.wrapping_add(count))
    }
}

impl AddAssign<u32> for Seq {
    #[inline(always)]
    fn add_assign(&mut self, count: u32) {
        *self = *self + count;
    }
}

impl Sub for Seq {
    type Output = u32;
    /// How far `self` is after `other`.
    #[inline(always)]
    fn sub(self, other: Seq) -> u32 {
        self.0.wrapping_sub(other.0)
    }
}

impl Sub<u32> for Seq {
    type Output = Seq;
    #[inline(always)]
    fn sub(self, count: u32) -> Seq {
        Seq(self.0.wrapping_sub(count))
    }
}
