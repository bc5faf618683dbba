//! The line between a control plane and the server, and what goes wrong on it.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use granary_foundation::outbound::{Answer, Body, OutboundError};
use granary_foundation::{Outbound, Secret, SharedProgress};
use granary_simulator::{ControlPlane, Delivery, Fate, Mishap};
use http_body::{Frame, SizeHint};
use serde::Deserialize;

use crate::cli::{Failure, Usage};

const PATH: &str = "/api/v1/usage/events";
/// How often a control plane looks whether something waits.
const TICK: Duration = Duration::from_millis(50);
/// For so long everything is tried again after the last answer that anything counts.
const PATIENCE: Duration = Duration::from_secs(120);
/// What is waited where the server does not say how long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A way to the server, with the key of one customer.
#[derive(Debug, Clone)]
pub(super) struct Line {
    out: Outbound,
    address: String,
    key: Secret,
}

/// A control plane that has sent what it could, and what it was answered how often.
#[derive(Debug)]
pub(super) struct Driven {
    plane: ControlPlane,
    answers: BTreeMap<String, u64>,
}

/// What all have sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) planes: Vec<ControlPlane>,
    pub(super) answers: BTreeMap<String, u64>,
}

impl Sent {
    pub(super) fn add(&mut self, driven: Driven) {
        self.planes.push(driven.plane);
        for (answer, times) in driven.answers {
            *self.answers.entry(answer).or_default() += times;
        }
    }
}

/// What a control plane makes of an answer.
enum Reaction {
    Fates(Vec<Fate>),
    /// No answer was read.
    Silence,
    /// It should come again, after a while if the server says so.
    Again(Option<Duration>),
    /// What was sent was not understood.
    Misunderstood,
    /// No other attempt would help.
    Refused(String),
}

impl Line {
    /// Returns a line to a server, without a key yet.
    ///
    /// # Errors
    /// When the address may not be called.
    pub(super) fn new(out: Outbound, url: &str) -> Result<Self, Failure> {
        let address = format!("{}{PATH}", url.trim_end_matches('/'));
        out.check(&address)?;
        Ok(Self { out, address, key: Secret::new("") })
    }

    /// Refuses a server that is not there; later on it may come and go.
    ///
    /// # Errors
    /// When nothing answers.
    pub(super) async fn must_answer(&self) -> Result<(), Usage> {
        match self.out.get(&self.address, None).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let address = self.address.trim_end_matches(PATH);
                Err(Usage(format!("{address} does not answer: {error}; start granary serve, or name another server with --url")))
            }
        }
    }

    /// Returns the line of one customer.
    pub(super) fn with_key(&self, key: Secret) -> Self {
        Self { key, ..self.clone() }
    }

    /// Lets so many events happen over a time, and sends them until all are known to count or patience ends.
    pub(super) async fn drive(
        self,
        mut plane: ControlPlane,
        events: u64,
        over: Duration,
        batch: usize,
        progress: &SharedProgress,
    ) -> Driven {
        let begun = Instant::now();
        let (mut answers, mut last_good, mut failures) = (BTreeMap::new(), begun, 0_u32);
        loop {
            let share = (begun.elapsed().as_secs_f64() / over.as_secs_f64()).min(1.0);
            let happened = (events as f64 * share) as u64;
            plane.happen(happened);
            if (happened == events && plane.is_done()) || last_good.elapsed() > PATIENCE {
                return Driven { plane, answers };
            }
            let Some(delivery) = plane.next_delivery(batch) else {
                tokio::time::sleep(TICK).await;
                continue;
            };
            let before = plane.acknowledged_count();
            let mut wait = None;
            for reaction in self.deliver(&delivery, &mut answers).await {
                match reaction {
                    Reaction::Fates(_) | Reaction::Misunderstood if delivery.mishap == Mishap::Garbled => {
                        if matches!(reaction, Reaction::Fates(_)) {
                            plane.be_surprised("a body that is no JSON was taken".to_owned());
                        }
                        plane.lose(&delivery);
                    }
                    Reaction::Fates(fates) => {
                        plane.hear(&delivery, &fates);
                        failures = 0;
                    }
                    Reaction::Silence => plane.lose(&delivery),
                    Reaction::Again(after) => {
                        plane.lose(&delivery);
                        failures += 1;
                        wait = Some(after.unwrap_or_else(|| (FIRST_WAIT * 2_u32.pow(failures.min(8))).min(LONGEST_WAIT)));
                    }
                    Reaction::Misunderstood => {
                        plane.be_surprised("a sound body was not understood".to_owned());
                        return Driven { plane, answers };
                    }
                    Reaction::Refused(why) => {
                        plane.be_surprised(why);
                        return Driven { plane, answers };
                    }
                }
            }
            if plane.acknowledged_count() > before {
                last_good = Instant::now();
                progress.advance(plane.acknowledged_count() - before);
            }
            if let Some(wait) = wait {
                tokio::time::sleep(plane.jitter(wait)).await;
            }
        }
    }

    async fn deliver(&self, delivery: &Delivery, answers: &mut BTreeMap<String, u64>) -> Vec<Reaction> {
        let whole = || Body::from(delivery.body.clone());
        let reactions = match delivery.mishap {
            Mishap::None | Mishap::Garbled => vec![self.post(whole()).await],
            Mishap::Late(pause) => {
                tokio::time::sleep(pause).await;
                vec![self.post(whole()).await]
            }
            Mishap::Twice => {
                let (one, two) = tokio::join!(self.post(whole()), self.post(whole()));
                vec![one, two]
            }
            Mishap::HalfSent => {
                // Whatever is answered to half a body, nothing of it counts.
                let half =
                    Half { rest: Some(Bytes::copy_from_slice(&delivery.body[..delivery.body.len() / 2])), length: delivery.body.len() };
                self.post(Body::wrap(half)).await;
                vec![("half sent".to_owned(), Reaction::Silence)]
            }
            Mishap::Unread(pause) => {
                // An answer that came in time is not looked at either.
                let _ = tokio::time::timeout(pause, self.post(whole())).await;
                vec![("not read".to_owned(), Reaction::Silence)]
            }
        };
        reactions
            .into_iter()
            .map(|(answer, reaction)| {
                *answers.entry(answer).or_default() += 1;
                reaction
            })
            .collect()
    }

    /// Posts a body and says what was answered, in a word and in substance.
    async fn post(&self, body: Body) -> (String, Reaction) {
        match self.out.post(&self.address, &self.key, "application/json", body).await {
            Ok(answer) => (answer.status.to_string(), reaction(&answer)),
            Err(OutboundError::Unreachable(..) | OutboundError::TooSlow(_)) => ("no answer".to_owned(), Reaction::Again(None)),
            Err(error) => ("refused".to_owned(), Reaction::Refused(error.to_string())),
        }
    }
}

