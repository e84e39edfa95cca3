//! What a queue may have (mq_open(3), `struct mq_attr`; the bounds are those of mq_overview(7) and of Linux's ipc/mqueue.c).

/// Messages of a queue at most, for programs without CAP_SYS_RESOURCE (`/proc/sys/fs/mqueue/msg_max`).
const MESSAGES_MAX: u64 = 10;
/// Bytes of a message at most, for the same (`/proc/sys/fs/mqueue/msgsize_max`).
const MESSAGE_BYTES_MAX: u64 = 8192;
/// What programs with CAP_SYS_RESOURCE may have (HARD_MSGMAX, HARD_MSGSIZEMAX).
const HARD_MESSAGES_MAX: u64 = 65_536;
const HARD_MESSAGE_BYTES_MAX: u64 = 16 << 20;
/// Bytes that RLIMIT_MSGQUEUE counts for a message beside its text: Linux's `struct msg_msg` and `struct posix_msg_tree_node`.
const MESSAGE_OVERHEAD_BYTES: u64 = 48;
const TREE_NODE_BYTES: u64 = 48;

/// How large a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Messages at most.
    pub messages: u64,
    /// Bytes of a message at most.
    pub message_bytes: u64,
}

/// Why a queue of these attributes can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A bound is not above zero, or above what the program may have (EINVAL).
    Invalid,
    /// The product of both can't be counted (EOVERFLOW).
    Overflow,
}

impl Default for Attributes {
    /// Those of mq_open(3) without attributes.
    fn default() -> Self {
        Attributes { messages: MESSAGES_MAX, message_bytes: MESSAGE_BYTES_MAX }
    }
}

impl Attributes {
    /// The most that programs without CAP_SYS_RESOURCE may have.
    pub const MAX: Attributes = Attributes { messages: MESSAGES_MAX, message_bytes: MESSAGE_BYTES_MAX };

    /// Attributes as a program asks for them; `privileged`: it has CAP_SYS_RESOURCE.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn new(messages: i64, message_bytes: i64, privileged: bool) -> Result<Self, Refused> {
        let asked = |value: i64| u64::try_from(value).ok().filter(|&value| value > 0).ok_or(Refused::Invalid);
        let attributes = Attributes { messages: asked(messages)?, message_bytes: asked(message_bytes)? };
        let most = if privileged {
            Attributes { messages: HARD_MESSAGES_MAX, message_bytes: HARD_MESSAGE_BYTES_MAX }
        } else {
            Attributes::MAX
        };
        if attributes.messages > most.messages || attributes.message_bytes > most.message_bytes {
            return Err(Refused::Invalid);
        }
        attributes.messages.checked_mul(attributes.message_bytes).ok_or(Refused::Overflow)?;
        Ok(attributes)
    }

    /// Bytes that count for RLIMIT_MSGQUEUE (getrlimit(2)), as long as the queue is there.
    pub fn charged_bytes(&self) -> u64 {
        self.messages * (self.message_bytes + MESSAGE_OVERHEAD_BYTES + TREE_NODE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_the_manual() {
        let defaults = Attributes::default();
        assert_eq!(Attributes::new(10, 8192, false), Ok(defaults));
        assert_eq!(Attributes::new(11, 8192, false), Err(Refused::Invalid));
        assert_eq!(Attributes::new(10, 8193, false), Err(Refused::Invalid));
        assert_eq!(Attributes::new(0, 1, true), Err(Refused::Invalid));
        assert_eq!(Attributes::new(1, -1, true), Err(Refused::Invalid));
        assert!(Attributes::new(65_536, 16 << 20, true).is_ok());
        assert_eq!(Attributes::new(65_537, 1, true), Err(Refused::Invalid));
        // getrlimit(2): a queue of these takes at least attr.mq_maxmsg * (sizeof(struct msg_msg) + tree node + attr.mq_msgsize).
        assert_eq!(defaults.charged_bytes(), 10 * (8192 + 96));
    }
}
