//! Closing a month: what is found before, what is sealed for good, and what later facts would have made of it.

use granary_foundation::Boxed;
use granary_tenants::{MspTx, TenantTx};
use granary_types::{CustomerId, Period, Quantity, day_of};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use crate::days::rebuild_days;
use crate::error::MeteringError;
use crate::merkle::{self, Hash, InclusionProof, Path, Tree};
use crate::period::{PeriodClosed, PeriodState};
use crate::store;
use crate::usage::{PeriodUsage, measure, measure_estimated};

/// Hours after a period's end for which late events are waited for.
const CUT_OFF_HOURS: i64 = 72;
/// Hours of silence at the cut-off after which nobody knows what a customer used.
const SILENCE_HOURS: i64 = 24;
/// A clock that is ahead by no more than this is believed; what is said of a later time is no sign of life.
const AHEAD_HOURS: i64 = 24;
/// Days before the period in which the last sign of a control plane is looked for.
const HEARD_DAYS: i64 = 40;
/// Days before a period that count in it.
const DAYS_BEFORE: i64 = 8;

/// Returns from when on a period may be drafted and closed.
pub fn cut_off(period: Period, zone: &jiff::tz::TimeZone) -> Timestamp {
    period.end_at(zone) + CUT_OFF_HOURS.hours()
}

/// What was found in a customer's month; the control schema keeps what was found last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Findings {
    /// Control planes that were silent for 24 hours at the cut-off: what they did not say is not zero.
    pub silent: Vec<Silence>,
    /// Events of the month that were refused and nobody has decided on.
    pub quarantined: i64,
    /// Machines that look like one machine under two ids.
    pub suspected_pairs: Vec<SuspectedPair>,
    /// The last known machines stand in for those of a silent control plane, or a storage sample was carried too far.
    pub is_estimated: bool,
}

/// A control plane that says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    pub source: String,
    /// When it was heard last; none when that is longer ago than anybody looks.
    pub heard_at: Option<Timestamp>,
}

/// Two machines that were both counted and have one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspectedPair {
    pub name: String,
    /// Source system and vendor id of each.
    pub one: (String, String),
    pub other: (String, String),
}

/// Looks for what speaks against closing a month, in the daily usage that was rebuilt before. `planes` are the sources of the
/// customer's control planes; without any, the customer is heard as a whole.
///
/// # Errors
/// When Postgres refuses.
pub fn examine<'a>(tx: &'a TenantTx, period: Period, planes: &'a [String]) -> Boxed<'a, Result<Findings, MeteringError>> {
    Box::pin(async move {
        let zone = &tx.msp().time_zone;
        let asked_at = tx.now().min(cut_off(period, zone));
        let since = asked_at - SILENCE_HOURS.hours();
        let (since_day, until) = (period.start_at(zone) - (HEARD_DAYS * 24).hours(), tx.now() + AHEAD_HOURS.hours());
        let heard = store::closing::list_heard(tx, since_day, until).await?;
        let heard_at = |source: &str| heard.iter().find(|(name, _)| name == source).map(|(_, at)| *at);
        let (first, last) = (period.first_day(), period.last_day());
        let silent = if planes.is_empty() {
            let last_heard = heard.iter().map(|(_, at)| *at).max();
            let is_expected = last_heard.is_some() || store::closing::holds_tiers(tx, first, last).await?;
            let is_silent = is_expected && last_heard.is_none_or(|at| at < since);
            is_silent.then(|| Silence { source: "every source".to_owned(), heard_at: last_heard }).into_iter().collect()
        } else {
            let silence = |source: &String| Silence { source: source.clone(), heard_at: heard_at(source) };
            planes.iter().map(silence).filter(|silence| silence.heard_at.is_none_or(|at| at < since)).collect()
        };
        Ok(Findings {
            silent,
            quarantined: store::closing::count_quarantined(tx, (first, last), (period.start_at(zone), cut_off(period, zone))).await?,
            suspected_pairs: store::closing::list_pairs(tx, first, last).await?,
            is_estimated: false,
        })
    })
}

impl Findings {
    /// Returns the last day on which everybody was heard: its machines stand in for those that nobody speaks of. None when
    /// nobody is silent.
    pub fn known_on(&self, period: Period, zone: &jiff::tz::TimeZone) -> Option<Date> {
        let before = period.first_day().saturating_sub(1.day());
        let days = self.silent.iter().map(|silence| silence.heard_at.map_or(before, |at| day_of(at, zone)));
        days.min().map(|day| day.min(period.last_day()))
    }
}

/// A customer's month, measured for the last time.
#[derive(Debug, Clone)]
pub struct Seal {
    pub usage: PeriodUsage,
    /// The root of the Merkle tree over the events whose own time lies in the month, in hexadecimal.
    pub events_hash: String,
    pub events_count: i64,
}

