//! The body of a delivery: in which form and coding it comes, read as it comes and never further than it may be large.

use std::io::{self, Write};

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName};
use flate2::write::MultiGzDecoder;
use futures::StreamExt;
use granary_metering::BatchForm;
use zstd::stream::raw::{DParameter, Decoder, Operation};

use crate::http::intake::{Admission, Busy};

/// What is decompressed at once, so that little can become too much only so far.
const SLICE: usize = 4 << 10;
/// The largest window that a zstd stream may ask for, as a power of two: 8 MiB, what RFC 8878 asks decoders to support.
const WINDOW_LOG: u32 = 23;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Zstd,
}

/// Why a body was not read.
#[derive(Debug)]
pub(super) enum Unread {
    /// In a form or coding that nobody knows here.
    Foreign(&'static str),
    /// Larger than it may be, as it came or decompressed.
    TooLarge,
    /// Cut off, or not what its coding says.
    Broken(String),
    Busy,
}

impl From<Busy> for Unread {
    fn from(Busy: Busy) -> Self {
        Self::Busy
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?").trim())
}

/// Returns the form that a body says it has; JSON where it says nothing.
pub(super) fn form(headers: &HeaderMap) -> Result<BatchForm, Unread> {
    let Some(kind) = text(headers, CONTENT_TYPE) else { return Ok(BatchForm::Json) };
    let (kind, parameters) = kind.split_once(';').unwrap_or((kind, ""));
    let is_utf8 = |parameter: &str| match parameter.trim().split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => value.trim_matches('"').eq_ignore_ascii_case("utf-8"),
        _ => true,
    };
    if !parameters.split(';').all(is_utf8) {
        return Err(Unread::Foreign("events come in UTF-8"));
    }
    match kind.trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(BatchForm::Json),
        "application/cloudevents+json" => Ok(BatchForm::Single),
        "application/cloudevents-batch+json" => Ok(BatchForm::Array),
        "application/x-ndjson" => Ok(BatchForm::Lines),
        _ => Err(Unread::Foreign(
            "events come as application/cloudevents+json, application/cloudevents-batch+json, application/json or application/x-ndjson",
        )),
    }
}

/// Returns the coding that a body says it has.
pub(super) fn coding(headers: &HeaderMap) -> Result<Coding, Unread> {
    match text(headers, CONTENT_ENCODING).map(str::to_ascii_lowercase).as_deref() {
        None | Some("" | "identity") => Ok(Coding::Identity),
        Some("gzip" | "x-gzip") => Ok(Coding::Gzip),
        Some("zstd") => Ok(Coding::Zstd),
        Some(_) => Err(Unread::Foreign("bodies come as they are, in gzip or in zstd")),
    }
}

/// Returns how long a body says it is.
pub(super) fn length(headers: &HeaderMap) -> usize {
    text(headers, CONTENT_LENGTH).and_then(|length| length.parse().ok()).unwrap_or(0)
}

/// Reads a body, decompressed: at most `most` bytes, of what comes and of what it becomes.
pub(super) async fn read(body: Body, coding: Coding, most: usize, room: &mut Admission) -> Result<Vec<u8>, Unread> {
    let mut sink = Sink { bytes: Vec::new(), most, is_full: false };
    let mut decompressing = Decompressing::new(coding).map_err(|error| Unread::Broken(error.to_string()))?;
    let (mut stream, mut came) = (body.into_data_stream(), 0_usize);
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|_| Unread::Broken("the body ended early".to_owned()))?;
        came = came.saturating_add(piece.len());
        if came > most {
            return Err(Unread::TooLarge);
        }
        for slice in piece.chunks(SLICE) {
            decompressing.push(slice, &mut sink).map_err(|error| sink.unread(&error))?;
            room.grow_to(sink.bytes.len())?;
        }
    }
    decompressing.finish(&mut sink).map_err(|error| sink.unread(&error))?;
    room.grow_to(sink.bytes.len())?;
    Ok(sink.bytes)
}

/// Takes so many bytes and no more.
#[derive(Debug)]
struct Sink {
    bytes: Vec<u8>,
    most: usize,
    is_full: bool,
}

impl Sink {
    fn unread(&self, error: &io::Error) -> Unread {
        if self.is_full { Unread::TooLarge } else { Unread::Broken(format!("the body is not what its coding says: {error}")) }
    }
}

impl Write for Sink {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if piece.len() > self.most - self.bytes.len() {
            self.is_full = true;
            return Err(io::Error::other("too large"));
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A coding that is being undone. What comes out of gzip waits in the decoder until it is taken.
enum Decompressing {
    Identity,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// With whether a frame has ended.
    Zstd(Box<Decoder<'static>>, bool),
}

impl Decompressing {
    fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Identity => Self::Identity,
            Coding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            Coding::Zstd => {
                let mut decoder = Decoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
                Self::Zstd(Box::new(decoder), true)
            }
        })
    }

    fn push(&mut self, slice: &[u8], sink: &mut Sink) -> io::Result<()> {
        match self {
            Self::Identity => sink.write_all(slice),
            Self::Gzip(decoder) => {
                decoder.write_all(slice)?;
                let out = std::mem::take(decoder.get_mut());
                sink.write_all(&out)
            }
            Self::Zstd(decoder, is_at_end) => {
                let (mut taken, mut out) = (0, [0; SLICE * 4]);
                loop {
                    let status = decoder.run_on_buffers(&slice[taken..], &mut out)?;
                    taken += status.bytes_read;
                    sink.write_all(&out[..status.bytes_written])?;
                    *is_at_end = status.remaining == 0;
                    // After a frame may come another one, which begins by itself.
                    if taken == slice.len() && (*is_at_end || status.bytes_written < out.len()) {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn finish(self, sink: &mut Sink) -> io::Result<()> {
        match self {
            Self::Identity | Self::Zstd(_, true) => Ok(()),
            Self::Gzip(decoder) => {
                let out = decoder.finish()?;
                sink.write_all(&out)
            }
            Self::Zstd(_, false) => Err(io::Error::other("it ended early")),
        }
    }
}
