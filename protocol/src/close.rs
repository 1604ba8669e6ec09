//! Why a connection ends: WebSocket close codes.
//!
//! 4000-4499: come back; 4500-4999: something must change first. A client
//! that meets a number that it does not know goes by that. Numbers never
//! change meaning and are never used again.

/// Whether a client should connect again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reconnect {
    /// At once, then with growing pauses.
    Yes,
    /// After a pause of 10 to 30 seconds, drawn at random.
    Later,
    /// Not before a person or the program has changed something.
    No,
}

impl Reconnect {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Later => "later",
            Self::No => "no",
        }
    }
}

macro_rules! close_codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $number:literal, $name:literal, $reconnect:ident;)*) => {
        /// The code of a WebSocket's close frame.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u16)]
        pub enum CloseCode {
            $($(#[doc = $doc])* $variant = $number,)*
        }

        impl CloseCode {
            /// Every code, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable number.
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// The stable name; also the reason in the close frame.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The code with this number.
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// Whether to connect again.
            pub const fn reconnect(self) -> Reconnect {
                match self { $(Self::$variant => Reconnect::$reconnect,)* }
            }

            /// What it means, in a sentence for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)*).trim_ascii(),)* }
            }
        }
    };
}

close_codes! {
    /// The client asked for the end.
    Normal = 1000, "normal", No;
    /// The server is about to stop; everything accepted is being stored.
    GoingAway = 1001, "going_away", Yes;
    /// The message was larger than `max_message_bytes`.
    TooLarge = 1009, "too_large", No;

    /// The session did not read fast enough, and catching up failed, too.
    SlowConsumer = 4000, "slow_consumer", Yes;
    /// Nothing was heard for twice `heartbeat_ms`.
    HeartbeatTimeout = 4001, "heartbeat_timeout", Yes;
    /// The server failed; try again.
    Internal = 4002, "internal", Later;
    /// Too many messages in too short a time.
    RateLimited = 4003, "rate_limited", Later;
    /// The server has as many sessions, or holds as much for them, as it may.
    Overloaded = 4004, "overloaded", Later;
    /// The server did not hear a `hello` in time.
    HelloTimeout = 4005, "hello_timeout", Later;
    /// The user has as many sessions as one may.
    TooManySessions = 4006, "too_many_sessions", Later;

    /// Bytes that are not a message, or a message out of turn.
    ProtocolError = 4500, "protocol_error", No;
    /// No version in common.
    UnsupportedVersion = 4501, "unsupported_version", No;
    /// No token, or one that is not good.
    NotAuthenticated = 4502, "not_authenticated", No;
    /// The token has ended; connect again with a new one.
    TokenExpired = 4503, "token_expired", No;
    /// Another connection has joined a brane under the same client id; this is the old one.
    Replaced = 4505, "replaced", No;
    /// The token was revoked before its end.
    TokenRevoked = 4506, "token_revoked", No;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_say_whether_to_come_back() {
        for &code in CloseCode::ALL {
            assert_eq!(CloseCode::from_number(code.number()), Some(code));
            assert!(!code.meaning().is_empty());
            match code.number() {
                1000..=1999 => {}
                4000..=4499 => assert_ne!(code.reconnect(), Reconnect::No, "{code:?}"),
                4500..=4999 => assert_eq!(code.reconnect(), Reconnect::No, "{code:?}"),
                number => panic!("{number} is not a close code of an application"),
            }
        }
        assert_eq!(CloseCode::from_number(4999), None);
    }
}
