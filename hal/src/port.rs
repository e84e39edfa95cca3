//! x86 I/O ports.

#[allow(missing_docs)]
pub fn read8(port: u16) -> u8 {
    let _ = port;
    todo!()
}
#[allow(missing_docs)]
pub fn write8(port: u16, value: u8) {
    let _ = (port, value);
    todo!()
}
#[allow(missing_docs)]
pub fn read32(port: u16) -> u32 {
    let _ = port;
    todo!()
}
#[allow(missing_docs)]
pub fn write32(port: u16, value: u32) {
    let _ = (port, value);
    todo!()
}
