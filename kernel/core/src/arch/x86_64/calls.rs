//! The numbers of system calls: those of the table.

/// `Some` of the number of a call of the table.
#[macro_export]
macro_rules! call_number {
    ($table:literal $name:ident) => {
        Some($table)
    };
}
