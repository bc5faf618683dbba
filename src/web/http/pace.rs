//! How often somebody may come: at each replica a bucket for every customer and every program, filled evenly and full after a minute.
//!
//! The buckets are counted as the generic cell rate algorithm does: of each only the instant is kept at which it will be full again.
//! Whoever comes too often is told when to come again, and costs nobody else anything but the question who it is. Every answer says
//! how much is left (draft-ietf-httpapi-ratelimit-headers).

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use granary_access::{Principal, Quotas};
use granary_types::{CustomerId, ErrorKind};

use super::Problem;

const WINDOW: Duration = Duration::from_secs(60);
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// From so many on, buckets that are full again are forgotten.
const MANY: usize = 65_536;

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Customer(CustomerId),
    /// By its name as an actor.
    Program(String),
}

impl Subject {
    const fn name(&self) -> &'static str {
        match self {
            Self::Customer(_) => "customer",
            Self::Program(_) => "key",
        }
    }
}

/// The buckets of one replica; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// When each will be full again.
    full_at: Arc<Mutex<HashMap<Subject, Instant>>>,
}

/// What one bucket holds after a request, or says to one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Level {
    name: &'static str,
    limit: u32,
    remaining: u32,
    /// Until it is full again.
    full_in: Duration,
    /// Until the next request; nothing for one that was let in.
    wait: Duration,
}

/// What a request is told about its buckets.
#[derive(Debug, Clone, Default)]
pub(super) struct Levels(Vec<Level>);

impl Pace {
    /// Counts a request, unless one of its buckets is empty; then it is counted in none. A delivery of facts is not counted in the
    /// customer's.
    ///
    /// # Errors
    /// With the levels of somebody who came too often.
    pub(super) fn admit(&self, principal: &Principal, is_delivery: bool) -> Result<Levels, Levels> {
        let Quotas { customer, is_soft, program } = principal.quotas();
        let customer = principal.only_customer().zip(customer).filter(|_| !is_delivery).map(|(id, limit)| (Subject::Customer(id), limit));
        let program = program.map(|limit| (Subject::Program(principal.actor().to_string()), limit));
        let (hard, soft): (Vec<_>, Vec<_>) = customer.into_iter().partition(|_| !is_soft);
        let now = Instant::now();
        let mut levels = self.take(hard.into_iter().chain(program).collect(), now)?;
        // Above a soft limit nothing is counted, and nobody sent away.
        let (Ok(mut agreed) | Err(mut agreed)) = self.take(soft, now);
        agreed.0.append(&mut levels.0);
        Ok(agreed)
    }

    fn take(&self, subjects: Vec<(Subject, i32)>, now: Instant) -> Result<Levels, Levels> {
        if subjects.is_empty() {
            return Ok(Levels::default());
        }
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = subjects.iter().map(|(subject, limit)| {
            let limit = u32::try_from(*limit).unwrap_or(0);
            let full_in = full_at.get(subject).map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
            Level::asked(subject.name(), limit, full_in)
        });
        let levels = Levels(asked.collect());
        if levels.0.iter().any(|level| !level.wait.is_zero()) {
            return Err(levels);
        }
        if full_at.len() >= MANY {
            full_at.retain(|_, at| *at > now);
        }
        for ((subject, _), level) in subjects.into_iter().zip(&levels.0) {
            full_at.insert(subject, now + level.full_in);
        }
        Ok(levels)
    }
}

impl Level {
    /// Asks a bucket that would be full in a while for one request.
    fn asked(name: &'static str, limit: u32, full_in: Duration) -> Self {
        if limit == 0 {
            return Self { name, limit, remaining: 0, full_in, wait: WINDOW };
        }
        // What one request takes.
        let drop = WINDOW / limit;
        let then = full_in + drop;
        match then.checked_sub(WINDOW).filter(|wait| !wait.is_zero()) {
            Some(wait) => Self { name, limit, remaining: 0, full_in, wait },
            None => {
                let left = (WINDOW - then).as_nanos() / drop.as_nanos().max(1);
                Self { name, limit, remaining: u32::try_from(left).unwrap_or(limit), full_in: then, wait: Duration::ZERO }
            }
        }
    }
}

fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

