//! From the text of a filter to conditions.

use std::iter::Peekable;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::vec::IntoIter;

/// Something that a packet is or has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    /// It is of the protocol.
    Is(Protocol),
    /// An address under a mask is this.
    Address {
        protocol: Option<Protocol>,
        way: Way,
        address: IpAddr,
        prefix_len: u8,
    },
    /// An Ethernet address is this.
    Ether {
        way: Way,
        mac: [u8; 6],
    },
    /// A port is in the range.
    Port {
        protocol: Option<Protocol>,
        way: Way,
        first: u16,
        last: u16,
    },
    /// Bits of its first byte: the Ethernet destination is a group.
    Group,
    /// Numbers compare so.
    Compare {
        left: Number,
        how: Comparison,
        right: Number,
    },
}

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Ether,
    Ip,
    Ip6,
    Arp,
    Tcp,
    Udp,
    Icmp,
    Icmp6,
}

/// Which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    Source,
    Destination,
    #[default]
    Either,
    Both,
}

/// How numbers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// A number of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Number {
    Constant(u32),
    /// Its length.
    Len,
    /// Bytes of a protocol's header and what follows.
    Load {
        protocol: Protocol,
        at: u32,
        bytes: u8,
    },
    /// Computed from two, by an operation of `coracle_bpf::code`.
    Computed(Box<Number>, u16, Box<Number>),
}

/// Names of numbers (pcap-filter(7)).
const NAMED: [(&str, u32); 19] = [
    ("tcpflags", 13),
    ("tcp-fin", 1),
    ("tcp-syn", 2),
    ("tcp-rst", 4),
    ("tcp-push", 8),
    ("tcp-ack", 16),
    ("tcp-urg", 32),
    ("tcp-ece", 64),
    ("tcp-cwr", 128),
    ("icmptype", 0),
    ("icmpcode", 1),
    ("icmp-echoreply", 0),
    ("icmp-unreach", 3),
    ("icmp-redirect", 5),
    ("icmp-echo", 8),
    ("icmp-timxceed", 11),
    ("icmp6type", 0),
    ("icmp6code", 1),
    ("icmp6-echo", 128),
];

const PROTOCOLS: [(&str, Protocol); 8] = [
    ("ether", Protocol::Ether),
    ("ip", Protocol::Ip),
    ("ip6", Protocol::Ip6),
    ("arp", Protocol::Arp),
    ("tcp", Protocol::Tcp),
    ("udp", Protocol::Udp),
    ("icmp", Protocol::Icmp),
    ("icmp6", Protocol::Icmp6),
];

/// What an identifier is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Host,
    Net,
    Port,
    PortRange,
}

/// What was said of the identifier before, for one that stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Qualifiers {
    protocol: Option<Protocol>,
    way: Way,
    kind: Kind,
}

struct Parser {
    words: Peekable<IntoIter<String>>,
    last: Option<Qualifiers>,
    /// How many parentheses and negations are open: text from outside must not exhaust the stack.
    depth: usize,
}

const DEPTH_MAX: usize = 64;

type Parsed<T> = Result<T, String>;

/// The condition of a filter; `None`: there is none.
///
/// # Errors
/// Says what is not understood.
pub fn parse(text: &str) -> Parsed<Option<Condition>> {
    let mut parser = Parser { words: words(text)?.into_iter().peekable(), last: None, depth: 0 };
    if parser.words.peek().is_none() {
        return Ok(None);
    }
    let condition = parser.all()?;
    match parser.words.next() {
        None => Ok(Some(condition)),
        Some(word) => Err(format!("`{word}` does not belong there")),
    }
}

/// Words and signs of a filter at most.
const WORDS_MAX: usize = 4096;

