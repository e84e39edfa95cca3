# To be sourced: sets `guest`, the flags with which scripts/cargo.sh checks the guest's packages for the bare machine.
# Where the toolchain lacks the target, Debian's builds the standard library's core itself, as cli/build.rs does.
guest=(--target x86_64-unknown-none)
if ! ls "$(rustc --print target-libdir --target x86_64-unknown-none)"/libcore-* >/dev/null 2>&1; then
    export CARGO_OF=debian RUSTC_BOOTSTRAP=1
    guest+=(-Zbuild-std=core,alloc,compiler_builtins)
fi
