//! The place of a process whose store is elsewhere: its data directory, which
//! one has at a time, and which node had it before. The embedded store has a
//! lock of its own.
//!
//! A process that has the lock knows that every earlier one which had it is
//! dead: the system lets go of a lock only when the process is gone. So the
//! lease of the one before need not be waited for. The directory may have been
//! copied, though, and the one that it is a copy of may live: so the node
//! before counts only if it was reached by the same address.
//!
//! Should both be wrong, no edit that is durable is lost: the lease says who may
//! open a brane, and the epoch alone who may store in it.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use avvy_model::NodeId;
use avvy_persistence::Node;

/// Held for as long as the process lives; says which node it is.
const FILE: &str = "node";
/// The longest that it can be.
const MAX_BYTES: u64 = 4_096;
/// How often a start looks whether the place is free.
const POLL: Duration = Duration::from_millis(50);

/// A place that is taken.
pub struct Place {
    _file: File,
    /// The node that was here before, at the same address, and is dead.
    pub predecessor: Option<NodeId>,
}

impl Place {
    /// Takes the place for this process, a node of a fleet or not, and waits so
    /// long for whoever has it: a process that was killed keeps it until the
    /// system has cleared it away.
    ///
    /// # Errors
    /// When another process has it, or it cannot be read and written.
    pub async fn take(data_dir: &Path, node: Option<&Node>, wait: Duration) -> Result<Self> {
        let path = data_dir.join(FILE);
        let wrong = || format!("cannot use {}", path.display());
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).with_context(wrong)?;
        let give_up = Instant::now() + wait;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < give_up => {
                    tokio::time::sleep(POLL).await;
                }
                Err(TryLockError::WouldBlock) => {
                    bail!("{} is in use by another process", data_dir.display())
                }
                Err(TryLockError::Error(error)) => return Err(error).with_context(wrong),
            }
        }
        let mut before = Vec::new();
        (&file).take(MAX_BYTES).read_to_end(&mut before).with_context(wrong)?;
        let is_here = |before: &Node| node.is_some_and(|node| node.address == before.address);
        let before = read(&before).filter(is_here);
        // After a power cut it may be torn or an earlier one: then there is no
        // node before, or one that is dead as well.
        file.set_len(0).with_context(wrong)?;
        file.rewind().with_context(wrong)?;
        file.write_all(node.map(line).unwrap_or_default().as_bytes()).with_context(wrong)?;
        Ok(Self { _file: file, predecessor: before.map(|before| before.id) })
    }
}

fn line(node: &Node) -> String {
    format!("{} {}\n", node.id, node.address)
}

/// Nothing but what [`line`] makes.
fn read(bytes: &[u8]) -> Option<Node> {
    let (id, address) = str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split_once(' ')?;
    let node = Node { id: id.parse().ok()?, address: address.to_owned() };
    (line(&node).as_bytes() == bytes).then_some(node)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn node(nth: u8, address: &str) -> Node {
        Node { id: NodeId::from_bytes([nth; 16]), address: address.to_owned() }
    }

    async fn take(data: &Path, node: &Node) -> Result<Option<NodeId>> {
        Place::take(data, Some(node), Duration::ZERO).await.map(|place| place.predecessor)
    }

    #[tokio::test]
    async fn who_comes_next_knows_who_was_here_at_the_same_address() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path();
        let nodes = [1, 2, 3, 4].map(|nth| node(nth, "http://one:1"));
        assert_eq!(take(data, &nodes[0]).await.unwrap(), None);
        assert_eq!(take(data, &nodes[1]).await.unwrap(), Some(nodes[0].id));
        assert_eq!(take(data, &node(9, "http://o")).await.unwrap(), None, "at another address");
        assert_eq!(take(data, &nodes[2]).await.unwrap(), None);
        for spoiled in [&b""[..], b"x", &line(&nodes[2]).as_bytes()[..45], &[b'x'; 9_999]] {
            std::fs::write(data.join(FILE), spoiled).unwrap();
            assert_eq!(take(data, &nodes[3]).await.unwrap(), None);
        }
        assert_eq!(take(data, &nodes[0]).await.unwrap(), Some(nodes[3].id));
        // One that is no node had it meanwhile.
        assert_eq!(Place::take(data, None, Duration::ZERO).await.unwrap().predecessor, None);
        assert_eq!(take(data, &nodes[1]).await.unwrap(), None);
    }

    #[tokio::test]
    async fn nobody_succeeds_who_lives() {
        let data = tempfile::tempdir().unwrap();
        let (one, two) = (node(1, "http://one:1"), node(2, "http://one:1"));
        let living = Place::take(data.path(), Some(&one), Duration::ZERO).await.unwrap();
        let refused = take(data.path(), &two).await.unwrap_err();
        assert!(refused.to_string().contains("in use by another process"), "{refused}");
        let patient = Place::take(data.path(), Some(&two), Duration::from_secs(60));
        let (place, ()) = tokio::join!(patient, async { drop(living) });
        assert_eq!(place.unwrap().predecessor, Some(one.id));
    }
}
