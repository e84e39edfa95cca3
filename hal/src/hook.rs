//! Hooks: what a lower layer of the kernel calls, and a higher one gives.
//!
//! A hook is a value that the lower layer declares with its type, usually a structure of function pointers, and that the
//! higher layer defines. The linker binds the two, so that there is no moment at which a hook is empty. The value is a
//! constant that link-time optimisation sees: a call through it is compiled as a direct call, and is inlined like one.

/// Declares a hook. `hook! { $ /// Documentation. name: crate::path::Type = "symbol", given by give_name }` expands to a
/// function `name() -> &'static Type`, and to a macro `give_name!(VALUE)`, which is to be used exactly once: the linker
/// reports a hook that is missing, or given twice. The type is named by its full path, since it is written where the hook is
/// given, too; no two hooks may have one symbol. The `$` is passed on to the macro that is made. After `$ pub` the macro is
/// exported: another crate gives the hook, and paths begin with the declaring crate's name.
#[macro_export]
macro_rules! hook {
    ($dollar:tt pub $(#[$about:meta])* $name:ident: $type:ty = $symbol:literal, given by $give:ident) => {
        $crate::hook!(@declare $(#[$about])* $name: $type = $symbol);
        $crate::hook!(@give $dollar [#[macro_export]] $type = $symbol, $give);
    };
    ($dollar:tt $(#[$about:meta])* $name:ident: $type:ty = $symbol:literal, given by $give:ident) => {
        $crate::hook!(@declare $(#[$about])* $name: $type = $symbol);
        $crate::hook!(@give $dollar [] $type = $symbol, $give);
        pub(crate) use $give;
    };
    (@declare $(#[$about:meta])* $name:ident: $type:ty = $symbol:literal) => {
        $(#[$about])*
        #[inline(always)]
        pub fn $name() -> &'static $type {
            // SAFETY: the only definition of this symbol is made by the macro `hook!`, with this type.
            unsafe extern "Rust" {
                #[link_name = $symbol]
                safe static HOOK: $type;
            }
            &HOOK
        }
    };
    (@give $dollar:tt [$(#[$export:meta])?] $type:ty = $symbol:literal, $give:ident) => {
        $(#[$export])?
        #[doc(hidden)]
        macro_rules! $give {
            ($dollar value:expr) => {
                const _: () = {
                    #[unsafe(export_name = $symbol)]
                    static HOOK: $type = $dollar value;
                };
            };
        }
    };
}

#[cfg(test)]
mod tests {
    mod low {
        pub struct Adder {
            pub add: fn(u32, u32) -> u32,
        }

        hook! {
            $
            /// Adds.
            adder: crate::hook::tests::low::Adder = "coracle_test_adder", given by give_adder
        }
    }

    mod high {
        fn add(a: u32, b: u32) -> u32 {
            a + b
        }

        super::low::give_adder!(crate::hook::tests::low::Adder { add });
    }

    #[test]
    fn a_hook_calls_what_is_given() {
        assert_eq!((low::adder().add)(2, 3), 5);
    }
}
