//! Frames of any content arrive at a stack that listens in both families, and time passes between them.
//!
//! The input is a list of frames: a length byte, a byte of flags and time, then the frame from its Ethernet type on.
#![no_main]

use coracle_tcpip::*;
use libfuzzer_sys::fuzz_target;
use std::net::Ipv4Addr;
use std::sync::Arc;

#[derive(Clone)]
struct Memory(Arc<Vec<u8>>);

impl Buffer for Memory {
    fn as_slice(&self) -> &[u8] {
        &self.0
    }
    fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        Arc::get_mut(&mut self.0).map(|all| &mut all[..])
    }
}

struct Link;

impl Device for Link {
    type Buf = Memory;
    fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, 1]
    }
    fn mtu(&self) -> usize {
        1500
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities { tx_checksum: true, tso4_max: 65535, max_fragments: 36 }
    }
    fn alloc(&self) -> Option<Memory> {
        Some(Memory(Arc::new(vec![0; 2048])))
    }
    fn transmit(&self, frame: TxFrame<'_, Memory>) -> std::result::Result<(), Full> {
        assert!(frame.segment_size.is_some() || frame.len() <= 1514);
        Ok(())
    }
}

struct Nobody;

impl Events for Nobody {
    fn notify(&self, _: Readiness) {}
}

fuzz_target!(|data: &[u8]| {
    let stack: Stack<Link, Nobody> = Stack::new(Link, Config::new([1, 2, 3, 4])).unwrap();
    let mut now = 1_000_000_000;
    stack.set_ipv4(
        now,
        Some(Ipv4Config { address: Ipv4Addr::new(10, 0, 0, 1), prefix_len: 24, gateway: None }),
    );
    // Its address of the link is in use.
    stack.start_ipv6(now, None);
    now += 2_000_000_000;
    stack.poll(now);
    let any = |port| Endpoint::new(Address::ANY_V6, port);
    let listener = stack.tcp_socket(Nobody).unwrap();
    stack.tcp_set_options(&listener, now, |options| options.family = Family::Dual);
    stack.tcp_bind(&listener, any(80)).expect("bind");
    stack.tcp_listen(&listener, now, 8).expect("listen");
    let udp = stack.udp_socket(false, Nobody).unwrap();
    udp.set_options(|options| options.family = Family::Dual);
    stack.udp_bind(&udp, any(53)).expect("bind");
    let mut rest = data;
    while let [len, how, after @ ..] = rest {
        let len = usize::from(*len).min(after.len());
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        bytes.extend_from_slice(&after[..len]);
        rest = &after[len..];
        let (size, cut) = (bytes.len(), 14.max(usize::from(how >> 4) * 8).min(bytes.len()));
        let memory = Memory(Arc::new(bytes));
        let chunk = |from: usize, to: usize| Chunk::new(memory.clone(), from, to - from).expect("inside");
        let checksum = if how & 1 == 0 { RxChecksum::Valid } else { RxChecksum::Unknown };
        let (head, tail) =
            if how & 2 == 0 { (chunk(0, size), vec![]) } else { (chunk(0, cut), vec![chunk(cut, size)]) };
        stack.receive(now, RxFrame { head, rest: tail, checksum, segment_size: u16::from(how & 4) * 300 });
        now += u64::from(how >> 4) * 100_000_000;
        stack.poll(now);
        while let Ok(socket) = stack.tcp_accept(&listener, now, || Nobody) {
            let _ = stack.tcp_send(&socket, now, 3000, false, |room| room.len());
            let _ = stack.tcp_recv(&socket, || now, 100, false, |part| part.len());
            stack.tcp_close(&socket, now);
        }
        let _ = stack.udp_recv(&udp, false, |part| part.len());
    }
    now += 1_000_000_000_000;
    stack.poll(now);
});
