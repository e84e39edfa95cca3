//! Virtio devices that the machine boots with ([`coracle_hal::host::virtio`]): disks whose answers a test chooses, and servers of 9P.
use coracle_hal::host::virtio::{Chain, Device, Kind, Model, Queue};
use coracle_hal::virtio::transport::Transport;
use coracle_virtio::device::block::{SECTOR_BYTES, config, features};
use coracle_virtio::device::{id, share};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of each disk.
pub const DISK_BYTES: usize = 1 << 20;

/// What a device says of a request that it has carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// What is right.
    Right,
    /// That the request failed (VIRTIO_BLK_S_IOERR), or this other status, which may mean nothing.
    Status(u8),
    /// That it has written more than there is room for.
    TooLong,
    /// That it has written nothing, not even the status.
    Nothing,
    /// The number of a chain that there can't be.
    NoSuchChain,
    /// The number of a chain that it does not have.
    OtherChain,
    /// The same chain twice.
    Twice,
    /// That it has returned more than were made available.
    Ahead,
}

/// Ways to answer, one for each disk: a device that breaks the rules is not used again. The first is /dev/vde.
pub const ANSWERS: [Answer; 9] = [
    Answer::Right,
    Answer::Status(1),
    Answer::Status(77),
    Answer::TooLong,
    Answer::Nothing,
    Answer::NoSuchChain,
    Answer::OtherChain,
    Answer::Twice,
    Answer::Ahead,
];

/// What is on the disks, and how often each was flushed.
static DISKS: [Mutex<(Vec<u8>, usize)>; ANSWERS.len()] =
    [const { Mutex::new((Vec::new(), 0)) }; ANSWERS.len()];

/// Whether disks answer as they are told to; they do what is right before.
static ARE_WRONG: Mutex<bool> = Mutex::new(false);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on each disk answers as [`ANSWERS`] has it.
pub fn go_wrong() {
    *lock(&ARE_WRONG) = true;
}

/// What is on a disk, and how often it was flushed.
pub fn disk(number: usize) -> (Vec<u8>, usize) {
    lock(&DISKS[number]).clone()
}

/// A disk (section 5.2).
struct Disk {
    number: usize,
}

/// Values of a request's type, and of its status.
const READ: u32 = 0;
const WRITE: u32 = 1;
const FLUSH: u32 = 4;
const OK: u8 = 0;
const UNSUPPORTED: u8 = 2;
/// Bytes of a request's header.
const HEADER: usize = 16;

impl Disk {
    /// Carries a request out; returns its status, and how many bytes were written with that.
    fn carry_out(&self, chain: &Chain) -> (u8, usize) {
        let sent = chain.sent();
        let kind = u32::from_le_bytes(sent[..4].try_into().expect("a header has a type"));
        let sector = u64::from_le_bytes(sent[8..HEADER].try_into().expect("a header has a sector"));
        let start = (sector * SECTOR_BYTES) as usize;
        let room = chain.room() - 1;
        let (bytes, flushes) = &mut *lock(&DISKS[self.number]);
        bytes.resize(DISK_BYTES, 0);
        match kind {
            READ => chain.write(0, &bytes[start..start + room]),
            WRITE => bytes[start..][..sent.len() - HEADER].copy_from_slice(&sent[HEADER..]),
            FLUSH => *flushes += 1,
            _ => return (UNSUPPORTED, room + 1),
        }
        (OK, room + 1)
    }
}

impl Model for Disk {
    fn kind(&self) -> Kind {
        Kind { device_type: id::BLOCK, features: features::FLUSH | features::SEG_MAX, queues: 1 }
    }

    fn config(&self, offset: usize) -> u8 {
        let sectors = DISK_BYTES as u64 / SECTOR_BYTES;
        match offset {
            config::CAPACITY..8 => sectors.to_le_bytes()[offset],
            config::SEG_MAX => 16,
            _ => 0,
        }
    }

    fn notified(&mut self, queue: &mut Queue, _number: u16) {
        let answer = if *lock(&ARE_WRONG) { ANSWERS[self.number] } else { Answer::Right };
        while let Some(chain) = queue.take() {
            let (status, len) = self.carry_out(&chain);
            let (number, len) = (chain.number(), len as u32);
            match answer {
                Answer::Status(other) => chain.write(chain.room() - 1, &[other]),
                Answer::Nothing => {}
                _ => chain.write(chain.room() - 1, &[status]),
            }
            match answer {
                Answer::Right | Answer::Status(_) => queue.put(number, len),
                Answer::TooLong => queue.put(number, u32::MAX),
                Answer::Nothing => queue.put(number, 0),
                Answer::NoSuchChain => queue.put(u32::MAX, len),
                Answer::OtherChain => queue.put(number ^ 1, len),
                Answer::Twice => {
                    queue.put(number, len);
                    queue.put(number, len);
                }
                Answer::Ahead => queue.set_used_index(queue.used_index().wrapping_add(1000)),
            }
        }
    }
}

/// What a server of 9P makes of an answer.
pub type Change = fn(&mut Vec<u8>);

