//! What Prometheus reads: `/metrics` on an address of its own, which nobody reaches unless the configuration says so.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use granary_foundation::Secret;
use granary_foundation::metrics::{self, Labels};
use granary_tenants::{Tenants, Watch};
use jiff::SignedDuration;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use subtle::ConstantTimeEq;
use tokio::sync::Mutex;

use super::Failure;
use super::house::Rooms;
use super::listener::Listener;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone)]
struct Reading {
    tenants: Tenants,
    token: Option<Secret>,
    /// One reader at a time asks the database.
    turn: Arc<Mutex<()>>,
}

/// Listens where the configuration says; nowhere by default.
pub(crate) async fn listen(rooms: &Rooms) -> Result<Option<Listener>, Failure> {
    let config = &rooms.config.metrics;
    let Some(address) = config.listen else { return Ok(None) };
    let reading = Reading { tenants: rooms.tenants.clone(), token: config.token.clone(), turn: Arc::default() };
    let pages = Router::new().route("/metrics", get(read)).with_state(reading);
    let listener = Listener::serve(address, pages).await?;
    say!("metrics on http://{}/metrics", listener.address);
    Ok(Some(listener))
}

async fn read(State(reading): State<Reading>, headers: HeaderMap) -> Response {
    if !is_let_in(reading.token.as_ref(), &headers) {
        return (StatusCode::UNAUTHORIZED, "the token of metrics.token is asked for\n").into_response();
    }
    let _turn = reading.turn.lock().await;
    let watch = reading.tenants.keep_watch().await;
    if let Err(error) = &watch {
        tracing::warn!(%error, "the control schema cannot be read for the metrics");
    }
    match metrics::text(&standing(&reading.tenants, watch.as_ref().ok())) {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn is_let_in(token: Option<&Secret>, headers: &HeaderMap) -> bool {
    let Some(token) = token else { return true };
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|text| text.strip_prefix("Bearer "));
    shown.is_some_and(|shown| shown.as_bytes().ct_eq(token.reveal().as_bytes()).into())
}

/// Gauges of one family.
struct Gauges<'a> {
    registry: &'a mut Registry,
}

impl Gauges<'_> {
    fn one(&mut self, name: &'static str, help: &str, value: i64) {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        self.registry.register(name, help, gauge);
    }

    fn many<'v, const N: usize>(
        &mut self,
        name: &'static str,
        help: &str,
        values: impl IntoIterator<Item = ([(&'static str, &'v str); N], i64)>,
    ) {
        let family = Family::<Labels<N>, Gauge>::default();
        for (labels, value) in values {
            family.get_or_create(&labels.map(|(name, value)| (name, value.to_owned()))).set(value);
        }
        self.registry.register(name, help, family);
    }
}

/// What stands in the database and in the pools at this moment; without a watch, that the database cannot be read.
fn standing(tenants: &Tenants, watch: Option<&Watch>) -> Registry {
    let mut registry = Registry::default();
    let mut gauges = Gauges { registry: &mut registry };
    gauges.one("granary_up", "Whether the control schema can be read", i64::from(watch.is_some()));
    let pools = tenants.clusters().pool_use();
    let uses = pools.iter().flat_map(|(cluster, used)| {
        let states = [("most", used.most), ("out", used.out), ("idle", used.idle)];
        states.map(|(state, count)| ([("cluster", *cluster), ("state", state)], i64::try_from(count).unwrap_or(i64::MAX)))
    });
    gauges.many("granary_pool_connections", "Connections to Postgres: the most there may be, those in use, those idle", uses);
    if let Some(watch) = watch {
        queues(&mut gauges, watch);
        tenants_of(&mut gauges, watch);
    }
    registry
}

