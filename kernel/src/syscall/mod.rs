//! System calls: one table, one function per call, in a file named after its family.
pub mod call;
pub mod table;
