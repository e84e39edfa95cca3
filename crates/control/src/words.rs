//! Structures that are sent as words of 64 bits, little-endian.

/// Defines a structure of words.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl $name {
            /// Its bytes as it is sent.
            pub const BYTES: usize = 8 * [$(stringify!($field)),*].len();

            /// As it is sent.
            pub fn encode(&self) -> [u8; $name::BYTES] {
                let mut bytes = [0; $name::BYTES];
                for (place, word) in bytes.chunks_exact_mut(8).zip([$(self.$field),*]) {
                    place.copy_from_slice(&word.to_le_bytes());
                }
                bytes
            }

            /// From the front of `bytes`, with what follows; `None` if there are too few.
            pub fn decode(bytes: &[u8]) -> Option<($name, &[u8])> {
                let (own, rest) = bytes.split_at_checked($name::BYTES)?;
                let mut words = own.chunks_exact(8).filter_map(|word| word.try_into().ok().map(u64::from_le_bytes));
                Some(($name { $($field: words.next()?,)* }, rest))
            }
        }
    };
}
