//! A panic of the main thread: its message on stderr and status 101.
fn main() {
    println!("before");
    std::panic::set_hook(Box::new(|info| eprintln!("panicked: {}", info.payload().downcast_ref::<&str>().unwrap())));
    panic!("at the disco");
}
