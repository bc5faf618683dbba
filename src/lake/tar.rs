//! Tar archives as POSIX describes them (ustar), written to a file in one go: each header is filled in when its content is
//! known.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};

use sha2::{Digest, Sha256};

/// Everything in a tar archive is padded to blocks of this size.
const BLOCK: usize = 512;
/// The largest size that eleven octal digits hold; beyond it a size is written in binary, as every tar reads it.
const LARGEST_OCTAL: u64 = 0o777_7777_7777;

/// A tar archive that is being written.
#[derive(Debug)]
pub(crate) struct TarWriter {
    file: BufWriter<File>,
    /// Where the next header goes.
    at: u64,
    modified_at: u64,
}

/// A file within the archive that is being written.
#[derive(Debug)]
pub(crate) struct TarMember<'a> {
    tar: &'a mut TarWriter,
    name: String,
    bytes: u64,
    digest: Sha256,
}

impl TarWriter {
    pub(crate) fn new(file: File, modified_at: u64) -> Self {
        Self { file: BufWriter::with_capacity(1 << 20, file), at: 0, modified_at }
    }

    /// Begins a file. One that is not finished is overwritten by the next.
    pub(crate) fn begin(&mut self, name: &str) -> io::Result<TarMember<'_>> {
        if name.len() > 100 {
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, "a name in an archive has at most 100 bytes"));
        }
        self.file.seek(SeekFrom::Start(self.at))?;
        self.file.write_all(&[0; BLOCK])?;
        Ok(TarMember { tar: self, name: name.to_owned(), bytes: 0, digest: Sha256::new() })
    }

    /// Ends the archive and waits until it is on the disk.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        self.file.seek(SeekFrom::Start(self.at))?;
        self.file.write_all(&[0; 2 * BLOCK])?;
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let size = self.at + 2 * BLOCK as u64;
        file.set_len(size)?;
        file.sync_all()?;
        Ok(size)
    }

    fn header(&self, name: &str, bytes: u64) -> [u8; BLOCK] {
        let mut header = [0; BLOCK];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, name.as_bytes());
        put(100, b"0000600\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        if bytes <= LARGEST_OCTAL {
            put(124, format!("{bytes:011o}\0").as_bytes());
        } else {
            put(124, &[0x80, 0, 0, 0]);
            put(128, &bytes.to_be_bytes());
        }
        put(136, format!("{:011o}\0", self.modified_at).as_bytes());
        // The sum is made with blanks in its own place.
        put(148, b"        ");
        put(156, b"0");
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }
}

impl Write for TarMember<'_> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let written = self.tar.file.write(content)?;
        self.digest.update(&content[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tar.file.flush()
    }
}

impl TarMember<'_> {
    /// Ends the file; returns its size and its SHA-256.
    pub(crate) fn finish(self) -> io::Result<(u64, [u8; 32])> {
        let Self { tar, name, bytes, digest } = self;
        let block = BLOCK as u64;
        let padding = (block - bytes % block) % block;
        tar.file.write_all(&[0; BLOCK][..usize::try_from(padding).unwrap_or(0)])?;
        let header = tar.header(&name, bytes);
        tar.file.seek(SeekFrom::Start(tar.at))?;
        tar.file.write_all(&header)?;
        tar.at += block + bytes + padding;
        tar.file.seek(SeekFrom::Start(tar.at))?;
        Ok((bytes, digest.finalize().into()))
    }
}
