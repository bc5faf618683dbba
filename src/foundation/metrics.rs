//! What is counted and timed, for Prometheus. It belongs to the process, like its log; whoever reads adds what stands in the database.
//!
//! Labels have few values: a route is one of the table's, a kind of job one of the registry's. No label names an MSP, a customer or
//! a person.

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Names and values.
pub type Labels<const N: usize> = [(&'static str, String); N];

type Timed<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// Seconds, from a page out of a cache to a report.
const REQUEST_SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
/// Seconds, from a relayed message to a night.
const JOB_SECONDS: [f64; 8] = [0.05, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0, 3_600.0];

static COUNTED: LazyLock<Counted> = LazyLock::new(Counted::new);

struct Counted {
    registry: Registry,
    requests: Family<Labels<3>, Counter>,
    request_seconds: Timed<2>,
    jobs: Family<Labels<2>, Counter>,
    job_seconds: Timed<1>,
    usage_events: Family<Labels<1>, Counter>,
    complaints: Family<Labels<1>, Counter>,
}

impl Counted {
    fn new() -> Self {
        let mut counted = Self {
            registry: Registry::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS)),
            jobs: Family::default(),
            job_seconds: Family::new_with_constructor(|| Histogram::new(JOB_SECONDS)),
            usage_events: Family::default(),
            complaints: Family::default(),
        };
        let registry = &mut counted.registry;
        registry.register("granary_http_requests", "Requests that were answered", counted.requests.clone());
        registry.register("granary_http_request_duration_seconds", "How long answers took", counted.request_seconds.clone());
        registry.register("granary_jobs_ended", "Jobs that this process ran", counted.jobs.clone());
        registry.register("granary_job_duration_seconds", "How long jobs took", counted.job_seconds.clone());
        registry.register("granary_usage_events", "Usage events that came by the API", counted.usage_events.clone());
        registry.register("granary_log_messages", "Warnings and errors in the log", counted.complaints.clone());
        counted
    }
}

/// Counts an answer. The route is one of the table's.
pub fn request_answered(route: &str, method: &'static str, status: u16, took: Duration) {
    let [route, method] = [("route", route.to_owned()), ("method", method.to_owned())];
    COUNTED.request_seconds.get_or_create(&[route.clone(), method.clone()]).observe(took.as_secs_f64());
    COUNTED.requests.get_or_create(&[route, method, ("status", status.to_string())]).inc();
}

/// Counts a job that was run: `done`, `retry` or `dead`.
pub fn job_ended(kind: &str, outcome: &'static str, took: Duration) {
    COUNTED.job_seconds.get_or_create(&[("kind", kind.to_owned())]).observe(took.as_secs_f64());
    COUNTED.jobs.get_or_create(&[("kind", kind.to_owned()), ("outcome", outcome.to_owned())]).inc();
}

/// Counts usage events: `accepted`, `duplicate`, `conflict` or `invalid`.
pub fn usage_events_came(outcome: &'static str, events: usize) {
    if events > 0 {
        COUNTED.usage_events.get_or_create(&[("outcome", outcome.to_owned())]).inc_by(events as u64);
    }
}

/// Counts a warning or an error in the log.
pub(crate) fn complained(level: &'static str) {
    COUNTED.complaints.get_or_create(&[("level", level.to_owned())]).inc();
}

/// Writes what was counted, and what stands elsewhere, as OpenMetrics text.
///
/// # Errors
/// Never in practice: a string takes everything.
pub fn text(standing: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode_registry(&mut text, &COUNTED.registry)?;
    encode_registry(&mut text, standing)?;
    encode_eof(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_written() {
        request_answered("/customers/{code}", "GET", 200, Duration::from_millis(7));
        request_answered("/customers/{code}", "GET", 200, Duration::from_secs(3));
        job_ended("night.run", "retry", Duration::from_secs(40));
        usage_events_came("accepted", 500);
        usage_events_came("invalid", 0);
        let text = text(&Registry::default()).unwrap();
        for line in [
            "granary_http_requests_total{route=\"/customers/{code}\",method=\"GET\",status=\"200\"} 2",
            "granary_http_request_duration_seconds_bucket{le=\"0.01\",route=\"/customers/{code}\",method=\"GET\"} 1",
            "granary_jobs_ended_total{kind=\"night.run\",outcome=\"retry\"} 1",
            "granary_usage_events_total{outcome=\"accepted\"} 500",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n") && !text.contains("invalid"));
    }
}
