//! Just enough of MongoDB's wire protocol to make a replica set: one command
//! in an `OP_MSG`, and of the answer the numbers and texts at its top.
//!
//! The format is that of
//! <https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/> and
//! <https://bsonspec.org/spec.html>.

use std::io::{Read, Write};
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};

use super::connect;

const OP_MSG: i32 = 2013;
/// The longest answer that is read.
const MAX_ANSWER: i32 = 1 << 20;
/// What says that there is a set already.
const ALREADY_INITIALIZED: f64 = 23.0;

/// Makes a set of the one member at this address, unless it is one.
pub(super) fn initiate(address: SocketAddr) -> Result<()> {
    let mut member = Bson::new();
    member.int("_id", 0).text("host", &address.to_string());
    let mut members = Bson::new();
    members.document("0", &member);
    let mut config = Bson::new();
    config.text("_id", "rs0").int("version", 1).array("members", &members);
    let mut command = Bson::new();
    command.document("replSetInitiate", &config).text("$db", "admin");
    let answer = run(address, &command)?;
    let is_ok = number(&answer, "ok") == Some(1.0);
    ensure!(
        is_ok || number(&answer, "code") == Some(ALREADY_INITIALIZED),
        "the replica set cannot be made: {}",
        text(&answer, "errmsg").unwrap_or_default()
    );
    Ok(())
}

/// Whether it can be written to.
pub(super) fn is_primary(address: SocketAddr) -> Result<bool> {
    let mut command = Bson::new();
    command.int("hello", 1).text("$db", "admin");
    Ok(number(&run(address, &command)?, "isWritablePrimary") == Some(1.0))
}

fn run(address: SocketAddr, command: &Bson) -> Result<Vec<(String, Value)>> {
    let body = command.bytes();
    let mut message = Vec::new();
    // Header, flags, and one section of kind 0: the document.
    for number in [21 + body.len() as i32, 1, 0, OP_MSG, 0] {
        message.extend(number.to_le_bytes());
    }
    message.push(0);
    message.extend(body);
    let mut stream = connect(address)?;
    stream.write_all(&message)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = i32::from_le_bytes(length);
    ensure!((21..MAX_ANSWER).contains(&length), "MongoDB answers with {length} bytes");
    let mut answer = vec![0; length as usize - 4];
    stream.read_exact(&mut answer)?;
    parse(answer.get(17..).context("the answer is short")?)
}

/// A document under construction.
struct Bson(Vec<u8>);

impl Bson {
    const fn new() -> Self {
        Self(Vec::new())
    }

    fn element(&mut self, kind: u8, name: &str, value: &[u8]) -> &mut Self {
        self.0.push(kind);
        self.0.extend(name.as_bytes());
        self.0.push(0);
        self.0.extend(value);
        self
    }

    fn int(&mut self, name: &str, value: i32) -> &mut Self {
        self.element(0x10, name, &value.to_le_bytes())
    }

    fn text(&mut self, name: &str, value: &str) -> &mut Self {
        let length = (value.len() as i32 + 1).to_le_bytes();
        self.element(0x02, name, &[&length[..], value.as_bytes(), &[0]].concat())
    }

    fn document(&mut self, name: &str, value: &Self) -> &mut Self {
        self.element(0x03, name, &value.bytes())
    }

    fn array(&mut self, name: &str, value: &Self) -> &mut Self {
        self.element(0x04, name, &value.bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        let length = (self.0.len() as i32 + 5).to_le_bytes();
        [&length[..], &self.0, &[0]].concat()
    }
}

/// What an answer holds; what is of no use here is left out.
#[derive(Debug, PartialEq)]
enum Value {
    Number(f64),
    Text(String),
}

fn number(answer: &[(String, Value)], wanted: &str) -> Option<f64> {
    answer.iter().find_map(|(name, value)| match value {
        Value::Number(number) if name == wanted => Some(*number),
        _ => None,
    })
}

fn text<'a>(answer: &'a [(String, Value)], wanted: &str) -> Option<&'a str> {
    answer.iter().find_map(|(name, value)| match value {
        Value::Text(text) if name == wanted => Some(text.as_str()),
        _ => None,
    })
}

fn parse(document: &[u8]) -> Result<Vec<(String, Value)>> {
    let mut rest = document.get(4..).context("a document has a length")?;
    let mut found = Vec::new();
    loop {
        let (&kind, after) = rest.split_first().context("a document has an end")?;
        if kind == 0 {
            return Ok(found);
        }
        let end = after.iter().position(|byte| *byte == 0).context("a name has an end")?;
        let (name, value) = (String::from_utf8_lossy(&after[..end]), &after[end + 1..]);
        let length = || Ok::<_, anyhow::Error>(i32::from_le_bytes(take::<4>(value)?) as usize);
        let size = match kind {
            0x01 | 0x09 | 0x11 | 0x12 => 8,
            0x02 => 4 + length()?,
            0x03 | 0x04 => length()?,
            0x05 => 5 + length()?,
            0x07 => 12,
            0x08 => 1,
            0x0a => 0,
            0x10 => 4,
            other => bail!("an element of the kind {other:#x} is not known"),
        };
        let bytes = value.get(..size).context("an element is whole")?;
        let value = match kind {
            0x01 => Some(Value::Number(f64::from_le_bytes(take(bytes)?))),
            0x08 => Some(Value::Number(f64::from(bytes[0]))),
            0x10 => Some(Value::Number(f64::from(i32::from_le_bytes(take(bytes)?)))),
            0x02 => {
                let text = bytes.get(4..size - 1).context("a text has an end")?;
                Some(Value::Text(String::from_utf8_lossy(text).into_owned()))
            }
            _ => None,
        };
        found.extend(value.map(|value| (name.into_owned(), value)));
        rest = &after[end + 1 + size..];
    }
}

fn take<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    Ok(bytes.get(..N).context("a number is whole")?.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_documents() {
        let mut inner = Bson::new();
        inner.text("hello", "world");
        // The example of the specification.
        assert_eq!(inner.bytes(), b"\x16\0\0\0\x02hello\0\x06\0\0\0world\0\0");
        let mut outer = Bson::new();
        outer.int("code", 23).document("inner", &inner).array("list", &inner).text("errmsg", "no");
        let found = parse(&outer.bytes()).expect("it is a document");
        assert_eq!(number(&found, "code"), Some(23.0));
        assert_eq!((text(&found, "errmsg"), text(&found, "hello")), (Some("no"), None));
        let bytes = outer.bytes();
        for end in 0..bytes.len() {
            assert!(parse(&bytes[..end]).is_err(), "{end} bytes of {}", bytes.len());
        }
    }
}