/// Measures a month for the last time and hashes its events. Until the transaction ends nobody else ingests for this customer,
/// so that usage, hash and whatever else is written with them say the same. `known_on`: see [`Findings::known_on`].
///
/// # Errors
/// When Postgres refuses.
pub fn seal<'a>(tx: &'a TenantTx, period: Period, known_on: Option<Date>) -> Boxed<'a, Result<Seal, MeteringError>> {
    Box::pin(async move {
        rebuild_days(tx, period, period).await?;
        let usage = measure_known(tx, period, known_on).await?;
        let mut tree = Tree::default();
        each_leaf(tx, period, tx.now(), |_, _, leaf| tree.push(leaf)).await?;
        Ok(Seal { usage, events_hash: hex::encode(tree.root()), events_count: i64::try_from(tree.size).unwrap_or(i64::MAX) })
    })
}

/// Measures a period; with a known day the machines and bytes of that day stand in for what a silent control plane did not say.
///
/// # Errors
/// When Postgres refuses.
pub fn measure_known<'a>(tx: &'a TenantTx, period: Period, known_on: Option<Date>) -> Boxed<'a, Result<PeriodUsage, MeteringError>> {
    Box::pin(async move {
        match known_on {
            None => measure(tx, period).await,
            Some(day) => measure_estimated(tx, period, day).await,
        }
    })
}

/// Closes a customer's month with its seal; a closed month stays as it is. Returns whether it was open.
///
/// # Errors
/// When Postgres refuses.
pub fn close_month<'a>(tx: &'a MspTx, customer: CustomerId, seal: &'a Seal) -> Boxed<'a, Result<bool, MeteringError>> {
    Box::pin(async move {
        let mut usage = seal.usage.clone();
        usage.api_calls = usage.api_calls.saturating_add(store::control::count_api_calls(tx, customer, usage.period).await?);
        store::control::upsert_month(tx, customer, &usage).await?;
        let sealed = serde_json::to_value(&usage).map_err(|error| MeteringError::Corrupt(error.to_string()))?;
        store::control::close_month(tx, customer, usage.period, (&seal.events_hash, seal.events_count), &sealed).await
    })
}

/// Notes that every month of a period is closed, and says so. Closing a closed period changes nothing; returns whether it was open.
///
/// # Errors
/// When Postgres refuses.
pub fn mark_closed<'a>(tx: &'a MspTx, period: Period) -> Boxed<'a, Result<bool, MeteringError>> {
    Box::pin(async move {
        if store::control::lock_period(tx, period).await? == Some(PeriodState::Closed) {
            return Ok(false);
        }
        let by = tx.actor().to_string();
        store::control::upsert_period(tx, period, PeriodState::Closed, Some((tx.now(), &by))).await?;
        tx.emit(&PeriodClosed { msp_id: tx.msp().id, period }).await?;
        Ok(true)
    })
}

/// Returns a closed month as it was measured; none while it is open.
///
/// # Errors
/// When Postgres refuses.
pub fn closed_usage<'a>(tx: &'a MspTx, customer: CustomerId, period: Period) -> Boxed<'a, Result<Option<PeriodUsage>, MeteringError>> {
    Box::pin(async move { Ok(store::control::find_closed(tx, customer, period).await?.map(|closed| closed.usage)) })
}

/// Measures a month by what is known now, from the projected tables. Daily usage of a closed month does not change: roll the
/// transaction back.
///
/// # Errors
/// When Postgres refuses.
pub fn remeasure<'a>(tx: &'a TenantTx, period: Period) -> Boxed<'a, Result<PeriodUsage, MeteringError>> {
    Box::pin(async move {
        rebuild_days(tx, period, period).await?;
        measure(tx, period).await
    })
}

/// Returns the first day of what a month is measured from; nothing of it may have been let go of when it is measured again.
pub fn evidence_from(period: Period) -> Date {
    period.first_day().saturating_sub(DAYS_BEFORE.days())
}

/// One meter of a closed month that would be another one by what is known now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UsageCorrection {
    pub customer_id: CustomerId,
    pub customer_code: String,
    /// The month that is closed.
    pub period: Period,
    pub meter: String,
    pub closed: Quantity,
    pub now: Quantity,
    pub found_at: Timestamp,
}

