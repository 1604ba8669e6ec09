//! The other end of a bare program: sockets that are read and forgotten.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::load::poller::Poller;

/// See the module.
pub struct Drain {
    poller: Poller,
    sockets: Vec<TcpStream>,
    buffer: Vec<u8>,
    ready: Vec<usize>,
    /// Bytes read so far.
    pub bytes: u64,
}

impl Drain {
    /// Connects so many sockets. Each says one line, so that the program has
    /// read from it, as a server has.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(program: SocketAddr, sockets: usize) -> Result<Self> {
        let poller = Poller::new()?;
        let open = |number| -> Result<TcpStream> {
            let mut stream = TcpStream::connect(program)?;
            stream.set_nodelay(true)?;
            stream.write_all(b"hello\n")?;
            stream.set_nonblocking(true)?;
            poller.add(&stream, number)?;
            Ok(stream)
        };
        let sockets = (0..sockets).map(open).collect::<Result<_>>()?;
        Ok(Self { poller, sockets, buffer: vec![0; 256 * 1024], ready: Vec::new(), bytes: 0 })
    }

    /// Reads for so long.
    ///
    /// # Errors
    /// When the program ends.
    pub fn listen(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now())
            && !left.is_zero()
        {
            self.poller.wait(left, &mut self.ready)?;
            for &number in &self.ready {
                match self.sockets[number].read(&mut self.buffer) {
                    Ok(0) => bail!("a bare program has ended"),
                    Ok(n) => self.bytes += n as u64,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}