/// Cuts a text into words and signs.
fn words(text: &str) -> Parsed<Vec<String>> {
    const SIGNS: [&str; 24] = [
        "&&", "||", "!=", "==", ">=", "<=", "<<", ">>", "(", ")", "[", "]", "=", ">", "<", "!", "&", "|",
        "+", "-", "*", "/", "^", ":",
    ];
    let mut all: Vec<String> = Vec::new();
    let mut rest = text.trim_start();
    let mut is_in_brackets = false;
    while let Some(first) = rest.chars().next() {
        // Within brackets a colon is a sign; elsewhere it is part of an address.
        let is_of_word =
            |c: char| c.is_ascii_alphanumeric() || "._-".contains(c) || !is_in_brackets && ":/".contains(c);
        let is_address = first == ':' && !is_in_brackets;
        let len = if first.is_ascii_alphanumeric() || is_address {
            rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len())
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            sign.ok_or_else(|| format!("`{first}` is no sign of the language"))?.len()
        };
        let (word, after) = rest.split_at(len);
        is_in_brackets = word == "[" || is_in_brackets && word != "]";
        all.push(word.to_owned());
        rest = after.trim_start();
        if all.len() > WORDS_MAX {
            return Err("it is too long".to_owned());
        }
    }
    Ok(all)
}

impl Parser {
    fn peek(&mut self) -> &str {
        self.words.peek().map_or("", String::as_str)
    }

    /// Takes the next word if it is one of these.
    fn take(&mut self, any: &[&str]) -> bool {
        let is_there = any.contains(&self.peek());
        if is_there {
            self.words.next();
        }
        is_there
    }

    fn expect(&mut self, sign: &str) -> Parsed<()> {
        match self.words.next() {
            Some(word) if word == sign => Ok(()),
            Some(word) => Err(format!("`{sign}` is expected, not `{word}`")),
            None => Err(format!("`{sign}` is missing at the end")),
        }
    }

    fn next(&mut self, what: &str) -> Parsed<String> {
        self.words.next().ok_or_else(|| format!("{what} is missing at the end"))
    }

    /// `and` and `or` have the same precedence, and group from the left (pcap-filter(7)).
    fn all(&mut self) -> Parsed<Condition> {
        let mut left = self.one()?;
        loop {
            if self.take(&["and", "&&"]) {
                left = Condition::And(Box::new(left), Box::new(self.one()?));
            } else if self.take(&["or", "||"]) {
                left = Condition::Or(Box::new(left), Box::new(self.one()?));
            } else {
                return Ok(left);
            }
        }
    }

