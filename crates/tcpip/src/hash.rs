//! SipHash-1-3 of fixed-size input, keyed with the stack's secret.
//!
//! It spreads connections over the hash tables and makes initial sequence numbers, SYN cookies and ports; an outsider must not
//! be able to predict any of them. (Aumasson and Bernstein, "SipHash: a fast short-input PRF".)

/// A key.
#[derive(Clone, Copy, Debug)]
pub struct Key(pub u64, pub u64);

impl Key {
    /// The hash of two words.
    #[inline]
    pub fn hash(self, a: u64, b: u64) -> u64 {
        let mut state = [
            self.0 ^ 0x736f_6d65_7073_6575,
            self.1 ^ 0x646f_7261_6e64_6f6d,
            self.0 ^ 0x6c79_6765_6e65_7261,
            self.1 ^ 0x7465_6462_7974_6573,
        ];
        for word in [a, b] {
            state[3] ^= word;
            round(&mut state);
            state[0] ^= word;
        }
        state[2] ^= 0xff;
        round(&mut state);
        round(&mut state);
        round(&mut state);
        state[0] ^ state[1] ^ state[2] ^ state[3]
    }
}

impl Key {
    /// A hash for tables: faster and not as strong. Its values must stay secret; without the key an attacker cannot choose
    /// inputs that collide. (Two folded multiplications, as in wyhash and foldhash.)
    #[inline(always)]
    pub fn spread(self, a: u64, b: u64) -> u64 {
        let first = fold(a ^ self.0, b ^ self.1);
        fold(first ^ self.1, self.0 | 1)
    }
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[inline(always)]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn spreads_connections() {
        let key = Key(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
        let mut buckets = [0u32; 256];
        for address in 0..64u64 {
            for port in 0..1024u64 {
                buckets[(key.spread(0x0a00_0001 << 32 | address, 80 << 16 | (1024 + port)) >> 32)
                    as usize
                    % 256] += 1;
            }
        }
        assert!(buckets.iter().all(|n| (150..370).contains(n)), "{buckets:?}");
    }

    #[test]
    fn depends_on_every_bit() {
        let key = Key(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
        let base = key.hash(5, 7);
        for bit in 0..64 {
            for other in [
                key.hash(5 ^ (1 << bit), 7),
                key.hash(5, 7 ^ (1 << bit)),
                Key(key.0 ^ (1 << bit), key.1).hash(5, 7),
                Key(key.0, key.1 ^ (1 << bit)).hash(5, 7),
            ] {
                let changed = (base ^ other).count_ones();
                assert!((10..=54).contains(&changed), "bit {bit}: {changed} bits changed");
            }
        }
    }
}
