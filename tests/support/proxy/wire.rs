//! Messages of PostgreSQL's protocol, as far as a proxy must read them.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// One message: its kind, and all of its bytes with kind and length.
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) bytes: Vec<u8>,
}

impl Message {
    /// Makes a message of a kind from what follows its length.
    pub(super) fn new(kind: u8, body: &[u8]) -> Self {
        let length = u32::try_from(body.len() + 4).expect("invariant: a message is below 4 GiB");
        let bytes = [&[kind], &length.to_be_bytes()[..], body].concat();
        Self { kind, bytes }
    }

    /// Reads the next message.
    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let kind = from.read_u8().await?;
        let length = from.read_u32().await?;
        let mut bytes = vec![kind];
        bytes.extend(length.to_be_bytes());
        bytes.resize(size(length)? + 1, 0);
        from.read_exact(&mut bytes[5..]).await?;
        Ok(Self { kind, bytes })
    }

    /// Gives what follows the length.
    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[5..]
    }
}

/// Reads the first message of a client, which has no kind. Answers its code and its bytes.
pub(super) async fn startup(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(u32, Vec<u8>)> {
    let length = from.read_u32().await?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.resize(size(length)?, 0);
    from.read_exact(&mut bytes[4..]).await?;
    let code = bytes[4..].first_chunk().ok_or_else(no_protocol)?;
    Ok((u32::from_be_bytes(*code), bytes))
}

/// Splits a text that ends with a zero byte off.
pub(super) fn text(bytes: &[u8]) -> io::Result<(String, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0);
    let end = end.ok_or_else(no_protocol)?;
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    Ok((text, &bytes[end + 1..]))
}

fn size(length: u32) -> io::Result<usize> {
    match usize::try_from(length) {
        Ok(size @ 4..) => Ok(size),
        _ => Err(no_protocol()),
    }
}

fn no_protocol() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "these bytes are not PostgreSQL's protocol",
    )
}
