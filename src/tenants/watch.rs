//! What an operator looks at: the queues, the nights, the schemas, and the customers for whom something went wrong.
//!
//! The control schema knows all of it, so that a look costs the same with ten tenants and ten thousand. The page, the metrics and
//! `granary doctor` show one [`Watch`], and the same findings.

use std::time::Duration;

use granary_db::{TxSettings, jobs};
use granary_foundation::Boxed;
use granary_types::{Clock, JobId};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::catalog::Tenants;
use crate::error::TenantsError;
use crate::inspection::{Finding, Severity};
use crate::placement::HOME;
use crate::scope::OperatorScope;
use crate::silo::latest_version;
use crate::store;

/// A night begins once a day and takes at most this much longer.
const LATE_NIGHT: SignedDuration = SignedDuration::from_hours(26);
/// What has been due for longer than this has nobody who does it.
const LATE_WORK: SignedDuration = SignedDuration::from_mins(15);
/// Letters, operations, moves and the ends of copies come again by themselves for this long.
const LATE: SignedDuration = SignedDuration::from_hours(1);
/// What was refused longer ago is history.
const RECENT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How far clocks may differ: a lease is a minute, a code of an authenticator half of one.
const SKEW: SignedDuration = SignedDuration::from_secs(5);
/// How long a cluster has to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The newest Postgres that was tried.
const NEWEST_SERVER: i32 = 18;
/// Dead jobs and troubles that are shown.
const SHOWN: i64 = 100;

/// How the installation stands at an instant of the business clock.
#[derive(Debug, Clone)]
pub struct Watch {
    pub at: Timestamp,
    pub jobs: Vec<JobCount>,
    pub dead: Vec<DeadJob>,
    pub nights: Vec<LastNight>,
    /// Of the last week, and all that still wait.
    pub mails: Vec<MailCount>,
    pub clusters: Vec<ClusterWatch>,
    pub schemas: Schemas,
    /// How many there are by status.
    pub customers: Vec<(String, i64)>,
    pub troubles: Vec<Trouble>,
}

/// Jobs of one kind in one state.
#[derive(Debug, Clone)]
pub struct JobCount {
    pub kind: String,
    pub state: String,
    pub jobs: i64,
    /// Since when the oldest has been due.
    pub oldest_at: Timestamp,
}

/// A job that used up its attempts.
#[derive(Debug, Clone)]
pub struct DeadJob {
    pub id: JobId,
    pub kind: String,
    pub msp: Option<String>,
    pub customer: Option<String>,
    pub attempt: i32,
    pub error: String,
    pub died_at: Timestamp,
}

/// The last night of an MSP.
#[derive(Debug, Clone)]
pub struct LastNight {
    pub msp: String,
    /// None when there was none in the last two weeks.
    pub night_on: Option<Date>,
    /// When its last export ended; when the MSP was added, if there was none.
    pub ended_at: Timestamp,
    /// The MSP and its customers, as far as they were exported.
    pub owners: i64,
    pub failed: i64,
}

/// Mails in one state.
#[derive(Debug, Clone)]
pub struct MailCount {
    pub state: String,
    pub mails: i64,
    pub oldest_at: Timestamp,
}

/// What waits in a cluster's outbox, and the server itself.
#[derive(Debug, Clone)]
pub struct Outbox {
    pub waiting: i64,
    pub oldest_at: Option<Timestamp>,
    /// As `server_version_num`: 150004.
    pub server_version: i32,
    /// The server's clock.
    pub server_at: Timestamp,
}

/// A cluster, or why it cannot be looked at.
#[derive(Debug, Clone)]
pub struct ClusterWatch {
    pub name: String,
    /// How far the server's clock was from ours.
    pub skew: SignedDuration,
    pub seen: Result<Outbox, String>,
}

/// How many silos are at this program's version, and how many are not as they should be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Schemas {
    pub current: i64,
    pub behind: i64,
    pub failed: i64,
    pub drifted: i64,
}

/// What went wrong for a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    Migration,
    Drift,
    /// Of its life: provisioning, erasure, …
    Operation,
    Export,
    Move,
    /// A copy that outlived its end.
    Copy,
}

/// Something that went wrong for a customer.
#[derive(Debug, Clone)]
pub struct Trouble {
    pub kind: TroubleKind,
    pub msp: String,
    pub customer: String,
    pub since_at: Timestamp,
    pub detail: String,
}

