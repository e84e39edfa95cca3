# To be sourced: sets `guest`, the flags with which scripts/cargo.sh builds the guest's packages for the bare machine: for the
# target `guest_target`, x86-64's if that is not set. Where the toolchain lacks the target, Debian's builds the standard
# library's core itself, as cli/build.rs does.
guest_target=${guest_target:-x86_64-unknown-none}
guest=(--target "$guest_target")
if ! ls "$(rustc --print target-libdir --target "$guest_target")"/libcore-* >/dev/null 2>&1; then
    export CARGO_OF=debian RUSTC_BOOTSTRAP=1
    guest+=(-Zbuild-std=core,alloc,compiler_builtins)
fi