#[derive(Deserialize)]
struct Report {
    outcomes: Vec<Told>,
}

#[derive(Deserialize)]
struct Told {
    outcome: String,
}

fn reaction(answer: &Answer) -> Reaction {
    match answer.status {
        200 | 400 | 409 | 422 => match fates(&answer.body) {
            Some(fates) => Reaction::Fates(fates),
            None if answer.status == 400 || answer.status == 422 => Reaction::Misunderstood,
            None => Reaction::Refused(format!("the server answered {} without the fates of the events", answer.status)),
        },
        408 | 425 | 429 | 500..=599 => Reaction::Again(answer.retry_after),
        status => Reaction::Refused(format!("the server answered {status}: {}", beginning(&answer.body))),
    }
}

fn fates(body: &[u8]) -> Option<Vec<Fate>> {
    let report: Report = serde_json::from_slice(body).ok()?;
    let fate = |told: &Told| match told.outcome.as_str() {
        "accepted" => Some(Fate::Accepted),
        "duplicate" => Some(Fate::Duplicate),
        "conflict" => Some(Fate::Conflict),
        "invalid" => Some(Fate::Invalid),
        _ => None,
    };
    report.outcomes.iter().map(fate).collect()
}

fn beginning(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(200).collect()
}

/// A body whose length is told, and which ends before.
struct Half {
    rest: Option<Bytes>,
    length: usize,
}

impl http_body::Body for Half {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(match self.rest.take() {
            Some(half) => Ok(Frame::data(half)),
            None => Err(io::ErrorKind::ConnectionAborted.into()),
        }))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, content_type: "application/json".to_owned(), retry_after: Some(Duration::from_secs(3)), body: body.into() }
    }

    #[test]
    fn an_answer_is_believed_only_with_the_fate_of_each_event() {
        let told = r#"{"outcomes": [{"outcome": "accepted"}, {"outcome": "invalid", "pointer": "/data", "message": "is missing"}]}"#;
        assert!(matches!(reaction(&answer(200, told)), Reaction::Fates(fates) if fates == [Fate::Accepted, Fate::Invalid]));
        assert!(matches!(reaction(&answer(200, "{}")), Reaction::Refused(_)));
        assert!(matches!(reaction(&answer(200, &told.replace("invalid", "lost"))), Reaction::Refused(_)));
        assert!(matches!(reaction(&answer(422, r#"{"code": "not_json"}"#)), Reaction::Misunderstood));
        assert!(matches!(reaction(&answer(503, "")), Reaction::Again(Some(wait)) if wait.as_secs() == 3));
        assert!(matches!(reaction(&answer(401, "no")), Reaction::Refused(why) if why.contains("401")));
    }
}
