//! TCP headers: parsing those that arrive, with their options (RFC 9293, 3.1 and 3.2).

use super::seq::Seq;

/// Control bits.
pub mod flags {
    /// The sender will send no more.
    pub const FIN: u8 = 1;
    /// Opens a connection.
    pub const SYN: u8 = 2;
    /// Kills a connection.
    pub const RST: u8 = 4;
    /// The data should reach the program soon.
    pub const PSH: u8 = 8;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 16;
    /// The urgent pointer counts.
    pub const URG: u8 = 32;
}

/// Length of a header without options.
pub const HEADER_LEN: usize = 20;
/// Length of the timestamp option with its padding (RFC 7323, appendix A).
pub const TIMESTAMP_LEN: usize = 12;
/// The longest options.
pub const OPTIONS_MAX: usize = 40;
/// The greatest window scale (RFC 7323, 2.3).
pub const MAX_SCALE: u8 = 14;
/// The segment size to assume if none was announced (RFC 9293, 3.7.1).
pub const DEFAULT_MSS: u16 = 536;
/// NOP, NOP, Timestamps, length 10: what every segment of an ordinary connection starts its options with.
pub const TIMESTAMP_PREFIX: [u8; 4] = [1, 1, 8, 10];

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;
const OPTION_SCALE: u8 = 3;
const OPTION_SACK_PERMITTED: u8 = 4;
const OPTION_SACK: u8 = 5;
const OPTION_TIMESTAMPS: u8 = 8;

/// Timestamps of a segment (RFC 7323, 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamps {
    /// The sender's clock (TSval).
    pub value: u32,
    /// What it last saw of ours (TSecr).
    pub echo: u32,
}

/// Options that only a SYN carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SynOptions {
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// Window scale.
    pub scale: Option<u8>,
    /// Whether selective acknowledgements are understood.
    pub sack: bool,
}

/// The fields of a received segment's header.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Sender's port.
    pub source: u16,
    /// Receiver's port.
    pub destination: u16,
    /// Sequence number of the first byte (or of SYN).
    pub seq: Seq,
    /// Acknowledgement number.
    pub ack: Seq,
    /// Control bits.
    pub flags: u8,
    /// Window as sent, not scaled.
    pub window: u16,
    /// Where urgent data ends, from `seq` on, if the URG bit is set.
    pub urgent_pointer: u16,
    /// Timestamps option.
    pub timestamps: Option<Timestamps>,
    /// Options of a SYN.
    pub syn: SynOptions,
    /// Selectively acknowledged ranges.
    pub sack: heapless::Vec<(Seq, Seq), 4>,
    /// Length of the header in bytes.
    pub header_len: usize,
}

impl Segment {
    /// Reads the header at the start of `bytes`; `None` if it is malformed. Malformed options end the list.
    #[cfg(test)]
    pub fn parse(bytes: &[u8]) -> Option<Segment> {
        let (header, options) = Self::split(bytes)?;
        Some(Self::read(header, options))
    }

    /// The fixed part of the header at the start of `bytes`, and its options; `None` if it is malformed.
    #[inline(always)]
    pub fn split(bytes: &[u8]) -> Option<(&[u8; HEADER_LEN], &[u8])> {
        let h: &[u8; HEADER_LEN] = bytes.first_chunk()?;
        let header_len = usize::from(h[12] >> 4) * 4;
        if header_len < HEADER_LEN {
            return None;
        }
        Some((h, bytes.get(HEADER_LEN..header_len)?))
    }

    /// Reads a header. Malformed options end the list.
    #[inline(always)]
    pub fn read(h: &[u8; HEADER_LEN], options: &[u8]) -> Segment {
        let mut segment = Segment {
            source: u16::from_be_bytes([h[0], h[1]]),
            destination: u16::from_be_bytes([h[2], h[3]]),
            seq: Seq(u32::from_be_bytes([h[4], h[5], h[6], h[7]])),
            ack: Seq(u32::from_be_bytes([h[8], h[9], h[10], h[11]])),
            flags: h[13],
            window: u16::from_be_bytes([h[14], h[15]]),
            urgent_pointer: u16::from_be_bytes([h[18], h[19]]),
            timestamps: None,
            syn: SynOptions::default(),
            sack: heapless::Vec::new(),
            header_len: HEADER_LEN + options.len(),
        };
        if let Ok(o) = <&[u8; TIMESTAMP_LEN]>::try_from(options)
            && o[..4] == TIMESTAMP_PREFIX
        {
            segment.timestamps = Some(Timestamps {
                value: u32::from_be_bytes([o[4], o[5], o[6], o[7]]),
                echo: u32::from_be_bytes([o[8], o[9], o[10], o[11]]),
            });
        } else if !options.is_empty() {
            segment.parse_options(options);
        }
        segment
    }

