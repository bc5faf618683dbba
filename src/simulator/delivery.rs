//! From what happened to what arrives: delays, lost connections that end in a burst, repetitions, batches.

use std::fmt;
use std::io::Write;
use std::ops::Range;

use jiff::Timestamp;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::random::Draw;

const DAY: i64 = 86_400;
/// The most events in a batch.
const BATCH: usize = 1_000;

/// One delivery of a control plane.
#[derive(Debug, Clone)]
pub struct Batch {
    /// When its last event arrived.
    pub arrived_at: Timestamp,
    /// How many events it holds, repetitions included.
    pub events: usize,
    /// A JSON array of CloudEvents.
    pub body: Vec<u8>,
}

/// A second in time, written as RFC 3339.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At(pub(crate) i64);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Timestamp::from_second(self.0).map_err(|_| fmt::Error)?.fmt(f)
    }
}

struct Arrival {
    at: i64,
    text: Range<usize>,
}

/// Collects a customer's events and brings them into the order in which they arrive.
pub(crate) struct Outbound {
    source: String,
    until: i64,
    /// When the line was down; what happens then arrives right afterwards.
    outages: Vec<Range<i64>>,
    text: Vec<u8>,
    arrivals: Vec<Arrival>,
    rng: ChaCha8Rng,
}

impl Outbound {
    /// Opens the line of a control plane between two seconds.
    pub(crate) fn new(mut rng: ChaCha8Rng, source: &str, from: i64, until: i64) -> Self {
        let days = ((until - from) / DAY).max(0);
        let count = rng.poisson(days as f64 / 150.0);
        let mut outages = Vec::new();
        for _ in 0..count {
            let start = from + rng.random_range(0..days.max(1)) * DAY + rng.random_range(0..DAY);
            let end = start + rng.random_range(DAY / 4..6 * DAY);
            // the line is up again well before the end: silence at the cut-off is another story
            if end < until - 2 * DAY {
                outages.push(start..end);
            }
        }
        Self { source: source.to_owned(), until, outages, text: Vec::new(), arrivals: Vec::new(), rng }
    }

    /// Sends an event; it may come late, come twice, or not have come yet.
    pub(crate) fn send(&mut self, kind: &str, id: fmt::Arguments<'_>, at: i64, data: fmt::Arguments<'_>) {
        let delay = self.delay(at);
        self.put(kind, id, at, data, at + delay);
    }

    /// Sends an event that arrives at once.
    pub(crate) fn send_now(&mut self, kind: &str, id: fmt::Arguments<'_>, at: i64, data: fmt::Arguments<'_>) {
        self.put(kind, id, at, data, at + 30);
    }

    fn put(&mut self, kind: &str, id: fmt::Arguments<'_>, at: i64, data: fmt::Arguments<'_>, arrives: i64) {
        if arrives >= self.until {
            return;
        }
        let start = self.text.len();
        // writing to a vector does not fail
        let _ = write!(
            self.text,
            r#"{{"specversion":"1.0","id":"{id}","source":"{}","type":"{kind}","time":"{}","data":{{{data}}}}}"#,
            self.source,
            At(at)
        );
        let text = start..self.text.len();
        if self.rng.chance(0.015) {
            let again = arrives + self.rng.random_range(60..2 * DAY);
            if again < self.until {
                self.arrivals.push(Arrival { at: again, text: text.clone() });
            }
        }
        self.arrivals.push(Arrival { at: arrives, text });
    }

    fn delay(&mut self, at: i64) -> i64 {
        if let Some(outage) = self.outages.iter().find(|outage| outage.contains(&at)) {
            return outage.end - at + self.rng.random_range(5..900);
        }
        match self.rng.random::<f64>() {
            lot if lot < 0.001 => self.rng.random_range(4 * DAY..20 * DAY),
            lot if lot < 0.012 => self.rng.random_range(3_600..3 * DAY),
            _ => self.rng.random_range(5..300),
        }
    }

    /// Closes the line and returns everything in the order of arrival.
    pub(crate) fn deliver(mut self) -> Delivered {
        self.arrivals.sort_by_key(|arrival| arrival.at);
        Delivered { text: self.text, arrivals: self.arrivals, sent: 0 }
    }
}

/// Events in the order of arrival, batch by batch.
pub(crate) struct Delivered {
    text: Vec<u8>,
    arrivals: Vec<Arrival>,
    sent: usize,
}

impl Delivered {
    pub(crate) const fn nothing() -> Self {
        Self { text: Vec::new(), arrivals: Vec::new(), sent: 0 }
    }

    pub(crate) fn next_batch(&mut self) -> Option<Batch> {
        let waiting = &self.arrivals[self.sent..];
        let batch = &waiting[..waiting.len().min(BATCH)];
        let last = batch.last()?;
        let mut body = Vec::with_capacity(batch.iter().map(|arrival| arrival.text.len() + 1).sum::<usize>() + 1);
        for arrival in batch {
            body.push(if body.is_empty() { b'[' } else { b',' });
            body.extend_from_slice(&self.text[arrival.text.clone()]);
        }
        body.push(b']');
        let arrived_at = Timestamp::from_second(last.at).unwrap_or(Timestamp::UNIX_EPOCH);
        let events = batch.len();
        self.sent += events;
        Some(Batch { arrived_at, events, body })
    }
}