fn queues(gauges: &mut Gauges<'_>, watch: &Watch) {
    let age = |since| watch.age(since).as_secs();
    let jobs = watch.jobs.iter().map(|count| ([("kind", count.kind.as_str()), ("state", count.state.as_str())], count.jobs));
    gauges.many("granary_jobs", "Jobs that wait, run or lie dead", jobs);
    let waiting = watch.jobs.iter().filter(|count| count.state == "ready");
    gauges.many(
        "granary_jobs_oldest_seconds",
        "How long the oldest waiting job has been due",
        waiting.map(|count| ([("kind", count.kind.as_str())], age(count.oldest_at))),
    );
    let mails = watch.mails.iter().map(|count| ([("state", count.state.as_str())], count.mails));
    gauges.many("granary_mails", "Mails of the last week, and all that wait", mails);
    let up = watch.clusters.iter().map(|cluster| ([("cluster", cluster.name.as_str())], i64::from(cluster.seen.is_ok())));
    gauges.many("granary_cluster_up", "Whether a cluster answers", up);
    let seen = || watch.clusters.iter().filter_map(|cluster| Some((cluster, cluster.seen.as_ref().ok()?)));
    let waiting = seen().map(|(cluster, outbox)| ([("cluster", cluster.name.as_str())], outbox.waiting));
    gauges.many("granary_outbox_messages", "Messages that wait for the relay", waiting);
    let oldest = seen().map(|(cluster, outbox)| ([("cluster", cluster.name.as_str())], outbox.oldest_at.map_or(0, age)));
    gauges.many("granary_outbox_oldest_seconds", "How long the oldest of them has waited", oldest);
    let skews = seen().map(|(cluster, _)| ([("cluster", cluster.name.as_str())], milliseconds(cluster.skew)));
    gauges.many("granary_clock_skew_milliseconds", "How far this machine's clock is ahead of the server's", skews);
}

fn milliseconds(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn tenants_of(gauges: &mut Gauges<'_>, watch: &Watch) {
    let oldest = watch.nights.iter().map(|night| watch.age(night.ended_at).as_secs()).max().unwrap_or(0);
    gauges.one("granary_night_age_seconds", "How long ago the last night ended, of the MSP for which it is longest", oldest);
    let failed = watch.nights.iter().map(|night| night.failed).sum();
    gauges.one("granary_night_failed_exports", "Exports that failed in the last night of each MSP", failed);
    let schemas = watch.schemas;
    let states = [("current", schemas.current), ("behind", schemas.behind), ("failed", schemas.failed), ("drifted", schemas.drifted)];
    gauges.many("granary_schemas", "Silos by how their schema stands", states.map(|(state, count)| ([("state", state)], count)));
    let customers = watch.customers.iter().map(|(status, count)| ([("status", status.as_str())], *count));
    gauges.many("granary_customers", "Customers by status", customers);
    let kinds = watch.troubles.iter().map(|trouble| trouble.kind.as_str()).collect::<std::collections::BTreeSet<_>>();
    let of_kind = |kind: &'static str| watch.troubles.iter().filter(|trouble| trouble.kind.as_str() == kind).count();
    let troubles = kinds.into_iter().map(|kind| ([("kind", kind)], i64::try_from(of_kind(kind)).unwrap_or(i64::MAX)));
    gauges.many("granary_troubles", "Customers for whom something went wrong, at most a hundred", troubles);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_asked_for_where_there_is_one() {
        let shown = |text: &str| HeaderMap::from_iter([(AUTHORIZATION, text.parse().unwrap())]);
        let token = Secret::new("0123456789abcdef");
        assert!(is_let_in(None, &HeaderMap::new()));
        assert!(is_let_in(Some(&token), &shown("Bearer 0123456789abcdef")));
        for wrong in ["Bearer 0123456789abcdeg", "Bearer ", "0123456789abcdef", "Bearer 0123456789abcdef0"] {
            assert!(!is_let_in(Some(&token), &shown(wrong)), "{wrong}");
        }
        assert!(!is_let_in(Some(&token), &HeaderMap::new()));
    }
}
