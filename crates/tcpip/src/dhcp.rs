//! The DHCP client (RFC 2131): a state machine that writes and reads messages, and its integration into the stack.

use crate::address::{BROADCAST, Hop, Route};
use crate::checksum::Sum;
use crate::config::Ipv4Config;
use crate::datagram::{ChecksumField, Pieces, TRANSPORT_LEN};
use crate::device::Device;
use crate::events::Events;
use crate::ip::Address;
use crate::packet::{IpHeader, IpInfo, protocol};
use crate::payload::Payload;
use crate::stack::Stack;
use crate::tcp::Tuple;
use crate::timers::NEVER;
use core::net::Ipv4Addr;
use smoltcp::wire::{DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress};

/// The client's port.
pub const CLIENT_PORT: u16 = 68;
const SERVER_PORT: u16 = 67;
const SECOND: u64 = 1_000_000_000;
/// First wait for an answer; it doubles up to the last (RFC 2131, 4.1 says 4 to 64 s; a virtual link is quicker).
const FIRST_WAIT: u64 = SECOND;
const LAST_WAIT: u64 = 64 * SECOND;
/// Requests for an offer before a new one is sought.
const MAX_REQUESTS: u32 = 4;
/// The least time between two renewals (RFC 2131, 4.4.5).
const RENEW_WAIT: u64 = 60 * SECOND;
/// Longest message we make.
const MAX_MESSAGE: usize = 512;
/// Longest message we take.
const MAX_RECEIVED: usize = 1500;
const OPTION_ROUTER: u8 = 3;
const OPTION_HOST_NAME: u8 = 12;
const OPTION_SUBNET_MASK: u8 = 1;
const OPTION_DNS: u8 = 6;
const OPTION_RENEWAL: u8 = 58;
const OPTION_REBINDING: u8 = 59;
const OPTION_DOMAIN: u8 = 15;
const WANTED: [u8; 6] =
    [OPTION_SUBNET_MASK, OPTION_ROUTER, OPTION_DNS, OPTION_DOMAIN, OPTION_RENEWAL, OPTION_REBINDING];

/// What DHCP gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Address, prefix, default router.
    pub config: Ipv4Config,
    /// Name servers.
    pub dns: heapless::Vec<Ipv4Addr, 3>,
    /// For how long, seconds.
    pub seconds: u32,
}

#[derive(Clone, Debug)]
enum State {
    Selecting { wait: u64 },
    Requesting { address: Ipv4Addr, server: Ipv4Addr, tries: u32 },
    Bound { server: Ipv4Addr, rebind: u64, expiry: u64 },
}

/// The state machine of a client.
#[derive(Clone, Debug)]
pub struct Client {
    mac: EthernetAddress,
    hostname: heapless::Vec<u8, 64>,
    transaction: u32,
    state: State,
    deadline: u64,
    lease: Option<Lease>,
}

/// What the state machine requests.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Send a message (see [`Client::message`]).
    Send,
    /// Use the lease.
    Configure,
    /// Use it no longer, and send a message.
    Deconfigure,
}

impl Client {
    /// A client that begins to look for a server.
    pub fn new(now: u64, mac: [u8; 6], hostname: &[u8], random: u32) -> Self {
        let hostname = heapless::Vec::from_slice(hostname.get(..hostname.len().min(63)).unwrap_or(&[]))
            .unwrap_or_default();
        let state = State::Selecting { wait: FIRST_WAIT };
        Client { mac: EthernetAddress(mac), hostname, transaction: random, state, deadline: now, lease: None }
    }

    /// When `due` must be called.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// The lease in force.
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// The deadline has passed.
    pub fn due(&mut self, now: u64) -> Action {
        if now < self.deadline {
            return Action::Nothing;
        }
        match &mut self.state {
            State::Selecting { wait } => {
                self.deadline = now + *wait;
                *wait = (*wait * 2).min(LAST_WAIT);
                Action::Send
            }
            State::Requesting { tries, .. } if *tries < MAX_REQUESTS => {
                *tries += 1;
                self.deadline = now + (FIRST_WAIT << *tries);
                Action::Send
            }
            State::Requesting { .. } => self.restart(now),
            State::Bound { rebind, expiry, .. } => {
                if now >= *expiry {
                    self.lease = None;
                    self.restart(now);
                    return Action::Deconfigure;
                }
                // Half of the time that is left until the next step (RFC 2131, 4.4.5).
                let until = if now < *rebind { *rebind } else { *expiry };
                self.deadline = (now + ((until - now) / 2).max(RENEW_WAIT)).min(*expiry);
                Action::Send
            }
        }
    }

    fn restart(&mut self, now: u64) -> Action {
        self.transaction = self.transaction.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
        self.state = State::Selecting { wait: 2 * FIRST_WAIT };
        self.deadline = now + FIRST_WAIT;
        Action::Send
    }

