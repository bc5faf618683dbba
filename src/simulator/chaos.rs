//! A control plane with a bad line: what it sends when, what goes wrong on the way, and what it may conclude from the answers.
//!
//! It sends every event until it hears that it counts, repeats some that count already, and knows the fate that each must meet.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::random::{Draw, Purpose, stream};
use crate::traffic::{Traffic, Truth};

/// Surprises that are kept; one is enough to fail.
const SURPRISES: usize = 20;

/// What happens to a delivery on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    None,
    /// It goes out twice at the same moment.
    Twice,
    /// It goes out late.
    Late(Duration),
    /// Its bytes are no JSON any more.
    Garbled,
    /// The line breaks before all of it was sent.
    HalfSent,
    /// The line breaks this long after it was sent, before the answer is read.
    Unread(Duration),
}

/// What the server says of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Accepted,
    Duplicate,
    Conflict,
    Invalid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Event(u64),
    Misfit(u64),
    Contradiction(u64),
}

/// A batch on its way.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub body: Vec<u8>,
    pub mishap: Mishap,
    items: Vec<Item>,
}

/// One control plane: what happened there, what is out, and what is known to count.
#[derive(Debug)]
pub struct ControlPlane {
    traffic: Traffic,
    rng: ChaCha8Rng,
    is_chaotic: bool,
    happened: u64,
    turn: u64,
    waiting: Vec<u64>,
    /// What is held back, and until which turn.
    late: Vec<(u64, u64)>,
    acknowledged: BTreeSet<u64>,
    /// What was called new; nothing may be that twice.
    accepted: BTreeSet<u64>,
    surprises: Vec<String>,
}

impl ControlPlane {
    /// Returns a control plane at which nothing has happened yet; without chaos it sends everything once and in order.
    pub fn new(traffic: Traffic, seed: u64, index: u64, is_chaotic: bool) -> Self {
        let rng = stream(seed, index, Purpose::Chaos);
        Self {
            traffic,
            rng,
            is_chaotic,
            happened: 0,
            turn: 0,
            waiting: Vec::new(),
            late: Vec::new(),
            acknowledged: BTreeSet::new(),
            accepted: BTreeSet::new(),
            surprises: Vec::new(),
        }
    }

    /// Lets events happen, up to a number.
    pub fn happen(&mut self, until: u64) {
        self.waiting.extend(self.happened..until);
        self.happened = self.happened.max(until);
    }

    /// Returns the next delivery, of at most so many new events; none when nothing waits at the moment.
    pub fn next_delivery(&mut self, most: usize) -> Option<Delivery> {
        self.turn += 1;
        let turn = self.turn;
        let due = self.late.extract_if(.., |(until, _)| *until <= turn).map(|(_, number)| number);
        self.waiting.extend(due);
        let size = if self.is_chaotic { self.hold_back(most) } else { most };
        let mut items: Vec<Item> = self.waiting.drain(..size.min(self.waiting.len())).map(Item::Event).collect();
        if items.is_empty() {
            return None;
        }
        let mishap = if self.is_chaotic { self.adorn(&mut items) } else { Mishap::None };
        Some(Delivery { body: self.write(&items, mishap), mishap, items })
    }

    /// Shuffles what waits, holds some of it back, and says how much goes out.
    fn hold_back(&mut self, most: usize) -> usize {
        self.waiting.shuffle(&mut self.rng);
        let held = (0..self.waiting.len()).filter(|_| self.rng.chance(0.05)).count();
        for number in self.waiting.split_off(self.waiting.len() - held) {
            self.late.push((self.turn + self.rng.random_range(1..20), number));
        }
        self.rng.random_range(1..=most.max(1))
    }

    /// Adds what was sent before and what no server may count, and draws what goes wrong.
    fn adorn(&mut self, items: &mut Vec<Item>) -> Mishap {
        for _ in 0..self.rng.random_range(0..4) {
            let number = self.rng.random_range(0..self.happened);
            let is_known = self.acknowledged.contains(&number);
            let item = match self.rng.random_range(0..8) {
                0 => Item::Misfit(number),
                1 if is_known => Item::Contradiction(number),
                _ if is_known => Item::Event(number),
                _ => continue,
            };
            items.push(item);
        }
        items.shuffle(&mut self.rng);
        match self.rng.random_range(0..100) {
            0..8 => Mishap::Twice,
            8..14 => Mishap::Late(Duration::from_millis(self.rng.random_range(10..1_500))),
            14..20 => Mishap::Garbled,
            20..27 => Mishap::HalfSent,
            27..35 => Mishap::Unread(Duration::from_millis(self.rng.random_range(0..40))),
            _ => Mishap::None,
        }
    }

    fn write(&mut self, items: &[Item], mishap: Mishap) -> Vec<u8> {
        let mut body = Vec::with_capacity(items.len() * 400);
        for item in items {
            body.push(if body.is_empty() { b'[' } else { b',' });
            let text = match *item {
                Item::Event(number) => self.traffic.event(number),
                Item::Misfit(number) => self.traffic.misfit(number),
                Item::Contradiction(number) => self.traffic.contradiction(number),
            };
            body.extend_from_slice(text.as_bytes());
        }
        body.push(b']');
        if mishap == Mishap::Garbled {
            // A quote or a bracket less, or bytes that are no text: never other JSON, which nobody could tell from what was meant.
            let cut = self.rng.random_range(1..body.len());
            body.truncate(cut);
            body.push(0xff);
        }
        body
    }

