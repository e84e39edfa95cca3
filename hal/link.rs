//! How a bare-metal kernel is linked, for the build scripts of the kernels there are (they include this file).
use std::path::Path;

/// Tells cargo the linker's arguments, if it builds for the bare machine. `hal` is this folder.
pub fn kernel(hal: &Path) {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let script = hal.join("link.ld");
    for file in [&script, &hal.join("link.rs")] {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    // The compiler knows this target as one for fixed addresses only, and does not ask for a position-independent file.
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("aarch64") {
        println!("cargo::rustc-link-arg-bins=-pie");
        println!("cargo::rustc-link-arg-bins=--no-dynamic-linker");
    }
    let layout = format!("-T{}", script.display());
    for argument in [
        layout.as_str(),
        // Relative relocations packed into bitmaps: 24 bytes each otherwise.
        "--pack-dyn-relocs=relr",
        "-znorelro",
        "-zmax-page-size=4096",
        "--gc-sections",
        // Functions that compile to the same bytes are kept once.
        "--icf=all",
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
