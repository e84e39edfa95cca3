//! Ends by a panic, with a function to be found in its core.
#[inline(never)]
fn inner(values: &[u32]) -> u32 {
    values[std::hint::black_box(7)]
}

fn main() {
    let worker = std::thread::spawn(|| std::thread::park());
    println!("{}", inner(&[1, 2, 3]));
    let _ = worker.join();
}
