//! What nodes tell each other. Hints, never truth: any of them may be lost.

use avvy_model::{BraneId, Epoch, NodeId};

/// The longest that a notice may be, in bytes.
const MAX_BYTES: usize = 256;

/// A notice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    /// A cached value was changed.
    Gone {
        /// [`crate::cache::Model::KIND`].
        kind: String,
        /// [`crate::cache::Model::key_text`].
        key: String,
    },
    /// Something was added to the set of this name.
    Added {
        /// The set's name.
        set: String,
    },
    /// A node has opened a brane.
    Moved(Moved),
    /// A node is there.
    Here(NodeId),
}

/// What a node hears of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// One has opened a brane.
    Moved(Moved),
    /// One is there.
    Here(NodeId),
    /// Some may have been missed.
    Missed,
}

/// A brane that a node of the fleet has opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Which.
    pub brane: BraneId,
    /// Under which epoch.
    pub epoch: Epoch,
    /// Who.
    pub by: NodeId,
}

impl Notice {
    /// As one line of words.
    pub(crate) fn encode(&self) -> String {
        match self {
            Self::Gone { kind, key } => format!("gone {kind} {key}"),
            Self::Added { set } => format!("added {set}"),
            Self::Moved(Moved { brane, epoch, by }) => format!("moved {brane} {epoch} {by}"),
            Self::Here(node) => format!("here {node}"),
        }
    }

    /// `None` for what is no notice, or one of a later version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_BYTES)?;
        let words: Vec<&str> = text.split(' ').collect();
        match words[..] {
            ["gone", kind, key] => Some(Self::Gone { kind: kind.to_owned(), key: key.to_owned() }),
            ["added", set] => Some(Self::Added { set: set.to_owned() }),
            ["moved", brane, epoch, by] => Some(Self::Moved(Moved {
                brane: brane.parse().ok()?,
                epoch: Epoch(epoch.parse().ok()?),
                by: by.parse().ok()?,
            })),
            ["here", node] => Some(Self::Here(node.parse().ok()?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was() {
        let notices = [
            Notice::Gone { kind: "brane".to_owned(), key: "k".to_owned() },
            Notice::Added { set: "revoked".to_owned() },
            Notice::Moved(Moved {
                brane: BraneId::from_bytes([1; 16]),
                epoch: Epoch(u64::MAX),
                by: NodeId::from_bytes([2; 16]),
            }),
            Notice::Here(NodeId::from_bytes([3; 16])),
        ];
        for notice in notices {
            assert_eq!(Notice::decode(notice.encode().as_bytes()), Some(notice));
        }
    }

    #[test]
    fn what_is_none_is_passed_over() {
        let long = format!("added {}", "x".repeat(MAX_BYTES));
        for text in ["", "gone", "gone a", "gone a b c", "moved a 1 b", "here a", "new a b", &long]
        {
            assert_eq!(Notice::decode(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Notice::decode(b"added \xff"), None);
    }
}