    /// Whether the control bit is set.
    #[inline]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    #[cold]
    fn parse_options(&mut self, options: &[u8]) {
        for option in OptionList(options) {
            match option {
                (OPTION_MSS, &[a, b]) => self.syn.mss = Some(u16::from_be_bytes([a, b])),
                (OPTION_SCALE, &[scale]) => self.syn.scale = Some(scale.min(MAX_SCALE)),
                (OPTION_SACK_PERMITTED, &[]) => self.syn.sack = true,
                (OPTION_TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => {
                    self.timestamps = Some(Timestamps {
                        value: u32::from_be_bytes([a, b, c, d]),
                        echo: u32::from_be_bytes([e, f, g, h]),
                    });
                }
                (OPTION_SACK, blocks) => {
                    for b in blocks.as_chunks::<8>().0 {
                        let range = (
                            Seq(u32::from_be_bytes([b[0], b[1], b[2], b[3]])),
                            Seq(u32::from_be_bytes([b[4], b[5], b[6], b[7]])),
                        );
                        if self.sack.push(range).is_err() {
                            break;
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// The options of a header: kinds and data. A malformed one ends the list.
pub struct OptionList<'a>(pub &'a [u8]);

impl<'a> Iterator for OptionList<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&kind, after) = self.0.split_first()?;
            match kind {
                OPTION_END => return None,
                OPTION_NOP => self.0 = after,
                _ => {
                    let len = usize::from(*after.first()?);
                    let data = self.0.get(2..len)?;
                    self.0 = &self.0[len..];
                    return Some((kind, data));
                }
            }
        }
    }
}

/// Writes the options of a SYN after a header: MSS, then those requested of SACK-permitted, timestamps, window scale.
/// Returns their length, a multiple of four and at most 20.
pub fn write_syn_options(
    out: &mut [u8; OPTIONS_MAX],
    mss: u16,
    scale: Option<u8>,
    sack: bool,
    timestamps: Option<Timestamps>,
) -> usize {
    out[..4].copy_from_slice(&[OPTION_MSS, 4, (mss >> 8) as u8, mss as u8]);
    let mut len = 4;
    if let Some(ts) = timestamps {
        // SACK-permitted takes the place of the padding before the timestamps.
        out[4..6].copy_from_slice(if sack { &[OPTION_SACK_PERMITTED, 2] } else { &[OPTION_NOP, OPTION_NOP] });
        out[6..8].copy_from_slice(&[OPTION_TIMESTAMPS, 10]);
        out[8..12].copy_from_slice(&ts.value.to_be_bytes());
        out[12..16].copy_from_slice(&ts.echo.to_be_bytes());
        len = 16;
    } else if sack {
        out[4..8].copy_from_slice(&[OPTION_NOP, OPTION_NOP, OPTION_SACK_PERMITTED, 2]);
        len = 8;
    }
    if let Some(scale) = scale {
        out[len..len + 4].copy_from_slice(&[OPTION_NOP, OPTION_SCALE, 3, scale]);
        len += 4;
    }
    len
}

/// Writes a SACK option with its padding; returns its length.
pub fn write_sack_option(out: &mut [u8], blocks: &[(Seq, Seq)]) -> usize {
    let len = 4 + 8 * blocks.len();
    let Some(out) = out.get_mut(..len) else { return 0 };
    out[..4].copy_from_slice(&[OPTION_NOP, OPTION_NOP, OPTION_SACK, 2 + 8 * blocks.len() as u8]);
    for (place, (start, end)) in out[4..].as_chunks_mut::<8>().0.iter_mut().zip(blocks) {
        place[..4].copy_from_slice(&start.0.to_be_bytes());
        place[4..].copy_from_slice(&end.0.to_be_bytes());
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use smoltcp::wire::{TcpOption, TcpPacket};

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Segment::parse(&bytes);
        }

        #[test]
        fn syn_options_are_what_smoltcp_reads(
            mss in 1u16.., scale in proptest::option::of(0u8..=14), sack: bool, ts in proptest::option::of(any::<(u32, u32)>()),
        ) {
            let ts = ts.map(|(value, echo)| Timestamps { value, echo });
            let mut options = [0; OPTIONS_MAX];
            let len = write_syn_options(&mut options, mss, scale, sack, ts);
            let mut packet = [0u8; 40];
            packet[12] = ((20 + len) as u8 / 4) << 4;
            packet[20..].copy_from_slice(&options[..20]);
            let ours = Segment::parse(&packet[..20 + len]).unwrap();
            prop_assert_eq!(ours.syn, SynOptions { mss: Some(mss), scale, sack });
            prop_assert_eq!(ours.timestamps, ts);
            let theirs = TcpPacket::new_unchecked(&packet[..20 + len]);
            let mut rest = theirs.options();
            let mut seen = (None, None, false, None);
            while !rest.is_empty() {
                let (after, option) = TcpOption::parse(rest).unwrap();
                match option {
                    TcpOption::MaxSegmentSize(m) => seen.0 = Some(m),
                    TcpOption::WindowScale(s) => seen.1 = Some(s),
                    TcpOption::SackPermitted => seen.2 = true,
                    TcpOption::TimeStamp { tsval, tsecr } => seen.3 = Some(Timestamps { value: tsval, echo: tsecr }),
                    _ => {}
                }
                rest = after;
            }
            prop_assert_eq!(seen, (Some(mss), scale, sack, ts));
        }
    }
}
