//! Reads any bytes as answers of NTP servers and name servers: nothing panics, and what is accepted is in bounds.
#![no_main]

use coracle_sntp::{Sample, Samples, correction, parse};
use coracle_stub_resolver::{Kind, LONGEST_QUESTION, answer, question};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], u64, i64, i64, &str)| {
    let (bytes, cookie, sent_ns, elapsed_ns, name) = input;
    if let Ok(reply) = parse(bytes, cookie) {
        assert!((1..=15).contains(&reply.stratum) && reply.distance_ns >= 0);
        if let Some(sample) = Sample::new(&reply, sent_ns, elapsed_ns) {
            assert!(sample.delay_ns >= 0);
            let _ = correction(&sample);
            Samples::new().take(sample);
        }
    }
    let mut out = [0; LONGEST_QUESTION];
    if let Some(len) = question(cookie as u16, name, Kind::V4, &mut out) {
        let _ = answer(bytes, &out[..len]);
        let mut whole = out[..len].to_vec();
        whole[2] |= 0x80;
        whole[7] = 3;
        whole.extend_from_slice(bytes);
        assert!(answer(&whole, &out[..len]).is_some());
    }
});
