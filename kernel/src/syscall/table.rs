//! The system-call table: number, name, function, and what of the call is supported. docs/ is generated from this file.
use super::call::Call;
use crate::errno::SysResult;

/// A system call's function.
pub type Handler = fn(&mut Call) -> SysResult;

/// Numbers below this may have a function.
pub const TABLE_SIZE: usize = 462;

/// `number name function "what is supported";` The note is for the documentation and not compiled in.
macro_rules! system_calls {
    ($($number:literal $name:ident $function:path, $note:literal;)*) => {
        /// The function of each system call, by number.
        pub static TABLE: [Option<Handler>; TABLE_SIZE] = {
            let mut table: [Option<Handler>; TABLE_SIZE] = [None; TABLE_SIZE];
            $(table[$number] = Some($function);)*
            table
        };
    };
}

system_calls! {
    // files and descriptors (helper FS)
    // memory, processes, threads, signals, time (helper CORE)
    // sockets (helper DRV)
}
