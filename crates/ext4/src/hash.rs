//! The hashes of names by which large directories are indexed: Linux's `fs/ext4/hash.c`.

/// Which hash a directory has: `dx_root_info.hash_version`, and whether characters have signs (`s_flags`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub number: u8,
    pub unsigned: bool,
}

const LEGACY: u8 = 0;
const HALF_MD4: u8 = 1;
const TEA: u8 = 2;
/// Added to a version where the characters of names have no sign.
const UNSIGNED: u8 = 3;
/// What hashes begin with if the file system has no seed.
const DEFAULT_SEED: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
/// The largest hash means the end of a directory; no name has it.
const END: u32 = 0xffff_fffe;

impl Version {
    /// The version that a directory's root names; `None` if it is none of those.
    pub fn new(number: u8, unsigned: bool) -> Option<Version> {
        match number {
            LEGACY..=TEA => Some(Version { number, unsigned }),
            _ => {
                let number = number.checked_sub(UNSIGNED).filter(|number| *number <= TEA)?;
                Some(Version { number, unsigned: true })
            }
        }
    }
}

fn character(byte: u8, unsigned: bool) -> u32 {
    if unsigned { byte.into() } else { byte as i8 as u32 }
}

/// The hash of a name. Its lowest bit is clear.
pub(crate) fn hash(name: &[u8], version: Version, seed: &[u32; 4]) -> u32 {
    let mut state = if seed.iter().all(|word| *word == 0) { DEFAULT_SEED } else { *seed };
    let hash = match version.number {
        LEGACY => legacy(name, version.unsigned),
        HALF_MD4 => {
            for at in (0..name.len()).step_by(32) {
                half_md4(&mut state, &words(&name[at..], 8, version.unsigned));
            }
            state[1]
        }
        _ => {
            for at in (0..name.len()).step_by(16) {
                tea(&mut state, &words(&name[at..], 4, version.unsigned));
            }
            state[0]
        }
    };
    let hash = hash & !1;
    if hash == END { END - 2 } else { hash }
}

fn legacy(name: &[u8], unsigned: bool) -> u32 {
    let (mut first, mut second) = (0x12a3_fe2d_u32, 0x37ab_e8f9_u32);
    for byte in name {
        let mut next = second.wrapping_add(first ^ character(*byte, unsigned).wrapping_mul(7_152_373));
        if next & 0x8000_0000 != 0 {
            next = next.wrapping_sub(0x7fff_ffff);
        }
        second = first;
        first = next;
    }
    first << 1
}

/// The characters as words, of which there are `count`; what is missing is filled with the length of what is left.
fn words(name: &[u8], count: usize, unsigned: bool) -> [u32; 8] {
    let len = name.len() as u32 & 0xff;
    let pad = len | len << 8;
    let pad = pad | pad << 16;
    let mut words = [pad; 8];
    for (word, bytes) in words.iter_mut().zip(name[..name.len().min(4 * count)].chunks(4)) {
        *word = bytes.iter().fold(pad, |word, byte| character(*byte, unsigned).wrapping_add(word << 8));
    }
    words
}

/// 16 rounds of the Tiny Encryption Algorithm.
fn tea(state: &mut [u32; 4], key: &[u32; 8]) {
    const DELTA: u32 = 0x9e37_79b9;
    let (mut first, mut second, mut sum) = (state[0], state[1], 0_u32);
    for _ in 0..16 {
        sum = sum.wrapping_add(DELTA);
        first = first.wrapping_add(
            (second << 4).wrapping_add(key[0])
                ^ second.wrapping_add(sum)
                ^ (second >> 5).wrapping_add(key[1]),
        );
        second = second.wrapping_add(
            (first << 4).wrapping_add(key[2]) ^ first.wrapping_add(sum) ^ (first >> 5).wrapping_add(key[3]),
        );
    }
    state[0] = state[0].wrapping_add(first);
    state[1] = state[1].wrapping_add(second);
}

/// MD4 with half its steps.
fn half_md4(state: &mut [u32; 4], words: &[u32; 8]) {
    const ROUNDS: [(u32, [usize; 8], [u32; 4]); 3] = [
        (0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
        (0x5a82_7999, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]),
        (0x6ed9_eba1, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
    ];
    // No function pointers: a kernel wants to know all that is called.
    let mix = |round: usize, x: u32, y: u32, z: u32| match round {
        0 => z ^ (x & (y ^ z)),
        1 => (x & y).wrapping_add((x ^ y) & z),
        _ => x ^ y ^ z,
    };
    let mut mixed = *state;
    for (round, (constant, order, shifts)) in ROUNDS.into_iter().enumerate() {
        for (step, index) in order.into_iter().enumerate() {
            // The words a, d, c, b take turns in being changed.
            let [a, b, c, d] = [0, 1, 2, 3].map(|word| (word + 4 - step % 4) % 4);
            mixed[a] = mixed[a]
                .wrapping_add(mix(round, mixed[b], mixed[c], mixed[d]))
                .wrapping_add(words[index].wrapping_add(constant))
                .rotate_left(shifts[step % 4]);
        }
    }
    for (word, mixed) in state.iter_mut().zip(mixed) {
        *word = word.wrapping_add(mixed);
    }
}