    /// Takes a message of a server.
    pub fn receive(&mut self, now: u64, message: &[u8]) -> Action {
        let Ok(packet) = DhcpPacket::new_checked(message) else { return Action::Nothing };
        let Ok(repr) = DhcpRepr::parse(&packet) else { return Action::Nothing };
        if repr.transaction_id != self.transaction || repr.client_hardware_address != self.mac {
            return Action::Nothing;
        }
        match (&self.state, repr.message_type) {
            (State::Selecting { .. }, DhcpMessageType::Offer) => {
                let Some(server) = repr.server_identifier else { return Action::Nothing };
                if !usable(repr.your_ip) {
                    return Action::Nothing;
                }
                self.state = State::Requesting { address: repr.your_ip, server, tries: 0 };
                self.deadline = now + FIRST_WAIT;
                Action::Send
            }
            (State::Requesting { server, .. } | State::Bound { server, .. }, DhcpMessageType::Ack) => {
                if !usable(repr.your_ip) {
                    return Action::Nothing;
                }
                let server = repr.server_identifier.unwrap_or(*server);
                // Servers may list several routers; the first is preferred (RFC 2132, 3.5).
                let router = packet
                    .options()
                    .find(|o| o.kind == OPTION_ROUTER)
                    .and_then(|o| o.data.first_chunk::<4>().copied());
                self.bind(now, server, &repr, router.map(Ipv4Addr::from));
                Action::Configure
            }
            (State::Requesting { server, .. }, DhcpMessageType::Nak)
                if repr.server_identifier.is_none_or(|s| s == *server) =>
            {
                self.restart(now);
                Action::Nothing
            }
            (State::Bound { .. }, DhcpMessageType::Nak) => {
                self.lease = None;
                self.restart(now);
                Action::Deconfigure
            }
            _ => Action::Nothing,
        }
    }

    fn bind(&mut self, now: u64, server: Ipv4Addr, repr: &DhcpRepr<'_>, gateway: Option<Ipv4Addr>) {
        /// If the server does not say.
        const USUAL_LEASE: u32 = 3600;
        let seconds = repr.lease_duration.unwrap_or(USUAL_LEASE).max(60);
        let lease = u64::from(seconds) * SECOND;
        let rebind = repr.rebind_duration.map_or(lease * 7 / 8, |s| u64::from(s) * SECOND).min(lease);
        let renew = repr.renew_duration.map_or(lease / 2, |s| u64::from(s) * SECOND).min(rebind);
        let mask = repr.subnet_mask.map_or(24, |mask| u32::from(mask).leading_ones() as u8);
        self.state = State::Bound { server, rebind: now + rebind, expiry: now + lease };
        self.deadline = if seconds == u32::MAX { NEVER } else { now + renew };
        let dns = repr.dns_servers.as_ref().map_or(&[][..], |servers| &servers[..]);
        self.lease = Some(Lease {
            config: Ipv4Config {
                address: repr.your_ip,
                prefix_len: mask,
                gateway: gateway.filter(|g| usable(*g)),
            },
            dns: dns.iter().copied().take(3).collect(),
            seconds,
        });
    }

    /// Writes the message that the present state requires; returns its length and the server it goes to (`None`: all).
    pub fn message(&self, now: u64, out: &mut [u8; MAX_MESSAGE]) -> Option<(usize, Option<Ipv4Addr>)> {
        let hostname = [DhcpOption { kind: OPTION_HOST_NAME, data: &self.hostname }];
        let mut repr = DhcpRepr {
            message_type: DhcpMessageType::Request,
            transaction_id: self.transaction,
            secs: 0,
            client_hardware_address: self.mac,
            client_ip: Ipv4Addr::UNSPECIFIED,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: true,
            requested_ip: None,
            client_identifier: Some(self.mac),
            server_identifier: None,
            parameter_request_list: Some(&WANTED),
            dns_servers: None,
            max_size: Some(MAX_RECEIVED as u16 - 28),
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: if self.hostname.is_empty() { &[] } else { &hostname },
        };
        let mut to = None;
        match &self.state {
            State::Selecting { .. } => repr.message_type = DhcpMessageType::Discover,
            State::Requesting { address, server, .. } => {
                repr.requested_ip = Some(*address);
                repr.server_identifier = Some(*server);
            }
            State::Bound { server, rebind, .. } => {
                repr.broadcast = false;
                repr.client_ip = self.lease.as_ref()?.config.address;
                to = (now < *rebind).then_some(*server);
            }
        }
        let len = repr.buffer_len();
        let place = out.get_mut(..len)?;
        repr.emit(&mut DhcpPacket::new_unchecked(place)).ok()?;
        Some((len, to))
    }
}