impl TroubleKind {
    pub(crate) fn parse(word: &str) -> Self {
        match word {
            "migration" => Self::Migration,
            "drift" => Self::Drift,
            "export" => Self::Export,
            "move" => Self::Move,
            "copy" => Self::Copy,
            _ => Self::Operation,
        }
    }

    /// Returns the check's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Migration => "migration_failed",
            Self::Drift => "schema_drifted",
            Self::Operation => "operation_stuck",
            Self::Export => "export_failed",
            Self::Move => "move_unfinished",
            Self::Copy => "copy_forsaken",
        }
    }
}

impl Trouble {
    /// Returns what mends it.
    pub fn remedy(&self) -> String {
        let Self { msp, customer, detail, .. } = self;
        match self.kind {
            TroubleKind::Migration => format!("mend the cause, then granary migrate --only {customer}"),
            TroubleKind::Drift => "put the schema back as it was; granary migrate --status names every difference".to_owned(),
            TroubleKind::Operation => "mend the cause: a running granary worker goes on by itself, every minute".to_owned(),
            TroubleKind::Export => "mend the cause, then granary export run; the next night tries again, too".to_owned(),
            TroubleKind::Move => "start granary worker: it finishes the move".to_owned(),
            TroubleKind::Copy => format!("start granary worker, which ends it, or granary customer clone drop {detail} --msp {msp}"),
        }
    }
}

impl Tenants {
    /// Looks at everything that an operator looks at. A cluster that does not answer says so; the home must.
    ///
    /// # Errors
    /// When the control schema cannot be read.
    pub fn keep_watch<'a>(&'a self) -> Boxed<'a, Result<Watch, TenantsError>> {
        Box::pin(async move {
            let at = self.clock().now();
            let before = |age: SignedDuration| at.checked_sub(age).unwrap_or(Timestamp::UNIX_EPOCH);
            let nights_after = granary_types::day_of(before(RECENT + RECENT), &TimeZone::UTC);
            let tx = self.begin_catalog().await?;
            let mut watch = Watch {
                at,
                jobs: store::count_jobs(&tx).await?,
                dead: store::list_dead_jobs(&tx, SHOWN).await?,
                nights: store::list_last_nights(&tx, nights_after).await?,
                mails: store::count_mails(&tx, before(RECENT)).await?,
                clusters: Vec::new(),
                schemas: store::count_standing(&tx, latest_version()).await?,
                customers: store::count_customers(&tx).await?,
                troubles: store::list_troubles(&tx, before(LATE), nights_after, SHOWN).await?,
            };
            tx.commit().await?;
            for name in std::iter::once(HOME).chain(self.clusters().others().map(|other| other.name.as_str())) {
                watch.clusters.push(self.see(name).await);
            }
            Ok(watch)
        })
    }

    async fn see(&self, name: &str) -> ClusterWatch {
        let asked = async {
            let tx = self.clusters().get(name).await?.begin(&TxSettings::operator()).await?;
            let outbox = store::see_cluster(&tx).await?;
            tx.commit().await?;
            Ok::<_, TenantsError>(outbox)
        };
        let seen = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(seen) => seen.map_err(|error| error.to_string()),
            Err(_) => Err(format!("it did not answer within {} seconds", PATIENCE.as_secs())),
        };
        let skew = seen.as_ref().map_or(SignedDuration::ZERO, |outbox| Clock::System.now().duration_since(outbox.server_at));
        ClusterWatch { name: name.to_owned(), skew, seen }
    }

    /// Gives a dead job another life; false when there is none of that id.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn retry_job<'a>(&'a self, operator: &'a OperatorScope, id: JobId) -> Boxed<'a, Result<bool, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_operator(operator).await?;
            let is_retried = jobs::retry_job(&tx, id).await?;
            tx.commit().await?;
            Ok(is_retried)
        })
    }
}

