//! Clocks: time must run at its speed on machines that lack the sources it is usually taken from.
use crate::Case;
use coracle_tests::bare;
use std::path::Path;

pub const CASES: &[Case] = &[
    Case { name: "clock_by_the_hpet", test: || keeps("-machine q35", "the HPET"), tap: false },
    Case { name: "clock_by_acpi", test: || keeps("-machine q35,hpet=off", "ACPI's timer"), tap: false },
    Case {
        name: "clock_by_the_interval_timer",
        test: || keeps("-machine pc,hpet=off,acpi=off", "the interval timer"),
        tap: false,
    },
    Case {
        name: "clock_without_any_timer",
        test: || keeps("-machine microvm,acpi=off,rtc=off,pit=off,pic=off", "QEMU's local APIC"),
        tap: false,
    },
];

/// A CPU that says neither how fast it is nor that there is a hypervisor.
const SECRETIVE: &str = "-cpu qemu64,-hypervisor -m 64M";

/// The guest's seconds and the host's between two lines of output may differ by this factor: a busy host is no fault,
/// and the fault that was found was a factor of 12.
const FACTOR: f64 = 2.0;

/// Boots a guest that reads its clock, sleeps 3 s of it and reads again; `source` is what the kernel must name.
fn keeps(machine: &str, source: &str) -> Result<(), String> {
    let script =
        "read now rest < /proc/uptime; echo at $now; sleep 3; read now rest < /proc/uptime; echo at $now";
    let image = bare::image("clock", Path::new("/bin/busybox"), &["ash", "-c", script])?;
    let lines = bare::lines(&format!("{machine} {SECRETIVE}"), "log=info", &image, 2, |line| {
        line.starts_with("at ")
    })?;
    if !lines.iter().any(|(_, line)| line.contains("clock: ") && line.contains(source)) {
        return Err(format!("the kernel does not name {source}: {lines:?}"));
    }
    let mut read = lines
        .iter()
        .filter_map(|(time, line)| Some((time, line.strip_prefix("at ")?.trim().parse::<f64>().ok()?)));
    let (Some((begin, first)), Some((end, second))) = (read.next(), read.next()) else {
        return Err(format!("the guest did not read its clock twice: {lines:?}"));
    };
    let ratio = (second - first) / (*end - *begin).as_secs_f64();
    if (1.0 / FACTOR..FACTOR).contains(&ratio) {
        return Ok(());
    }
    Err(format!("the guest's clock runs {ratio} times as fast as the host's: {lines:?}"))
}