/// The meters that are compared, by name.
fn meters(usage: &PeriodUsage) -> [(&'static str, Decimal); 13] {
    let gib =
        |bytes: i64| (Decimal::from(bytes) / Decimal::from(1_i64 << 30)).round_dp_with_strategy(3, RoundingStrategy::MidpointAwayFromZero);
    [
        ("machines_backup", usage.machines.backup),
        ("machines_enterprise", usage.machines.enterprise),
        ("machines_replication", usage.machines.replication),
        ("stored_gib_average", usage.stored_gib_average()),
        ("transferred_gib", gib(usage.transferred_bytes)),
        ("replicated_gib", gib(usage.replicated_bytes)),
        ("runs_completed", usage.runs_completed.into()),
        ("runs_with_warning", usage.runs_with_warning.into()),
        ("runs_failed", usage.runs_failed.into()),
        ("cycles_completed", usage.cycles_completed.into()),
        ("restores_completed", usage.restores_completed.into()),
        ("restores_failed", usage.restores_failed.into()),
        ("tickets_opened", usage.tickets_opened.into()),
    ]
}

/// Writes down where a closed month differs from what is known now, and forgets differences that are gone.
///
/// # Errors
/// When Postgres refuses.
pub fn write_corrections<'a>(
    tx: &'a MspTx,
    customer: CustomerId,
    closed: &'a PeriodUsage,
    now: &'a PeriodUsage,
) -> Boxed<'a, Result<(), MeteringError>> {
    Box::pin(async move {
        let pairs = meters(closed).into_iter().zip(meters(now));
        let differing: Vec<_> = pairs.filter(|(was, is)| was.1 != is.1).map(|((meter, was), (_, is))| (meter, was, is)).collect();
        store::closing::replace_corrections(tx, customer, closed.period, &differing).await
    })
}

/// Lists the differences of a closed period, by customer.
///
/// # Errors
/// When Postgres refuses.
pub fn list_corrections<'a>(tx: &'a MspTx, period: Period) -> Boxed<'a, Result<Vec<UsageCorrection>, MeteringError>> {
    Box::pin(async move { store::closing::list_corrections(tx, period).await })
}

/// Proves that an event is one of those that a closed month counted; none when it is not. `closed` is what
/// [`find_seal`] returned.
///
/// # Errors
/// When Postgres refuses, or the log no longer gives the hash that the month was closed with.
pub fn prove<'a>(
    tx: &'a TenantTx,
    period: Period,
    closed: &'a ClosedSeal,
    event: (&'a str, &'a str),
) -> Boxed<'a, Result<Option<InclusionProof>, MeteringError>> {
    Box::pin(async move {
        let (mut tree, mut found) = (Tree::default(), None);
        each_leaf(tx, period, closed.closed_at, |name, content_hash, leaf| {
            if name == event {
                found = Some((tree.size, content_hash.to_vec(), leaf));
            }
            tree.push(leaf);
        })
        .await?;
        if hex::encode(tree.root()) != closed.events_hash {
            return Err(MeteringError::SealBroken(period));
        }
        let Some((index, content_hash, leaf)) = found else { return Ok(None) };
        let mut path = Path::new(index, tree.size);
        each_leaf(tx, period, closed.closed_at, |_, _, leaf| path.push(leaf)).await?;
        let path = path.nodes();
        if merkle::root_of(leaf, index, tree.size, &path) != Some(tree.root()) {
            return Err(MeteringError::SealBroken(period));
        }
        Ok(Some(InclusionProof {
            source: event.0.to_owned(),
            id: event.1.to_owned(),
            content_hash: hex::encode(content_hash),
            index,
            size: tree.size,
            path: path.iter().map(hex::encode).collect(),
            root: closed.events_hash.clone(),
        }))
    })
}

/// What a closed month was sealed with.
#[derive(Debug, Clone)]
pub struct ClosedSeal {
    pub usage: PeriodUsage,
    pub events_hash: String,
    pub closed_at: Timestamp,
}

/// Returns the seal of a closed month.
///
/// # Errors
/// When Postgres refuses.
pub fn find_seal<'a>(tx: &'a MspTx, customer: CustomerId, period: Period) -> Boxed<'a, Result<Option<ClosedSeal>, MeteringError>> {
    Box::pin(async move { store::control::find_closed(tx, customer, period).await })
}

/// Hands over the leaves of a month in their order: the events whose own time lies in it and that were here at `until`.
async fn each_leaf(
    tx: &TenantTx,
    period: Period,
    until: Timestamp,
    mut take: impl FnMut((&str, &str), &[u8], Hash) + Send,
) -> Result<(), MeteringError> {
    let zone = &tx.msp().time_zone;
    store::closing::open_events(tx, (period.start_at(zone), period.end_at(zone)), until).await?;
    loop {
        let rows = store::closing::fetch_events(tx).await?;
        if rows.is_empty() {
            return store::closing::close_events(tx).await;
        }
        for row in &rows {
            let (source, id, content_hash): (&str, &str, &[u8]) = (row.get(0), row.get(1), row.get(2));
            take((source, id), content_hash, merkle::leaf(source, id, content_hash));
        }
    }
}
