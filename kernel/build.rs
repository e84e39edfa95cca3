//! Tells the linker how the kernel is laid out.
#[path = "../hal/link.rs"]
mod link;

fn main() {
    link::kernel(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../hal"));
}