    fn one(&mut self) -> Parsed<Condition> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("it is nested too deeply".to_owned());
        }
        let condition = self.one_within();
        self.depth -= 1;
        condition
    }

    fn one_within(&mut self) -> Parsed<Condition> {
        if self.take(&["not", "!"]) {
            return Ok(Condition::Not(Box::new(self.one()?)));
        }
        if self.peek() == "(" {
            // Of conditions, or of a number that is compared.
            let (words, last) = (self.words.clone(), self.last);
            self.words.next();
            if let Ok(condition) = self.all()
                && self.take(&[")"])
                && !is_operation(self.peek())
            {
                return Ok(condition);
            }
            (self.words, self.last) = (words, last);
            return self.comparison();
        }
        self.primitive()
    }

    fn primitive(&mut self) -> Parsed<Condition> {
        let word = self.peek().to_owned();
        if word.is_empty() {
            return Err("something is missing at the end".to_owned());
        }
        // What a comparison begins with.
        let mut ahead = self.words.clone();
        ahead.next();
        let after = ahead.next().unwrap_or_default();
        let is_number = number(&word).is_some() || word == "len";
        if after == "[" || (is_number && is_operation(&after)) {
            return self.comparison();
        }
        if self.take(&["less"]) {
            return self.length(Comparison::LessOrEqual);
        }
        if self.take(&["greater"]) {
            return self.length(Comparison::GreaterOrEqual);
        }
        if self.take(&["broadcast"]) {
            return Ok(Condition::Ether { way: Way::Destination, mac: [0xff; 6] });
        }
        if self.take(&["multicast"]) {
            return Ok(Condition::Group);
        }
        let protocol = PROTOCOLS.iter().find(|(name, _)| *name == word).map(|(_, protocol)| *protocol);
        if protocol.is_some() {
            self.words.next();
            if protocol == Some(Protocol::Ether) && self.take(&["broadcast"]) {
                return Ok(Condition::Ether { way: Way::Destination, mac: [0xff; 6] });
            }
            if protocol == Some(Protocol::Ether) && self.take(&["multicast"]) {
                return Ok(Condition::Group);
            }
        }
        let way = self.way()?;
        let kind = self.kind();
        match (protocol, way, kind) {
            (Some(protocol), None, None) if protocol != Protocol::Ether => Ok(Condition::Is(protocol)),
            (None, None, None) => match self.last {
                // One more of the same, as in `port 80 or 443`.
                Some(last) => self.identified(last),
                None => Err(format!("`{word}` is not known")),
            },
            _ => {
                let kind = kind.unwrap_or(Kind::Host);
                let qualifiers = Qualifiers { protocol, way: way.unwrap_or_default(), kind };
                self.last = Some(qualifiers);
                self.identified(qualifiers)
            }
        }
    }

    fn way(&mut self) -> Parsed<Option<Way>> {
        let first = match self.peek() {
            "src" => Way::Source,
            "dst" => Way::Destination,
            _ => return Ok(None),
        };
        self.words.next();
        let mut ahead = self.words.clone();
        let (join, second) = (ahead.next().unwrap_or_default(), ahead.next().unwrap_or_default());
        let is_pair = matches!((first, second.as_str()), (Way::Source, "dst") | (Way::Destination, "src"));
        if is_pair && (join == "or" || join == "and") {
            self.words.next();
            self.words.next();
            return Ok(Some(if join == "or" { Way::Either } else { Way::Both }));
        }
        Ok(Some(first))
    }

    fn kind(&mut self) -> Option<Kind> {
        let kind = match self.peek() {
            "host" => Kind::Host,
            "net" => Kind::Net,
            "port" => Kind::Port,
            "portrange" => Kind::PortRange,
            _ => return None,
        };
        self.words.next();
        Some(kind)
    }

    fn identified(&mut self, Qualifiers { protocol, way, kind }: Qualifiers) -> Parsed<Condition> {
        let word = self.next("an address or a port")?;
        if word == ")" || word == "and" || word == "or" {
            return Err(format!("an address or a port is expected, not `{word}`"));
        }
        match kind {
            Kind::Host if protocol == Some(Protocol::Ether) => Ok(Condition::Ether { way, mac: mac(&word)? }),
            Kind::Host => {
                let addresses = addresses(&word)?;
                let each = addresses.into_iter().map(|address| {
                    let prefix_len = if address.is_ipv4() { 32 } else { 128 };
                    Condition::Address { protocol, way, address, prefix_len }
                });
                let any = each.reduce(|one, other| Condition::Or(Box::new(one), Box::new(other)));
                any.ok_or_else(|| format!("`{word}` has no address"))
            }
            Kind::Net => {
                let (address, prefix_len) = net(&word)?;
                Ok(Condition::Address { protocol, way, address, prefix_len })
            }
            Kind::Port => {
                let port = port(&word)?;
                Ok(Condition::Port { protocol, way, first: port, last: port })
            }
            Kind::PortRange => {
                let (first, last) = word
                    .split_once('-')
                    .ok_or_else(|| format!("`{word}` is no range, as 8000-8080 is one"))?;
                let (first, last) = (port(first)?, port(last)?);
                Ok(Condition::Port { protocol, way, first: first.min(last), last: first.max(last) })
            }
        }
    }

    fn length(&mut self, how: Comparison) -> Parsed<Condition> {
        let word = self.next("a length")?;
        let len = number(&word).ok_or_else(|| format!("`{word}` is no length"))?;
        Ok(Condition::Compare { left: Number::Len, how, right: Number::Constant(len) })
    }

    fn comparison(&mut self) -> Parsed<Condition> {
        let left = self.sum(0)?;
        let sign = self.next("a comparison")?;
        let how = match sign.as_str() {
            "=" | "==" => Comparison::Equal,
            "!=" => Comparison::NotEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            _ => return Err(format!("a comparison is expected, not `{sign}`")),
        };
        Ok(Condition::Compare { left, how, right: self.sum(0)? })
    }

    /// Numbers joined by operations that bind as `level` says or closer (those of libpcap's grammar).
    fn sum(&mut self, level: usize) -> Parsed<Number> {
        use coracle_bpf::code::{ADD, AND, DIV, LSH, MUL, OR, RSH, SUB, XOR};
        const LEVELS: [&[(&str, u16)]; 4] = [
            &[("|", OR), ("&", AND), ("^", XOR)],
            &[("<<", LSH), (">>", RSH)],
            &[("+", ADD), ("-", SUB)],
            &[("*", MUL), ("/", DIV)],
        ];
        let Some(operations) = LEVELS.get(level) else { return self.number() };
        let mut left = self.sum(level + 1)?;
        loop {
            let sign = self.peek().to_owned();
            let Some((_, operation)) = operations.iter().find(|(known, _)| *known == sign) else {
                return Ok(left);
            };
            self.words.next();
            left = Number::Computed(Box::new(left), *operation, Box::new(self.sum(level + 1)?));
        }
    }

    fn number(&mut self) -> Parsed<Number> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("it is nested too deeply".to_owned());
        }
        let number = self.number_within();
        self.depth -= 1;
        number
    }

    fn number_within(&mut self) -> Parsed<Number> {
        if self.take(&["("]) {
            let number = self.sum(0)?;
            self.expect(")")?;
            return Ok(number);
        }
        if self.take(&["len"]) {
            return Ok(Number::Len);
        }
        let word = self.next("a number")?;
        if let Some(value) = number(&word) {
            return Ok(Number::Constant(value));
        }
        let (_, protocol) = PROTOCOLS
            .iter()
            .find(|(name, _)| *name == word)
            .ok_or_else(|| format!("a number is expected, not `{word}`"))?;
        self.expect("[")?;
        let at = self.next("an offset")?;
        let at = number(&at).ok_or_else(|| format!("`{at}` is no offset"))?;
        let mut bytes = 1;
        if self.take(&[":"]) {
            let size = self.next("a size")?;
            bytes = match size.as_str() {
                "1" => 1,
                "2" => 2,
                "4" => 4,
                _ => return Err(format!("`{size}` is no size: 1, 2 or 4 bytes are")),
            };
        }
        self.expect("]")?;
        Ok(Number::Load { protocol: *protocol, at, bytes })
    }
}

