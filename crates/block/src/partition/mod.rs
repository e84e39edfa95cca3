//! Partition tables: GPT (UEFI specification 2.10, section 5.3) and MBR (section 5.2.1, with the chain of extended
//! partitions that DOS began).
mod gpt;
mod mbr;
mod table;
mod view;

pub use table::{Partition, Scheme, Table, read_table};
pub use view::View;
