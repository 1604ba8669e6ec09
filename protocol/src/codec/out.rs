//! Writing CBOR: minicbor's encoder into a vector, which cannot fail.
//!
//! Encoding is deterministic (RFC 8949, section 4.2.1) as long as the callers
//! write the keys of a map in their order: shorter first, then bytewise.

use std::convert::Infallible;

use minicbor::Encoder;
use minicbor::encode::Error;

/// A growing message.
pub(super) struct Out(Encoder<Vec<u8>>);

type Written<'a> = Result<&'a mut Encoder<Vec<u8>>, Error<Infallible>>;

impl Out {
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Encoder::new(Vec::with_capacity(bytes)))
    }

    pub fn finish(self) -> Vec<u8> {
        self.0.into_writer()
    }

    #[inline]
    fn write(&mut self, write: impl FnOnce(&mut Encoder<Vec<u8>>) -> Written<'_>) -> &mut Self {
        // Writing to a vector is infallible, as the error's type says.
        let _ = write(&mut self.0);
        self
    }

    /// The head of a map with so many entries.
    #[inline]
    pub fn map(&mut self, entries: usize) -> &mut Self {
        self.write(|e| e.map(entries as u64))
    }

    /// The head of an array with so many items.
    #[inline]
    pub fn array(&mut self, items: usize) -> &mut Self {
        self.write(|e| e.array(items as u64))
    }

    #[inline]
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.write(|e| e.str(text))
    }

    #[inline]
    pub fn uint(&mut self, n: u64) -> &mut Self {
        self.write(|e| e.u64(n))
    }

    #[inline]
    pub fn int(&mut self, n: i64) -> &mut Self {
        self.write(|e| e.i64(n))
    }

    #[inline]
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.write(|e| e.bool(value))
    }

    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.write(|e| e.bytes(bytes))
    }

    /// A UUID as its text of 36 bytes.
    pub fn id(&mut self, id: uuid::Uuid) -> &mut Self {
        self.text(id.as_hyphenated().encode_lower(&mut [0; 36]))
    }

    /// An item that is encoded already.
    #[inline]
    pub fn encoded(&mut self, item: &[u8]) -> &mut Self {
        self.0.writer_mut().extend_from_slice(item);
        self
    }

    /// A byte string of `len` bytes, which `fill` must append.
    #[inline]
    pub fn bytes_with(&mut self, len: usize, fill: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        self.write(|e| e.bytes_len(len as u64));
        let out = self.0.writer_mut();
        let start = out.len();
        fill(out);
        debug_assert_eq!(out.len() - start, len, "a byte string of another length than stated");
        self
    }
}
