//! What clients send, read with bounds: a message is looked at only as a whole, nothing is reserved for what a length word promises, and
//! what does not fit its own frame is refused.

use std::collections::BTreeMap;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest statement, and the longest set of values.
const LONGEST: usize = 4 << 20;
/// The longest message of somebody who is not known yet.
const LONGEST_OF_STRANGERS: usize = 10_000;
/// About what a value takes beside its bytes; an array of the engine's is the largest.
const VALUE_BYTES: usize = 500;
/// How much is read ahead while a question is answered.
const AHEAD: usize = 64 << 10;

const SSL: i32 = 80_877_103;
const GSS: i32 = 80_877_104;
const CANCEL: i32 = 80_877_102;

/// Why no message came.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("the client has gone")]
    Gone,
    #[error("{0}")]
    Broken(&'static str),
    #[error("reading from a client: {0}")]
    Io(#[from] io::Error),
}

/// How a connection begins.
#[derive(Debug)]
pub(super) enum Opening {
    Ssl,
    Gss,
    Cancel { pid: i32, secret: Bytes },
    Startup { minor: u16, parameters: BTreeMap<String, String> },
}

/// What a name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Statement,
    Portal,
}

/// A message of somebody who was let in.
#[derive(Debug)]
pub(super) enum Message {
    Query(String),
    Parse {
        name: String,
        sql: String,
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe(Target, String),
    Execute {
        portal: String,
        most_rows: usize,
    },
    Close(Target, String),
    Flush,
    Sync,
    Terminate,
    /// A part of a copy that was never begun: ignored, as Postgres does.
    Copy,
}

/// Values for a statement, as they came.
#[derive(Debug)]
pub(super) struct Bind {
    pub(super) portal: String,
    pub(super) statement: String,
    pub(super) value_formats: Vec<i16>,
    pub(super) values: Vec<Option<Bytes>>,
    pub(super) result_formats: Vec<i16>,
}

impl Bind {
    /// About how many bytes its values take once they are read.
    pub(super) fn size(&self) -> usize {
        self.values.iter().map(|value| VALUE_BYTES + value.as_ref().map_or(0, Bytes::len)).sum()
    }
}

/// The reading half of a connection.
#[derive(Debug)]
pub(super) struct Inbox<R> {
    reader: R,
    read: BytesMut,
}

impl<R: AsyncRead + Unpin> Inbox<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, read: BytesMut::new() }
    }

    /// Gives the reader back; none when something was read that was not asked for: it would be taken for what comes encrypted.
    pub(super) fn into_reader(self) -> Option<R> {
        self.read.is_empty().then_some(self.reader)
    }

    /// Reads one of the messages that have no letter.
    pub(super) async fn opening(&mut self) -> Result<Opening, FrameError> {
        let mut body = self.frame(0, LONGEST_OF_STRANGERS).await?;
        if body.len() < 4 {
            return Err(FrameError::Broken("the first message is too short"));
        }
        match body.get_i32() {
            SSL => Ok(Opening::Ssl),
            GSS => Ok(Opening::Gss),
            CANCEL if body.len() >= 8 => Ok(Opening::Cancel { pid: body.get_i32(), secret: body }),
            version if version >> 16 == 3 => {
                let (mut parameters, mut fields) = (BTreeMap::new(), Fields(body));
                loop {
                    let name = fields.text()?;
                    if name.is_empty() {
                        break;
                    }
                    parameters.insert(name, fields.text()?);
                }
                Ok(Opening::Startup { minor: u16::try_from(version & 0xffff).unwrap_or(u16::MAX), parameters })
            }
            _ => Err(FrameError::Broken("this is not version 3 of the protocol")),
        }
    }

    /// Reads an answer to the question who somebody is.
    pub(super) async fn proof(&mut self) -> Result<Bytes, FrameError> {
        match self.letter().await? {
            b'p' => self.frame(1, LONGEST_OF_STRANGERS).await,
            _ => Err(FrameError::Broken("a proof was expected")),
        }
    }

    /// Reads a message of somebody who was let in.
    pub(super) async fn message(&mut self) -> Result<Message, FrameError> {
        let letter = self.letter().await?;
        if !b"QPBDECHSXdcf".contains(&letter) {
            return Err(FrameError::Broken("there is no such message"));
        }
        let mut fields = Fields(self.frame(1, LONGEST).await?);
        let message = match letter {
            b'Q' => Message::Query(fields.text()?),
            b'P' => {
                let (name, sql) = (fields.text()?, fields.text()?);
                let count = fields.count()?;
                Message::Parse { name, sql, types: (0..count).map(|_| fields.int().map(i32::cast_unsigned)).collect::<Result<_, _>>()? }
            }
            b'B' => Message::Bind(fields.bind()?),
            b'D' => Message::Describe(fields.target()?, fields.text()?),
            b'C' => Message::Close(fields.target()?, fields.text()?),
            // No row, or fewer, are all rows.
            b'E' => Message::Execute { portal: fields.text()?, most_rows: usize::try_from(fields.int()?).unwrap_or(0) },
            b'H' => Message::Flush,
            b'S' => Message::Sync,
            b'X' => Message::Terminate,
            _ => return Ok(Message::Copy),
        };
        if fields.0.is_empty() { Ok(message) } else { Err(FrameError::Broken("a message is longer than what it holds")) }
    }

    /// Waits until the client goes; what it sends meanwhile is kept for later, as much as is reasonable.
    pub(super) async fn until_gone(&mut self) {
        while self.read.len() < AHEAD {
            if self.fill().await.is_err() {
                return;
            }
        }
        std::future::pending().await
    }

    async fn letter(&mut self) -> Result<u8, FrameError> {
        loop {
            if let Some(letter) = self.read.first() {
                return Ok(*letter);
            }
            self.fill().await?;
        }
    }

    /// Takes a message behind its letter, if it has one: its length, and as much.
    async fn frame(&mut self, letters: usize, longest: usize) -> Result<Bytes, FrameError> {
        loop {
            if let Some(word) = self.read.get(letters..letters + 4) {
                let length = usize::try_from(i32::from_be_bytes(word.try_into().unwrap_or_default())).unwrap_or(0);
                if length < 4 {
                    return Err(FrameError::Broken("the length of a message is wrong"));
                }
                if length > longest {
                    return Err(FrameError::Broken("a message is too long"));
                }
                if self.read.len() >= letters + length {
                    let mut whole = self.read.split_to(letters + length).freeze();
                    whole.advance(letters + 4);
                    return Ok(whole);
                }
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), FrameError> {
        match self.reader.read_buf(&mut self.read).await? {
            0 => Err(FrameError::Gone),
            _ => Ok(()),
        }
    }
}

/// The fields of a message, none of which reaches beyond it.
pub(super) struct Fields(pub(super) Bytes);

const SHORT: FrameError = FrameError::Broken("a message ends within a field");

impl Fields {
    pub(super) fn text(&mut self) -> Result<String, FrameError> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(SHORT)?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        String::from_utf8(text.into()).map_err(|_| FrameError::Broken("a text is not UTF-8"))
    }

    pub(super) fn int(&mut self) -> Result<i32, FrameError> {
        if self.0.len() < 4 { Err(SHORT) } else { Ok(self.0.get_i32()) }
    }

    fn short(&mut self) -> Result<i16, FrameError> {
        if self.0.len() < 2 { Err(SHORT) } else { Ok(self.0.get_i16()) }
    }

    fn count(&mut self) -> Result<usize, FrameError> {
        Ok(usize::from(self.short()?.cast_unsigned()))
    }

    fn target(&mut self) -> Result<Target, FrameError> {
        match self.0.first() {
            Some(b'S') => {
                self.0.advance(1);
                Ok(Target::Statement)
            }
            Some(b'P') => {
                self.0.advance(1);
                Ok(Target::Portal)
            }
            _ => Err(FrameError::Broken("neither a statement nor a portal is meant")),
        }
    }

    /// A value behind its length; none for null.
    pub(super) fn value(&mut self) -> Result<Option<Bytes>, FrameError> {
        match usize::try_from(self.int()?) {
            Err(_) => Ok(None),
            Ok(length) if length > self.0.len() => Err(SHORT),
            Ok(length) => Ok(Some(self.0.split_to(length))),
        }
    }

    fn formats(&mut self) -> Result<Vec<i16>, FrameError> {
        (0..self.count()?).map(|_| self.short()).collect()
    }

    fn bind(&mut self) -> Result<Bind, FrameError> {
        let (portal, statement) = (self.text()?, self.text()?);
        let value_formats = self.formats()?;
        let values = (0..self.count()?).map(|_| self.value()).collect::<Result<_, _>>()?;
        Ok(Bind { portal, statement, value_formats, values, result_formats: self.formats()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> Result<Message, FrameError> {
        Inbox::new(bytes).message().await
    }

    #[tokio::test]
    async fn what_does_not_fit_its_frame_is_refused() {
        assert!(matches!(read(b"Q\0\0\0\x0dselect 1\0").await.unwrap(), Message::Query(sql) if sql == "select 1"));
        for broken in [
            &b"Q\0\0\0\x03"[..],
            b"Q\x7f\xff\xff\xff",
            b"Q\xff\xff\xff\xff",
            b"Q\0\0\0\x0cselect 1",
            b"Q\0\0\0\x0eselect 1\0x",
            b"Q\0\0\0\x06\xff\0",
            b"\0\0\0\0\x04",
            b"B\0\0\0\x0c\0\0\x7f\xff\0\0\0\0",
            b"B\0\0\0\x10\0\0\0\0\0\x01\0\0\0\x09\0\0",
            b"D\0\0\0\x06X\0",
            b"P\0\0\0\x08\0\0\0\x01",
        ] {
            assert!(matches!(read(broken).await, Err(FrameError::Broken(_))), "{broken:?}");
        }
        assert!(matches!(read(b"Q\0\0\0\x0dsel").await, Err(FrameError::Gone)));
    }

    #[tokio::test]
    async fn a_stranger_opens_with_little() {
        let opening = async |bytes: &[u8]| Inbox::new(bytes).opening().await;
        assert!(matches!(opening(b"\0\0\0\x08\x04\xd2\x16\x2f").await.unwrap(), Opening::Ssl));
        let started = opening(b"\0\0\0\x11\0\x03\0\0user\0me\0\0").await.unwrap();
        assert!(matches!(started, Opening::Startup { minor: 0, parameters } if parameters["user"] == "me"));
        for broken in
            [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\0\0\0\x04", b"\0\0\0\x09\0\x02\0\0\0", b"\0\0\0\x0c\0\x03\0\0user", b"\0\0\x30\0\0\x03\0\0"]
        {
            assert!(matches!(opening(broken).await, Err(FrameError::Broken(_))), "{broken:?}");
        }
    }
}