fn is_operation(word: &str) -> bool {
    ["=", "==", "!=", ">", ">=", "<", "<=", "&", "|", "^", "+", "-", "*", "/", "<<", ">>"].contains(&word)
}

fn number(word: &str) -> Option<u32> {
    if let Some((_, value)) = NAMED.iter().find(|(name, _)| *name == word) {
        return Some(*value);
    }
    match word.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

fn mac(word: &str) -> Parsed<[u8; 6]> {
    let bytes: Option<Vec<u8>> =
        word.split([':', '-']).map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| format!("`{word}` is no Ethernet address"))
}

/// The addresses of a host by address or name.
fn addresses(word: &str) -> Parsed<Vec<IpAddr>> {
    if let Ok(address) = word.parse() {
        return Ok(vec![address]);
    }
    let found = (word, 0).to_socket_addrs().map_err(|error| format!("host `{word}`: {error}"))?;
    let mut all: Vec<IpAddr> = found.map(|end| end.ip()).collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn net(word: &str) -> Parsed<(IpAddr, u8)> {
    let wrong = || format!("`{word}` is no network, as 192.168.0.0/16 is one");
    let (address, len) = match word.split_once('/') {
        Some((address, len)) => (address, Some(len.parse::<u8>().map_err(|_| wrong())?)),
        None => (word, None),
    };
    // Fewer than four numbers are the beginning of an address.
    let parts = address.split('.').count();
    let (address, natural) = match address.parse() {
        Ok(address) => (address, if IpAddr::is_ipv4(&address) { 32 } else { 128 }),
        Err(_) if parts < 4 => {
            let filled = format!("{address}{}", ".0".repeat(4 - parts));
            (filled.parse().map_err(|_| wrong())?, 8 * parts as u8)
        }
        Err(_) => return Err(wrong()),
    };
    let len = len.unwrap_or(natural);
    let most = if address.is_ipv4() { 32 } else { 128 };
    if len > most { Err(wrong()) } else { Ok((address, len)) }
}

fn port(word: &str) -> Parsed<u16> {
    if let Ok(port) = word.parse() {
        return Ok(port);
    }
    // services(5)
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
    let found = services.lines().find_map(|line| {
        let mut fields = line.split('#').next()?.split_whitespace();
        let (name, port) = (fields.next()?, fields.next()?);
        (name == word || fields.any(|alias| alias == word)).then(|| port.split('/').next()?.parse().ok())?
    });
    found.ok_or_else(|| format!("`{word}` is no port"))
}