    /// Hears what became of a delivery, event by event.
    pub fn hear(&mut self, delivery: &Delivery, fates: &[Fate]) {
        if fates.len() != delivery.items.len() {
            self.be_surprised(format!("{} events were answered with {} fates", delivery.items.len(), fates.len()));
            return self.lose(delivery);
        }
        for (item, fate) in delivery.items.iter().zip(fates) {
            match (*item, *fate) {
                (Item::Event(number), Fate::Accepted) => {
                    if !self.accepted.insert(number) {
                        self.be_surprised(format!("event {number} was new twice"));
                    }
                    self.acknowledged.insert(number);
                }
                (Item::Event(number), Fate::Duplicate) => _ = self.acknowledged.insert(number),
                (Item::Misfit(_), Fate::Invalid) | (Item::Contradiction(_), Fate::Conflict) => {}
                (item, fate) => {
                    self.be_surprised(format!("{item:?} met the fate {fate:?}"));
                    if let Item::Event(number) = item {
                        self.waiting.push(number);
                    }
                }
            }
        }
    }

    /// Hears nothing, or that it should come again: what was new in the delivery goes out once more.
    pub fn lose(&mut self, delivery: &Delivery) {
        let open = delivery.items.iter().filter_map(|item| match item {
            Item::Event(number) => Some(*number).filter(|number| !self.acknowledged.contains(number)),
            Item::Misfit(_) | Item::Contradiction(_) => None,
        });
        self.waiting.extend(open.collect::<BTreeSet<_>>());
    }

    /// Notes what no server may do.
    pub fn be_surprised(&mut self, what: String) {
        if self.surprises.len() < SURPRISES {
            self.surprises.push(what);
        }
    }

    /// Draws a time around another, so that not everybody comes again at once.
    pub fn jitter(&mut self, around: Duration) -> Duration {
        around.mul_f64(self.rng.random_range(1.0..1.5)) + Duration::from_millis(self.rng.random_range(0..100))
    }

    /// Tells whether everything that happened is known to count.
    pub fn is_done(&self) -> bool {
        self.acknowledged.len() as u64 == self.happened
    }

    /// Returns how many events are known to count.
    pub fn acknowledged_count(&self) -> u64 {
        self.acknowledged.len() as u64
    }

    /// Returns what the server has said that it counts.
    pub fn acknowledged(&self) -> Truth {
        self.traffic.truth(&self.acknowledged)
    }

    /// Returns what happened.
    pub fn truth(&self) -> Truth {
        self.traffic.truth(&(0..self.happened).collect())
    }

    /// Returns what no server may have done.
    pub fn surprises(&self) -> &[String] {
        &self.surprises
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::Value;

    use super::*;

    /// A server that is exact, in memory; `forgets` every so manieth key.
    #[derive(Default)]
    struct Server {
        known: HashMap<String, Value>,
        forgets: Option<usize>,
        taken: usize,
    }

    impl Server {
        fn take(&mut self, body: &[u8]) -> Option<Vec<Fate>> {
            let events: Vec<Value> = serde_json::from_slice(body).ok()?;
            let fate = |event: Value| {
                if event["data"].as_object().unwrap().is_empty() {
                    return Fate::Invalid;
                }
                let id = event["id"].as_str().unwrap().to_owned();
                self.taken += 1;
                if self.forgets.is_some_and(|every| self.taken.is_multiple_of(every)) {
                    self.known.remove(&id);
                }
                match self.known.get(&id) {
                    Some(known) if *known == event => Fate::Duplicate,
                    Some(_) => Fate::Conflict,
                    None => {
                        self.known.insert(id, event);
                        Fate::Accepted
                    }
                }
            };
            Some(events.into_iter().map(fate).collect())
        }
    }

    fn play(mut server: Server) -> (ControlPlane, Server) {
        let mut plane = ControlPlane::new(Traffic::new(7, 1, "sim"), 7, 1, true);
        for turn in 0..2_000_u64 {
            plane.happen((turn * 10).min(3_000));
            let Some(delivery) = plane.next_delivery(100) else { continue };
            match delivery.mishap {
                Mishap::HalfSent => plane.lose(&delivery),
                Mishap::Unread(_) => {
                    server.take(&delivery.body);
                    plane.lose(&delivery);
                }
                mishap => {
                    let times = if mishap == Mishap::Twice { 2 } else { 1 };
                    for _ in 0..times {
                        match server.take(&delivery.body) {
                            Some(fates) => plane.hear(&delivery, &fates),
                            None => plane.lose(&delivery),
                        }
                    }
                }
            }
        }
        (plane, server)
    }

    #[test]
    fn an_exact_server_surprises_nobody_whatever_goes_wrong_on_the_way() {
        let (plane, server) = play(Server::default());
        assert!(plane.is_done() && plane.surprises().is_empty(), "{:?}", plane.surprises());
        assert_eq!((server.known.len(), plane.acknowledged()), (3_000, plane.truth()));
        assert_eq!(plane.truth().events, 3_000);
    }

    #[test]
    fn a_server_that_forgets_is_found_out() {
        let (plane, _) = play(Server { forgets: Some(50), ..Server::default() });
        assert!(!plane.surprises().is_empty());
    }
}
