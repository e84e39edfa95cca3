//! Filters of packets in the language of pcap-filter(7), made into programs of classic BPF for Ethernet frames: the guest runs them, so
//! that only what is wanted is copied.

mod generate;
mod parse;

use coracle_bpf::{Instruction, Program};

use crate::error::{Error, Result};

/// What is understood of the language.
const LANGUAGE: &str = "understood are host, net, port and portrange with src, dst, ip, ip6, arp, tcp, udp and icmp; ether host; \
                        less, greater, broadcast, multicast; comparisons such as `tcp[tcpflags] & tcp-syn != 0`; and, or, not, ( )";

/// The program for a filter. An empty one takes all packets.
///
/// # Errors
/// If it can't be understood, or is longer than a guest takes.
pub fn compile(text: &str) -> Result<Vec<Instruction>> {
    let wrong =
        |why: String| Error::new(format!("the filter `{text}` is not understood")).why(why).help(LANGUAGE);
    let Some(condition) = parse::parse(text).map_err(wrong)? else { return Ok(Vec::new()) };
    let program = generate::generate(&condition).map_err(wrong)?;
    Program::new(program.iter().copied())
        .map_err(|fault| Error::new(format!("the filter `{text}` cannot be used")).why(fault))?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// An Ethernet frame of IPv4.
    fn ipv4(protocol: u8, ends: [[u8; 4]; 2], ports: [u16; 2], flags: u8) -> Vec<u8> {
        let mut frame =
            vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
        frame.extend(ends.concat());
        frame.extend(ports.map(u16::to_be_bytes).concat());
        frame.extend([0; 9]);
        frame.push(flags);
        frame.extend([0; 30]);
        frame
    }

    fn ipv6(protocol: u8, ends: [[u8; 16]; 2], ports: [u16; 2]) -> Vec<u8> {
        let mut frame =
            vec![0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, protocol, 64];
        frame.extend(ends.concat());
        frame.extend(ports.map(u16::to_be_bytes).concat());
        frame.extend([0; 40]);
        frame
    }

    fn packets() -> Vec<Vec<u8>> {
        let (a, b, c) = ([10, 0, 2, 15], [10, 0, 2, 2], [192, 168, 7, 9]);
        let one = *b"\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x01";
        let mut two = one;
        two[15] = 2;
        let mut fragment = ipv4(6, [a, b], [80, 80], 0);
        fragment[20..22].copy_from_slice(&[0, 9]);
        let mut arp = vec![0xff; 6];
        arp.extend([2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2]);
        arp.extend(b);
        arp.extend([0; 6]);
        arp.extend(a);
        vec![
            ipv4(6, [a, b], [80, 40_000], 2),
            ipv4(6, [b, a], [40_000, 80], 0x12),
            ipv4(6, [a, c], [8080, 443], 0x11),
            ipv4(17, [a, c], [53, 5353], 0),
            ipv4(17, [c, a], [5353, 53], 0),
            ipv4(1, [a, b], [0x0800, 0], 0),
            ipv6(6, [one, two], [80, 50_000]),
            ipv6(58, [two, one], [0x8000, 0]),
            ipv6(17, [one, two], [50_000, 53]),
            fragment,
            arp,
            vec![0; 20],
        ]
    }

    /// Filters, each with a letter for every packet: `x` if it is taken.
    const FILTERS: &[(&str, &str)] = &[
        ("", "xxxxxxxxxxxx"),
        ("tcp", "xxx...x..x.."),
        ("ip", "xxxxxx...x.."),
        ("ip6", "......xxx..."),
        ("arp", "..........x."),
        ("icmp or icmp6", ".....x.x...."),
        ("port 80", "xx....x....."),
        ("tcp port 80", "xx....x....."),
        ("tcp dst port 80", ".x.........."),
        ("src port 80 and ip6", "......x....."),
        ("udp port 53 or 5353", "...xx...x..."),
        ("portrange 8000-9000", "..x........."),
        ("host 10.0.2.2", "xx...x...xx."),
        ("src host 10.0.2.2", ".x........x."),
        ("dst 192.168.7.9", "..xx........"),
        ("net 192.168.7.0/24", "..xxx......."),
        ("ip src net 10.0.2.0/24 and not port 80", "..xx.x...x.."),
        ("host fe80::2", "......xxx..."),
        ("src fe80::1 and udp", "........x..."),
        ("net fe80::/64 and tcp", "......x....."),
        ("tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "xxx........."),
        ("tcp[13] & 2 != 0 and tcp[13] & 16 = 0", "x..........."),
        ("tcp[tcpflags] == tcp-syn", "x..........."),
        ("ip[8] < 65 && ip[9] = 17", "...xx......."),
        ("udp[2:2] > 5000", "...x........"),
        ("(tcp or udp) and not host 10.0.2.2", "..xxx.x.x..."),
        ("! ip and ! ip6", "..........xx"),
        ("not tcp and udp", "...xx...x..."),
        ("tcp port 443 or udp dst port 53", "..x.x...x..."),
        ("less 60", "..........xx"),
        ("greater 90", "......xxx..."),
        ("broadcast", "..........x."),
        ("multicast", "......xxx.x."),
        ("ether host 02:00:00:00:00:02", "xxxxxxxxxxx."),
        ("len > 20", "xxxxxxxxxxx."),
        ("ip[0] & 0xf * 4 - 20 = 0 and udp", "...xx......."),
        ("(ip[0] & 0xf) * 4 - 20 = 0 and udp", "...xx......."),
        ("ether[12:2] = 0x806", "..........x."),
        ("icmp[0] = 8 or icmp[0] = 0", ".....x......"),
    ];

    fn taken(program: &[Instruction]) -> String {
        let checked = (!program.is_empty()).then(|| Program::new(program.iter().copied()).unwrap());
        let takes = |packet: &Vec<u8>| checked.as_ref().is_none_or(|program| program.run(&packet[..]) > 0);
        packets().iter().map(|packet| if takes(packet) { 'x' } else { '.' }).collect()
    }

    #[test]
    fn filters_take_what_they_say() {
        for (text, wanted) in FILTERS {
            let program = compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(taken(&program), *wanted, "{text}: {program:?}");
        }
    }

    /// What tcpdump makes of the same filters takes the same packets.
    #[test]
    fn filters_mean_what_tcpdump_means() {
        for (text, _) in FILTERS {
            let asked = Command::new("tcpdump").args(["-y", "EN10MB", "-ddd", text]).output();
            // It may not be installed.
            let Ok(asked) = asked else { return };
            let told = String::from_utf8_lossy(&asked.stdout);
            let lines = told.lines().skip(1).map(|line| {
                let numbers: Vec<u32> = line.split(' ').map(|number| number.parse().unwrap()).collect();
                let [code, if_true, if_false, k] = numbers[..] else { panic!("{line}") };
                Instruction { code: code as u16, if_true: if_true as u8, if_false: if_false as u8, k }
            });
            let theirs: Vec<Instruction> = lines.collect();
            assert!(asked.status.success() && !theirs.is_empty(), "{text}: {asked:?}");
            assert_eq!(taken(&compile(text).unwrap()), taken(&theirs), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for text in [
            "port",
            "port 70000",
            "tcp and",
            "(tcp",
            "vlan 3",
            "host",
            "net 10.0.0.0/40",
            "tcp[",
            "80",
            "tcp)",
        ] {
            assert!(compile(text).is_err(), "{text}");
        }
    }

    #[test]
    fn long_filters_jump_far() {
        let many: Vec<String> = (1..100).map(|port| format!("tcp port {port}")).collect();
        let program = compile(&many.join(" or ")).unwrap();
        assert!(taken(&program).starts_with("xx...."));
    }
}