impl Levels {
    /// Returns how much of what is agreed for a customer is used, in percent: 100 when it came too often.
    pub(super) fn percent_of_customer(&self) -> Option<i32> {
        let level = self.0.iter().find(|level| level.name == "customer")?;
        if !level.wait.is_zero() {
            return Some(100);
        }
        // The last one that is let in has not come too often.
        let used = u64::from(level.limit.saturating_sub(level.remaining)) * 100 / u64::from(level.limit.max(1));
        i32::try_from(used.min(99)).ok()
    }

    /// Writes what is left into an answer.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        let (mut levels, mut policies) = (String::new(), String::new());
        for (index, level) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            // Writing to a text does not fail.
            let _ = write!(levels, "{comma}\"{}\";r={};t={}", level.name, level.remaining, seconds(level.full_in));
            let _ = write!(policies, "{comma}\"{}\";q={};w={}", level.name, level.limit, WINDOW.as_secs());
        }
        for (name, text) in [(LIMIT, levels), (POLICY, policies)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        }
    }

    /// Returns the answer for somebody who came too often.
    pub(super) fn refusal(&self) -> Response {
        let wait = self.0.iter().map(|level| seconds(level.wait)).max().unwrap_or(1);
        let which = self.0.iter().max_by_key(|level| level.wait);
        let words = which.map_or_else(String::new, |level| {
            let whose = if level.name == "customer" { "this customer's programs" } else { "this key" };
            format!("{whose} may ask {} times a minute; ask again in {wait} seconds", level.limit)
        });
        let mut response = Problem::new(ErrorKind::RateLimited, "rate_limited", words).into_response();
        self.tell(response.headers_mut());
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn customer() -> Subject {
        Subject::Customer(CustomerId::new())
    }

    #[test]
    fn a_minute_holds_as_many_as_the_limit_and_then_one_at_a_time() {
        let (pace, acme, begin) = (Pace::default(), customer(), Instant::now());
        let ask = |seconds: u64| pace.take(vec![(acme.clone(), 6)], begin + Duration::from_secs(seconds));
        let left: Vec<u32> = (0..6).map(|_| ask(0).unwrap().0[0].remaining).collect();
        assert_eq!(left, [5, 4, 3, 2, 1, 0]);
        assert_eq!(ask(0).unwrap_err().0[0].wait, Duration::from_secs(10));
        assert_eq!(ask(4).unwrap_err().0[0].wait, Duration::from_secs(6), "asking costs nothing");
        assert_eq!(ask(10).unwrap().0[0].remaining, 0);
        assert!(ask(11).is_err());
        assert_eq!(ask(80).unwrap().0[0].remaining, 5, "full again");
    }

    #[test]
    fn an_empty_bucket_is_nobody_elses_and_takes_nothing_from_the_others() {
        let (pace, acme, globex, now) = (Pace::default(), customer(), customer(), Instant::now());
        let key = Subject::Program("api_key:1".to_owned());
        let both = || vec![(acme.clone(), 100), (key.clone(), 1)];
        pace.take(both(), now).unwrap();
        let refused = pace.take(both(), now).unwrap_err();
        assert_eq!(refused.0.iter().map(|level| !level.wait.is_zero()).collect::<Vec<_>>(), [false, true]);
        assert_eq!(pace.take(vec![(acme.clone(), 100)], now).unwrap().0[0].remaining, 98, "the refused one was not counted");
        assert_eq!(pace.take(vec![(globex, 100)], now).unwrap().0[0].remaining, 99);
        assert!(pace.take(vec![(customer(), 0)], now).is_err(), "none means none");
    }

    #[test]
    fn what_is_left_is_told_as_the_draft_has_it() {
        let (pace, now) = (Pace::default(), Instant::now());
        let levels = pace.take(vec![(customer(), 600), (Subject::Program("k".to_owned()), 120)], now).unwrap();
        let mut headers = HeaderMap::new();
        levels.tell(&mut headers);
        assert_eq!(headers[LIMIT], "\"customer\";r=599;t=1, \"key\";r=119;t=1");
        assert_eq!(headers[POLICY], "\"customer\";q=600;w=60, \"key\";q=120;w=60");
    }
}
