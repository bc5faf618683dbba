//! A long stream in pieces: compressed, cut, sealed; and back. Neither way holds more than a few pieces in memory.

use std::io::{self, Write};

use granary_db::BaseBackup;
use granary_foundation::Progress;
use granary_vault::BackupKey;
use tokio::sync::mpsc;

use crate::RecoveryError;
use crate::manifest::Part;
use crate::place::Backups;

/// How large a piece is, compressed.
const PART_BYTES: usize = 32 << 20;
/// How much is read at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Fast: the network is the limit, and pages of tables compress well at any level.
const LEVEL: i32 = 1;
/// Bytes at the beginning of the tar in which its label stands.
const LABEL_BYTES: usize = 2_048;

/// What came of a stream.
pub(crate) struct Stored {
    pub(crate) parts: Vec<Part>,
    /// Before compression.
    pub(crate) bytes: u64,
    /// The segment of the log in which the base begins, as its label says.
    pub(crate) first_segment: Option<String>,
}

/// Collects what the encoder writes and lets go of it piece by piece.
struct Cutter {
    piece: Vec<u8>,
    pieces: mpsc::Sender<Vec<u8>>,
}

impl Cutter {
    fn hand_on(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        self.pieces.blocking_send(piece).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Write for Cutter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PART_BYTES - self.piece.len();
        let taken = &bytes[..bytes.len().min(room)];
        self.piece.extend_from_slice(taken);
        if self.piece.len() == PART_BYTES {
            self.hand_on()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Stores a base backup under a folder, as it comes.
pub(crate) async fn store(
    mut backup: BaseBackup,
    to: &Backups,
    folder: &str,
    key: &BackupKey,
    progress: &dyn Progress,
) -> Result<Stored, RecoveryError> {
    let (chunks, mut chunks_in) = mpsc::channel::<Vec<u8>>(2);
    let (pieces, mut pieces_in) = mpsc::channel::<Vec<u8>>(1);
    let encoding = tokio::task::spawn_blocking(move || {
        let mut encoder = zstd::stream::write::Encoder::new(Cutter { piece: Vec::new(), pieces }, LEVEL)?;
        while let Some(chunk) = chunks_in.blocking_recv() {
            encoder.write_all(&chunk)?;
        }
        encoder.finish()?.hand_on()
    });
    let feeding = async {
        let (mut label, mut bytes) = (Vec::new(), 0);
        loop {
            let chunk = backup.read(CHUNK_BYTES).await?;
            if chunk.is_empty() {
                break;
            }
            if label.len() < LABEL_BYTES {
                label.extend_from_slice(&chunk[..chunk.len().min(LABEL_BYTES)]);
            }
            bytes += chunk.len() as u64;
            progress.advance(chunk.len() as u64 >> 20);
            if chunks.send(chunk).await.is_err() {
                break;
            }
        }
        // A stream that broke off must not end like a whole one.
        backup.finish().await?;
        drop(chunks);
        Ok::<_, RecoveryError>((first_segment(&label), bytes))
    };
    let storing = async {
        let mut parts = Vec::new();
        while let Some(piece) = pieces_in.recv().await {
            let name = format!("part-{:06}", parts.len());
            let (size_bytes, sha256) = to.put(key, &format!("{folder}/{name}"), &piece).await?;
            parts.push(Part { name, size_bytes, sha256 });
        }
        drop(pieces_in);
        Ok::<_, RecoveryError>(parts)
    };
    let (encoded, fed, stored) = futures::join!(encoding, feeding, storing);
    let (parts, (first_segment, bytes)) = (stored?, fed?);
    encoded.map_err(|error| RecoveryError::Packing(error.to_string()))?.map_err(|error| RecoveryError::Packing(error.to_string()))?;
    Ok(Stored { parts, bytes, first_segment })
}

/// Reads `START WAL LOCATION: 0/2000028 (file 000000010000000000000002)`.
fn first_segment(label: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(label);
    let (_, rest) = text.split_once("START WAL LOCATION: ")?;
    let (_, rest) = rest.split_once("(file ")?;
    let (name, _) = rest.split_once(')')?;
    (name.len() == 24).then(|| name.to_owned())
}

/// Compresses something small enough for one piece.
pub(crate) fn compress(content: &[u8]) -> Result<Vec<u8>, RecoveryError> {
    zstd::bulk::compress(content, LEVEL).map_err(|error| RecoveryError::Packing(error.to_string()))
}

/// The opposite; `most` bounds what comes out.
pub(crate) fn decompress(content: &[u8], most: usize) -> Result<Vec<u8>, RecoveryError> {
    zstd::bulk::decompress(content, most).map_err(|error| RecoveryError::Packing(error.to_string()))
}

/// Takes opened pieces, in order, and writes what they were made of.
pub(crate) struct Joiner<W: Write + Send + 'static> {
    pieces: Option<mpsc::Sender<Vec<u8>>>,
    decoding: tokio::task::JoinHandle<io::Result<W>>,
}

impl<W: Write + Send + 'static> Joiner<W> {
    pub(crate) fn begin(out: W) -> io::Result<Self> {
        let (pieces, mut pieces_in) = mpsc::channel::<Vec<u8>>(1);
        let mut decoder = zstd::stream::write::Decoder::new(out)?;
        let decoding = tokio::task::spawn_blocking(move || {
            while let Some(piece) = pieces_in.blocking_recv() {
                decoder.write_all(&piece)?;
            }
            decoder.finish()
        });
        Ok(Self { pieces: Some(pieces), decoding })
    }

    /// Takes the next piece; when the other end is gone, [`Self::finish`] says why.
    pub(crate) async fn push(&self, piece: Vec<u8>) {
        if let Some(pieces) = &self.pieces {
            pieces.send(piece).await.ok();
        }
    }

    pub(crate) async fn finish(mut self) -> Result<W, RecoveryError> {
        self.pieces = None;
        let failed = |error: &dyn std::fmt::Display| RecoveryError::Packing(error.to_string());
        self.decoding.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_of_a_base_names_its_first_segment() {
        let label = b"backup_label\0\0START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/2000060\n";
        assert_eq!(first_segment(label).as_deref(), Some("000000010000000000000002"));
        assert_eq!(first_segment(b"PG_VERSION"), None);
    }

    #[tokio::test]
    async fn what_was_cut_is_joined_again() {
        let content: Vec<u8> = (0..200_000_u32).flat_map(|number| (number.wrapping_mul(2_654_435_761)).to_be_bytes()).collect();
        let packed = compress(&content).unwrap();
        let joiner = Joiner::begin(Vec::new()).unwrap();
        for piece in packed.chunks(1_000) {
            joiner.push(piece.to_vec()).await;
        }
        assert!(joiner.finish().await.unwrap() == content);
        assert!(decompress(&packed, content.len()).unwrap() == content && decompress(&packed, 10).is_err());
    }
}
