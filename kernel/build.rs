//! Tells the linker how the bare-metal kernel is laid out.
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let script = std::path::Path::new(&directory).join("../hal/link.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    println!("cargo::rustc-link-arg-bins=-T{}", script.display());
    // Relative relocations packed into bitmaps: 24 bytes each otherwise.
    println!("cargo::rustc-link-arg-bins=--pack-dyn-relocs=relr");
    println!("cargo::rustc-link-arg-bins=-znorelro");
    println!("cargo::rustc-link-arg-bins=-zmax-page-size=4096");
    println!("cargo::rustc-link-arg-bins=--gc-sections");
    // Functions that compile to the same bytes are kept once.
    println!("cargo::rustc-link-arg-bins=--icf=all");
}
