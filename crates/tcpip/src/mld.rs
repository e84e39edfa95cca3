//! Reports of the groups of IPv6 that this host is a member of (RFC 3810, MLDv2), so that switches which look at them pass on what is sent
//! to the groups. Sources are not filtered. A report is not repeated: the querier asks again.

use crate::address::Link;
use crate::device::Device;
use crate::discovery::solicited_node;
use crate::events::Events;
use crate::groups::ethernet_address;
use crate::ip::Address;
use crate::ipv6::extension;
use crate::packet::{IpHeader, IpInfo, protocol};
use crate::stack::Stack;

const REPORT: u8 = 143;
/// Length of a report with one group.
const REPORT_LEN: usize = 28;
/// Groups that are reported in answer to a question.
const ANSWERS_MAX: usize = 16;

/// Why a group is reported (section 5.2.12).
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Record {
    /// It was asked for.
    Is = 2,
    /// It was left.
    Left = 3,
    /// It was joined.
    Joined = 4,
}

impl<D: Device, E: Events> Stack<D, E> {
    /// A group was joined on the link.
    pub(crate) fn group_joined(&self, group: Address) {
        self.report_group(group, Record::Joined);
    }

    /// Reports one group. Groups that don't leave this host, and that of all hosts, are not reported (section 6).
    pub(crate) fn report_group(&self, group: Address, record: Record) {
        /// A hop-by-hop header with the router alert option (RFC 2711) and padding.
        const ROUTER_ALERT: [u8; 8] = [protocol::ICMPV6, 0, 5, 2, 0, 0, 1, 0];
        if group.is_v4() || group == Address::ALL_NODES || group.octets()[1] & 0xf < 2 {
            return;
        }
        let mut message = [0; REPORT_LEN];
        message[0] = REPORT;
        message[7] = 1;
        message[8] = record as u8;
        message[12..].copy_from_slice(&group.octets());
        let destination = Address::ALL_MLDV2_ROUTERS;
        let ip = IpHeader {
            source: self.v6.source_for(destination).unwrap_or(Address::ANY_V6),
            destination,
            protocol: extension::HOP_BY_HOP,
            ttl: 1,
            tos: 0,
            ident: None,
            greatest: None,
        };
        self.send_icmpv6_frame(ip, ethernet_address(destination), &ROUTER_ALERT, &mut message);
    }

    /// A router asks for groups, which are reported at once.
    #[inline(never)]
    pub(crate) fn group_query(&self, now: u64, info: &IpInfo) {
        if info.link != Link::Wire
            || info.ttl != 1
            || !info.source.is_link_local()
            || !self.icmp_limit.allow(now)
        {
            return;
        }
        for own in &self.ipv6_addresses() {
            self.report_group(solicited_node(own.address), Record::Is);
        }
        let mut groups: heapless::Vec<Address, ANSWERS_MAX> = heapless::Vec::new();
        self.groups.for_each(|(group, link), _| {
            if !group.is_v4() && link == Link::Wire {
                let _ = groups.push(group);
            }
        });
        for group in groups {
            self.report_group(group, Record::Is);
        }
    }
}
