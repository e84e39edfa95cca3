//! Device types and their specific layouts (virtio 1.2, chapter 5).
pub mod block;
pub mod console;
pub mod file_system;
pub mod net;
pub mod share;
pub mod vsock;

/// Device ids (section 5).
#[allow(missing_docs)]
pub mod id {
    pub const NET: u32 = 1;
    pub const BLOCK: u32 = 2;
    pub const CONSOLE: u32 = 3;
    pub const ENTROPY: u32 = 4;
    pub const SHARE: u32 = 9;
    pub const VSOCK: u32 = 19;
    pub const FILE_SYSTEM: u32 = 26;
}

/// Feature bits that every device type shares (section 6).
pub mod features {
    /// VIRTIO_F_INDIRECT_DESC
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// VIRTIO_F_EVENT_IDX
    pub const EVENT_IDX: u64 = 1 << 29;
    /// VIRTIO_F_ANY_LAYOUT, of legacy devices: headers need no descriptor of their own (section 6.3).
    pub const ANY_LAYOUT: u64 = 1 << 27;
    /// VIRTIO_F_VERSION_1: the device is used by its modern interface.
    pub const VERSION_1: u64 = 1 << 32;
    /// VIRTIO_F_ACCESS_PLATFORM: the device sits behind an IOMMU.
    pub const ACCESS_PLATFORM: u64 = 1 << 33;

    /// `features` less those that need one that is not among them; `dependencies` are pairs of a feature and one that it
    /// needs. A device may offer a feature without what that needs, and the driver must not accept it then (section
    /// 2.2.1).
    pub fn without_dependents(mut features: u64, dependencies: &[(u64, u64)]) -> u64 {
        loop {
            let left_out = dependencies
                .iter()
                .filter(|(_, needed)| features & needed == 0)
                .fold(0, |all, (dependent, _)| all | dependent);
            if features & left_out == 0 {
                return features;
            }
            features &= !left_out;
        }
    }
}

/// Bits of the device status field (section 2.1).
#[allow(missing_docs)]
pub mod status {
    pub const ACKNOWLEDGE: u8 = 1;
    pub const DRIVER: u8 = 2;
    pub const DRIVER_OK: u8 = 4;
    pub const FEATURES_OK: u8 = 8;
    pub const NEEDS_RESET: u8 = 64;
    pub const FAILED: u8 = 128;
}

#[cfg(test)]
mod tests {
    use super::features::without_dependents;
    use super::net::{DEPENDENCIES, features::*};

    #[test]
    fn features_go_with_what_they_need() {
        let all = CSUM | GUEST_CSUM | GUEST_TSO4 | HOST_TSO4 | MRG_RXBUF | MAC;
        assert_eq!(without_dependents(all, DEPENDENCIES), all);
        assert_eq!(without_dependents(all & !MRG_RXBUF, DEPENDENCIES), CSUM | GUEST_CSUM | HOST_TSO4 | MAC);
        assert_eq!(without_dependents(all & !GUEST_CSUM, DEPENDENCIES), CSUM | HOST_TSO4 | MRG_RXBUF | MAC);
        assert_eq!(without_dependents(all & !CSUM, DEPENDENCIES), all & !CSUM & !HOST_TSO4);
    }

    #[test]
    fn what_is_left_out_takes_others_along() {
        // 4 needs 2, 2 needs 1.
        assert_eq!(without_dependents(0b1110, &[(4, 2), (2, 1)]), 0b1000);
    }
}