/// Mount tags, and what is wrong with the answers of their servers. Those of the first are right.
pub const SERVERS: [(&str, Change); 7] = [
    ("right", |_| {}),
    ("empty", Vec::clear),
    ("short", |answer| answer.truncate(6)),
    ("cut", |answer| answer.truncate(answer.len() - 1)),
    ("long", |answer| answer[..4].copy_from_slice(&u32::MAX.to_le_bytes())),
    ("kind", |answer| answer[4] ^= 0x55),
    ("tag", |answer| answer[5] ^= 1),
];

/// The file that a server has, which is called `file`.
pub const CONTENTS: &[u8] = b"what the server has";

/// A server of 9P2000.L, of a directory with one file.
struct Server {
    name: &'static str,
    change: Change,
    /// Fids of the file.
    files: Vec<u32>,
}

/// Types of 9P2000.L's requests; an answer's is one more (`coracle_p9::kind`).
mod kind {
    pub const ERROR: u8 = 7;
    pub const OPEN: u8 = 12;
    pub const GETATTR: u8 = 24;
    pub const VERSION: u8 = 100;
    pub const ATTACH: u8 = 104;
    pub const WALK: u8 = 110;
    pub const READ: u8 = 116;
    pub const CLUNK: u8 = 120;
}

impl Server {
    fn u32_at(request: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(request[at..at + 4].try_into().expect("a request is whole"))
    }

    fn qid(is_file: bool) -> [u8; 13] {
        let mut qid = [0; 13];
        qid[0] = if is_file { 0 } else { 0x80 };
        qid[5] = 1 + u8::from(is_file);
        qid
    }

    /// The body of the answer, or an error's number.
    fn answer(&mut self, request: &[u8]) -> Result<Vec<u8>, u32> {
        const ENOENT: u32 = 2;
        const EOPNOTSUPP: u32 = 95;
        let fid = Self::u32_at(request, 7);
        let is_file = self.files.contains(&fid);
        match request[4] {
            kind::VERSION => Ok([&request[7..11], &[8, 0], b"9P2000.L"].concat()),
            kind::ATTACH => Ok(Self::qid(false).to_vec()),
            kind::WALK => {
                let new = Self::u32_at(request, 11);
                match (request[15], request.get(19..)) {
                    (0, _) => {
                        if is_file {
                            self.files.push(new);
                        }
                        Ok(vec![0, 0])
                    }
                    (_, Some(b"file")) => {
                        self.files.push(new);
                        Ok([&[1, 0][..], &Self::qid(true)].concat())
                    }
                    _ => Err(ENOENT),
                }
            }
            kind::GETATTR => {
                let mode: u32 = if is_file { 0o100_644 } else { 0o40_755 };
                let size = if is_file { CONTENTS.len() as u64 } else { 0 };
                let mut body = 0x3fff_u64.to_le_bytes().to_vec();
                body.extend(Self::qid(is_file));
                [mode, 0, 0].iter().for_each(|word| body.extend(word.to_le_bytes()));
                [1, 0, size, 4096, 8].iter().for_each(|word: &u64| body.extend(word.to_le_bytes()));
                // Times, generation and version.
                body.extend([0; 8 * 10]);
                Ok(body)
            }
            kind::OPEN => Ok([&Self::qid(is_file)[..], &[0; 4]].concat()),
            kind::READ => {
                let start = (Self::u32_at(request, 11) as usize).min(CONTENTS.len());
                let data = &CONTENTS[start..];
                let data = &data[..data.len().min(Self::u32_at(request, 19) as usize)];
                Ok([&(data.len() as u32).to_le_bytes(), data].concat())
            }
            kind::CLUNK => {
                self.files.retain(|&file| file != fid);
                Ok(Vec::new())
            }
            _ => Err(EOPNOTSUPP),
        }
    }
}

impl Model for Server {
    fn kind(&self) -> Kind {
        Kind { device_type: id::SHARE, features: share::MOUNT_TAG, queues: 1 }
    }

    fn config(&self, offset: usize) -> u8 {
        match offset {
            share::config::TAG_LEN => self.name.len() as u8,
            _ if offset >= share::config::TAG => {
                self.name.as_bytes().get(offset - share::config::TAG).copied().unwrap_or(0)
            }
            _ => 0,
        }
    }

    fn notified(&mut self, queue: &mut Queue, _number: u16) {
        while let Some(chain) = queue.take() {
            let request = chain.sent();
            let (kind, body) = match self.answer(&request) {
                Ok(body) => (request[4] + 1, body),
                Err(error) => (kind::ERROR, error.to_le_bytes().to_vec()),
            };
            let len = (7 + body.len()) as u32;
            let mut answer = [&len.to_le_bytes()[..], &[kind], &request[5..7], &body].concat();
            (self.change)(&mut answer);
            chain.write(0, &answer);
            queue.put(chain.number(), answer.len() as u32);
        }
    }
}

/// Makes a device known to its driver.
fn add(model: Box<dyn Model>) {
    let found = Transport::played(Device::new(model)).transpose().expect("it is a device");
    coracle_system::drivers::add(found);
}

/// Makes the devices known, at boot.
pub(crate) fn add_all() {
    (0..ANSWERS.len()).for_each(|number| add(Box::new(Disk { number })));
    SERVERS.iter().for_each(|&(name, change)| add(Box::new(Server { name, change, files: Vec::new() })));
}