impl Watch {
    /// Lists what is wrong and what mends it, faults first.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.clusters.iter().flat_map(|cluster| self.of_cluster(cluster)).collect();
        findings.extend(self.jobs.iter().filter_map(|count| self.of_jobs(count)));
        findings.extend(self.nights.iter().flat_map(|night| self.of_night(night)));
        findings.extend(self.mails.iter().filter_map(|count| self.of_mails(count)));
        findings.extend(self.troubles.iter().map(|trouble| {
            let subject = format!("{} of {}", trouble.customer, trouble.msp);
            let found = format!("since {}: {}", minute(trouble.since_at), trouble.detail);
            fault(trouble.kind.as_str(), subject, found, trouble.remedy())
        }));
        findings.sort_by_key(|finding| finding.severity);
        findings
    }

    /// Tells how long ago something was, by the clock of the house.
    pub fn age(&self, since: Timestamp) -> SignedDuration {
        self.at.duration_since(since).max(SignedDuration::ZERO)
    }

    fn of_cluster(&self, watch: &ClusterWatch) -> Vec<Finding> {
        let in_cluster = |finding: Finding| Finding { cluster: watch.name.clone(), ..finding };
        let outbox = match &watch.seen {
            Ok(outbox) => outbox,
            Err(error) => {
                let remedy = "start the server, or mend its url in the configuration";
                return vec![in_cluster(fault("cluster_unreachable", &watch.name, error, remedy))];
            }
        };
        let mut findings = Vec::new();
        if let Some(oldest_at) = outbox.oldest_at.filter(|oldest_at| self.age(*oldest_at) > LATE_WORK) {
            let found = format!("{} messages wait, the oldest since {}", outbox.waiting, minute(oldest_at));
            findings.push(fault("outbox_waits", "outbox", found, "start granary worker, which relays every minute"));
        }
        if watch.skew.abs() > SKEW {
            let found = format!("the server's clock is {} s away from this machine's", watch.skew.abs().as_secs());
            findings.push(fault("clock", "clock", found, "let both machines follow the same time server (chrony, systemd-timesyncd)"));
        }
        let major = outbox.server_version / 10_000;
        if major > NEWEST_SERVER {
            let found = format!("the server is Postgres {major}; 15 to {NEWEST_SERVER} were tried");
            let finding = fault("server_version", "server_version", found, "try a copy of the house on it first");
            findings.push(Finding { severity: Severity::Advice, ..finding });
        }
        findings.into_iter().map(in_cluster).collect()
    }

    fn of_jobs(&self, count: &JobCount) -> Option<Finding> {
        let JobCount { kind, state, jobs, oldest_at } = count;
        match state.as_str() {
            "dead" => {
                let last = self.dead.iter().find(|job| job.kind == *kind);
                let error = last.map_or(String::new(), |job| format!(", the last because {}", job.error));
                let id = last.map_or_else(|| "ID".to_owned(), |job| job.id.to_string());
                let found = format!("{jobs} lie dead{error}");
                Some(fault(
                    "dead_jobs",
                    kind,
                    found,
                    format!("mend the cause, then granary jobs retry {id}; granary jobs list --state dead shows all"),
                ))
            }
            "ready" if self.age(*oldest_at) > LATE_WORK => {
                let found = format!("{jobs} wait, the oldest since {}", minute(*oldest_at));
                Some(fault("jobs_wait", kind, found, "start granary worker, or more of them"))
            }
            _ => None,
        }
    }

    fn of_night(&self, night: &LastNight) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.age(night.ended_at) > LATE_NIGHT {
            let found = match night.night_on {
                Some(night_on) => format!("the last night was that of {night_on}"),
                None => format!("there was no night since {}", minute(night.ended_at)),
            };
            findings.push(fault(
                "night_late",
                &night.msp,
                found,
                "granary worker runs it every day; granary jobs run night.run does at once",
            ));
        }
        if night.failed > 0 {
            let found = format!("the export of {} of {} failed in its last night", night.failed, night.owners);
            findings.push(fault("night_failed", &night.msp, found, "granary export run names the failures and tries again"));
        }
        findings
    }

    fn of_mails(&self, count: &MailCount) -> Option<Finding> {
        let MailCount { state, mails, oldest_at } = count;
        let remedy = "granary mail list says why; mend mail.url or the address, then granary jobs retry";
        match state.as_str() {
            "waiting" if self.age(*oldest_at) > LATE => {
                Some(fault("mails_unsent", "waiting", format!("{mails} mails are unsent, the oldest since {}", minute(*oldest_at)), remedy))
            }
            "failed" => Some(fault("mails_unsent", "failed", format!("{mails} mails of the last week were refused"), remedy)),
            _ => None,
        }
    }
}

/// A fault of the home.
fn fault(check: &'static str, subject: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
    let (subject, found, remedy) = (subject.into(), found.into(), remedy.into());
    Finding { severity: Severity::Fault, cluster: HOME.to_owned(), check, subject, found, remedy }
}

fn minute(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string()
}