/// Whether an address may be a host's.
fn usable(address: Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_broadcast() && !address.is_multicast() && !address.is_loopback()
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Starts (or restarts) the DHCP client, which configures the stack by itself; [`lease`](Self::lease) shows the result.
    pub fn dhcp_start(&self, now: u64, hostname: Option<&str>) {
        let random = self.keys.cookie.hash(now, 1) as u32;
        *self.dhcp.lock() = Some(Client::new(now, self.mac, hostname.unwrap_or("").as_bytes(), random));
        self.dhcp_due(now);
    }

    /// What DHCP gave, once it has.
    pub fn lease(&self) -> Option<Lease> {
        self.dhcp.lock().as_ref().and_then(|client| client.lease().cloned())
    }

    /// Whether a packet for an address that is not (yet) ours may be DHCP's answer.
    pub(crate) fn dhcp_wants(&self, info: &IpInfo) -> bool {
        info.protocol == protocol::UDP && self.addresses.own().is_none() && self.dhcp.lock().is_some()
    }

    /// The client's timer.
    pub(crate) fn dhcp_due(&self, now: u64) {
        let mut dhcp = self.dhcp.lock();
        let Some(client) = dhcp.as_mut() else { return };
        let action = client.due(now);
        self.dhcp_act(now, client, action);
    }

    /// Takes a datagram to port 68; `false` if no client runs.
    pub(crate) fn dhcp_input(&self, now: u64, tuple: &Tuple, payload: &Payload<D::Buf>) -> bool {
        let mut dhcp = self.dhcp.lock();
        let Some(client) = dhcp.as_mut() else { return false };
        if tuple.remote_port == SERVER_PORT {
            let action = Self::dhcp_receive(now, client, payload);
            self.dhcp_act(now, client, action);
        }
        true
    }

    /// What a datagram means to the client. Its bytes lie on the stack here, and no longer when the client acts.
    #[inline(never)]
    fn dhcp_receive(now: u64, client: &mut Client, payload: &Payload<D::Buf>) -> Action {
        let mut message = [0; MAX_RECEIVED];
        let len = payload.copy_out(0, &mut message);
        client.receive(now, &message[..len])
    }

    fn dhcp_act(&self, now: u64, client: &Client, action: Action) {
        self.timers.set(self.chores.dhcp, client.deadline());
        match action {
            Action::Nothing => {}
            Action::Send => self.dhcp_send(now, client),
            Action::Configure => {
                let config = client.lease().map(|lease| lease.config);
                if self.ipv4() != config {
                    self.set_ipv4(now, config);
                }
            }
            Action::Deconfigure => {
                self.set_ipv4(now, None);
                self.dhcp_send(now, client);
            }
        }
    }

    /// The client's message in buffers of the device, with its destination; none if it has nothing to send. As in
    /// [`Stack::dhcp_receive`], its bytes lie on the stack here only.
    #[inline(never)]
    fn dhcp_message(&self, now: u64, client: &Client) -> Option<(Pieces<D::Buf>, Option<Ipv4Addr>)> {
        let mut message = [0; MAX_MESSAGE];
        let (len, to) = client.message(now, &mut message)?;
        let mut done = 0;
        let pieces = self.collect(len, |room| {
            room.copy_from_slice(&message[done..done + room.len()]);
            done += room.len();
            room.len()
        });
        Some((pieces.ok()?, to))
    }

    fn dhcp_send(&self, now: u64, client: &Client) {
        let Some((pieces, to)) = self.dhcp_message(now, client) else { return };
        let source = client.lease().map_or(Address::ANY_V4, |lease| lease.config.address.into());
        let destination = to.map_or(Address::v4(BROADCAST), Address::from);
        let route = match to {
            Some(_) => self.route(destination),
            None => Some(Route { source, hop: Hop::Broadcast }),
        };
        let Some(route) = route else { return };
        let total = TRANSPORT_LEN + pieces.len();
        let mut head = [0; TRANSPORT_LEN];
        head[0..2].copy_from_slice(&CLIENT_PORT.to_be_bytes());
        head[2..4].copy_from_slice(&SERVER_PORT.to_be_bytes());
        head[4..6].copy_from_slice(&(total as u16).to_be_bytes());
        let ip = IpHeader {
            source,
            destination,
            protocol: protocol::UDP,
            ttl: 64,
            tos: 0,
            ident: Some(self.next_ident()),
            greatest: None,
        };
        let start = Sum::default().pseudo_header(source, destination, protocol::UDP, total);
        // A lost message is repeated.
        let _ = self.send_datagram(
            now,
            route,
            ip,
            &head,
            &pieces,
            ChecksumField { field: 6, start, device: true, covered: None },
        );
    }
}
