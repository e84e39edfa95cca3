//! The kernel's random generator (random(7)): seeded by the CPU at first use, and by virtio-rng when that answers.
use crate::lock::Mutex;
use coracle_hal::frame::FRAME_SIZE;
use coracle_hal::percpu::PerCpu;
use coracle_random::{Generator, KEY_BYTES};

/// One generator per CPU, so that nobody waits.
static GENERATORS: PerCpu<Mutex<Option<Generator>>> = PerCpu::new(|_| Mutex::new(None));

fn with<R>(generators: &Mutex<Option<Generator>>, f: impl FnOnce(&mut Generator) -> R) -> R {
    let mut guard = generators.lock();
    f(guard.get_or_insert_with(|| {
        let mut key = [0; KEY_BYTES];
        coracle_hal::random::fill(&mut key);
        Generator::new(key)
    }))
}

/// Fills `dst` with random bytes (getrandom(2), /dev/urandom). Never waits.
pub fn fill(dst: &mut [u8]) {
    with(GENERATORS.get(), |generator| generator.fill(dst));
}

/// A random number.
pub fn u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Chooses the addresses of programs where the command line fixes them (`seed=`), so that a run can be repeated.
static LAYOUT: Mutex<Option<Generator>> = Mutex::new(None);

/// From now on addresses follow from this number. Only for debugging: they can be foreseen.
pub fn fix_layout(seed: u64) {
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    *LAYOUT.lock() = Some(Generator::new(key));
}

/// Fills `dst` with random bytes for what a debugger sees of a program's layout: addresses, and the bytes at AT_RANDOM.
pub fn fill_layout(dst: &mut [u8]) {
    match &mut *LAYOUT.lock() {
        Some(generator) => generator.fill(dst),
        None => fill(dst),
    }
}

/// A random number for an address.
pub fn layout_u64() -> u64 {
    let mut bytes = [0; 8];
    fill_layout(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// A random number of bytes for an address: whole pages, as many as `bits` bits count.
pub fn layout_pages(bits: u32) -> usize {
    (layout_u64() as usize & ((1 << bits) - 1)) * FRAME_SIZE
}

/// Mixes in what a device or a program gives: it can't make things worse.
pub fn add_entropy(entropy: &[u8]) {
    for cpu in 0..coracle_hal::cpu::count() {
        with(GENERATORS.of(cpu), |generator| generator.mix(entropy));
    }
}
