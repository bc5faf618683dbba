//! The one configuration file. Every key is documented where its default stands; unknown keys are refused; secrets never
//! print. A key is overridden by the environment: `database.url` by `GRANARY_DATABASE_URL`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use granary_types::{Classify, ErrorKind};
use serde::Deserialize;

use crate::Secret;
use crate::traces::TracesConfig;

mod doors;
mod keys;
mod outbound;

pub use doors::DoorsConfig;
pub use keys::{KeysConfig, KmsConfig};
pub use outbound::OutboundConfig;

/// Everything that can be configured.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the embedded Postgres, the local lake and the master key live. Default `.granary`.
    pub data_dir: PathBuf,
    pub database: DatabaseConfig,
    /// `[clusters.<name>]`: other Postgres servers that hold silos. Default none.
    pub clusters: BTreeMap<String, ClusterConfig>,
    pub lake: LakeConfig,
    pub keys: KeysConfig,
    pub server: ServerConfig,
    pub tls: TlsConfig,
    pub mail: MailConfig,
    pub outbound: OutboundConfig,
    pub worker: WorkerConfig,
    pub leaving: LeavingConfig,
    pub query: QueryConfig,
    pub doors: DoorsConfig,
    pub log: LogConfig,
    pub metrics: MetricsConfig,
    pub traces: TracesConfig,
}

/// `[database]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// Where Postgres (15 or newer) is, as the login that may create schemas and roles; none for the embedded one, whose binaries
    /// are looked for in `PATH` and where packages put them, or taken from the directory that `GRANARY_POSTGRES_BIN` names.
    /// Overridden by `GRANARY_DATABASE_URL`.
    pub url: Option<Secret>,
    /// Connections that requests and jobs share. Default 16.
    pub max_connections: usize,
    /// How many of them one customer may hold at a time, so that it cannot starve the others. Default a quarter of them.
    pub connections_per_tenant: Option<usize>,
}

/// `[clusters.<name>]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// As `database.url`; must not be the home's database. Overridden by `GRANARY_CLUSTERS_<NAME>_URL`.
    #[serde(default)]
    pub url: Option<Secret>,
    /// New customers of this region are placed there.
    pub region: String,
    /// Connections that requests and jobs share. Default 16.
    #[serde(default = "ClusterConfig::default_connections")]
    pub max_connections: usize,
}

impl ClusterConfig {
    const fn default_connections() -> usize {
        16
    }
}

/// `[lake]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LakeConfig {
    /// Where the files go: `file:///path` or `s3://bucket/prefix`; none for `<data_dir>/lake`.
    pub url: Option<String>,
    /// `[lake.s3]`: how to reach an S3 server; ignored for `file://`.
    pub s3: S3Config,
    /// `[lake.regions.<region>]`: where the files of customers of a region go. Default none: all of them go to `lake.url`, as what an
    /// MSP has itself always does.
    pub regions: BTreeMap<String, LakeRegionConfig>,
}

/// `[lake.regions.<region>]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LakeRegionConfig {
    /// As `lake.url`.
    pub url: String,
    /// As `lake.s3.endpoint`, which holds when there is none here.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// As `lake.s3.region`, which holds when there is none here.
    #[serde(default)]
    pub region: Option<String>,
}

impl LakeRegionConfig {
    /// How the region's S3 server is reached: with the credentials of all.
    pub fn s3(&self, common: &S3Config) -> S3Config {
        S3Config {
            endpoint: self.endpoint.clone().or_else(|| common.endpoint.clone()),
            region: self.region.clone().or_else(|| common.region.clone()),
            ..common.clone()
        }
    }
}

/// `[lake.s3]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Config {
    /// The server, when it is not Amazon's: `http://127.0.0.1:9000`.
    pub endpoint: Option<String>,
    /// Default `us-east-1`.
    pub region: Option<String>,
    /// None, like the secret: the role that the machine runs as. Overridden by `GRANARY_LAKE_S3_ACCESS_KEY_ID`.
    pub access_key_id: Option<String>,
    /// Overridden by `GRANARY_LAKE_S3_SECRET_ACCESS_KEY`.
    pub secret_access_key: Option<Secret>,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address and port to listen on. Default `127.0.0.1:8080`.
    pub listen: std::net::SocketAddr,
    /// Largest accepted request body in bytes. Default 16 MiB.
    pub max_body_bytes: usize,
    /// Whether browsers reach the server by HTTPS, through a proxy: cookies are then marked `Secure`, and the client's address,
    /// for which logins are counted, is the last one that the proxy writes into `X-Forwarded-For`. Default false.
    pub behind_https: bool,
    /// Where people reach the server, for the links in letters and for single sign-on: `https://backup.example.com`. Default `http://`
    /// and what it listens on.
    pub public_url: Option<String>,
}

/// `[tls]`: the server's own certificate, for who has no proxy in front. Only TLS 1.3 is spoken then; cookies are marked `Secure`, and
/// browsers are told to come by HTTPS only. Changed files are taken without a restart.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate and those above it, as PEM. Default none: HTTP.
    pub cert: Option<PathBuf>,
    /// Its private key, as PEM.
    pub key: Option<PathBuf>,
}

/// `[mail]`: how letters go out.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailConfig {
    /// The mail server: `smtps://user:password@mail.example.com`, `smtp://…:587?tls=required` for STARTTLS, or `smtp://localhost` on
    /// this machine. None: letters are kept, and `granary mail list` shows them. Overridden by `GRANARY_MAIL_URL`.
    pub url: Option<Secret>,
    /// Who writes. Default `Granary <granary@localhost>`.
    pub from: String,
}

/// `[worker]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerConfig {
    /// Jobs that run at the same time. Default 2.
    pub concurrency: usize,
    /// Jobs of one customer that run at the same time. Default 1.
    pub per_customer: usize,
    /// The hour (UTC) at which the night begins. Default 1.
    pub night_hour: u8,
}

/// `[leaving]`: what outlives a customer.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeavingConfig {
    /// For how many days backups of the key store are kept; a certificate says until when they hold wrapped keys. Default 35.
    pub backup_days: u32,
    /// For how many years the law wants invoices. Default 10.
    pub keep_invoices_years: i16,
}

/// `[query]`: what one query may use.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryConfig {
    /// Memory of all queries together, in bytes; beyond it they spill. Default 768 MiB.
    pub memory_bytes: usize,
    /// Longest run of one query in seconds. Default 60.
    pub timeout_seconds: u64,
    /// Rows that one answer may hold. Default 1,000,000.
    pub max_rows: usize,
    /// Files that one query may open. Default 50,000.
    pub max_files: usize,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Which messages are logged, as `level` or `target=level,…`. Default `warn,granary=info`. Overridden by `GRANARY_LOG`.
    pub filter: String,
    /// `text` or `json`. Default `text`.
    pub format: LogFormat,
}

/// `[metrics]`: what Prometheus reads.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// The address and port, of its own, at which `/metrics` is read: `127.0.0.1:9464`. Default none: nowhere. Overridden by
    /// `GRANARY_METRICS_LISTEN`.
    pub listen: Option<std::net::SocketAddr>,
    /// What a reader shows as a bearer token; needed unless nobody but this machine can reach the address. Overridden by
    /// `GRANARY_METRICS_TOKEN`.
    pub token: Option<Secret>,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from(".granary"),
            database: DatabaseConfig::default(),
            clusters: BTreeMap::new(),
            lake: LakeConfig::default(),
            keys: KeysConfig::default(),
            server: ServerConfig::default(),
            tls: TlsConfig::default(),
            mail: MailConfig::default(),
            outbound: OutboundConfig::default(),
            worker: WorkerConfig::default(),
            leaving: LeavingConfig::default(),
            query: QueryConfig::default(),
            doors: DoorsConfig::default(),
            log: LogConfig::default(),
            metrics: MetricsConfig::default(),
            traces: TracesConfig::default(),
        }
    }
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self { url: None, max_connections: 16, connections_per_tenant: None }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { listen: std::net::SocketAddr::from(([127, 0, 0, 1], 8080)), max_body_bytes: 16 << 20, behind_https: false, public_url: None }
    }
}

impl Default for MailConfig {
    fn default() -> Self {
        Self { url: None, from: "Granary <granary@localhost>".to_owned() }
    }
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self { concurrency: 2, per_customer: 1, night_hour: 1 }
    }
}

impl Default for LeavingConfig {
    fn default() -> Self {
        Self { backup_days: 35, keep_invoices_years: 10 }
    }
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self { memory_bytes: 768 << 20, timeout_seconds: 60, max_rows: 1_000_000, max_files: 50_000 }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "warn,granary=info".to_owned(), format: LogFormat::Text }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the configuration file {path} is not valid: {message}")]
    Malformed { path: PathBuf, message: String },
    #[error("worker.night_hour is {0}; hours go from 0 to 23")]
    NightHour(u8),
    #[error("server.public_url is '{0}'; it begins with http:// or https:// and has no '?', '#' or spaces")]
    PublicUrl(String),
    #[error("tls.cert and tls.key go together, and one is missing")]
    Tls,
    /// `[traces]` cannot be used.
    #[error(
        "traces.url (GRANARY_TRACES_URL) must be the http:// or https:// address where a collector takes spans, such as http://127.0.0.1:4318/v1/traces, and traces.share a number between 0 and 1"
    )]
    Traces,
    #[error("leaving.keep_invoices_years goes from 0 to 100, and leaving.backup_days to 3650")]
    Leaving,
    #[error(
        "doors.{name} is {given}; it needs an address and a port, of this machine alone unless tls.cert and tls.key name a certificate"
    )]
    Door { name: &'static str, given: String },
    #[error(
        "metrics.listen is {0}; it needs an address and a port, and a metrics.token of 16 characters unless it is an address of this machine alone"
    )]
    Metrics(String),
}

impl Classify for ConfigError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "configuration_unreadable",
            Self::Malformed { .. }
            | Self::NightHour(_)
            | Self::PublicUrl(_)
            | Self::Tls
            | Self::Door { .. }
            | Self::Leaving
            | Self::Metrics(_)
            | Self::Traces => "configuration_invalid",
        }
    }
}

impl Config {
    /// Reads the file (none: the defaults) and then the environment, given as a look-up so that tests need no real one.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, or has an unknown key.
    pub fn load(file: Option<&Path>, environment: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut config = match file {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
                toml::from_str(&text)
                    .map_err(|error| ConfigError::Malformed { path: path.into(), message: error.to_string().trim_end().to_owned() })?
            }
        };
        if let Some(url) = environment("GRANARY_DATABASE_URL") {
            config.database.url = Some(Secret::new(url));
        }
        for (name, cluster) in &mut config.clusters {
            if let Some(url) = environment(&format!("GRANARY_CLUSTERS_{}_URL", name.to_uppercase().replace('-', "_"))) {
                cluster.url = Some(Secret::new(url));
            }
        }
        if let Some(id) = environment("GRANARY_LAKE_S3_ACCESS_KEY_ID") {
            config.lake.s3.access_key_id = Some(id);
        }
        if let Some(secret) = environment("GRANARY_LAKE_S3_SECRET_ACCESS_KEY") {
            config.lake.s3.secret_access_key = Some(Secret::new(secret));
        }
        config.keys.overridden(&environment);
        if let Some(url) = environment("GRANARY_MAIL_URL") {
            config.mail.url = Some(Secret::new(url));
        }
        if let Some(filter) = environment("GRANARY_LOG") {
            config.log.filter = filter;
        }
        config.metrics.read(&environment)?;
        if !config.traces.read(&environment) {
            return Err(ConfigError::Traces);
        }
        if config.worker.night_hour > 23 {
            return Err(ConfigError::NightHour(config.worker.night_hour));
        }
        if let Some(url) = &mut config.server.public_url {
            let is_web = url.starts_with("https://") || url.starts_with("http://");
            if !is_web || url.contains(['?', '#']) || url.contains(char::is_whitespace) {
                return Err(ConfigError::PublicUrl(url.chars().take(100).collect()));
            }
            url.truncate(url.trim_end_matches('/').len());
        }
        if config.tls.cert.is_some() != config.tls.key.is_some() {
            return Err(ConfigError::Tls);
        }
        config.doors.read(&environment, config.tls.cert.is_some())?;
        if !(0..=100).contains(&config.leaving.keep_invoices_years) || config.leaving.backup_days > 3_650 {
            return Err(ConfigError::Leaving);
        }
        Ok(config)
    }
}

impl MetricsConfig {
    fn read(&mut self, environment: impl Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
        if let Some(text) = environment("GRANARY_METRICS_LISTEN") {
            self.listen = Some(text.parse().map_err(|_| ConfigError::Metrics(text.chars().take(100).collect()))?);
        }
        if let Some(token) = environment("GRANARY_METRICS_TOKEN") {
            self.token = Some(Secret::new(token));
        }
        let is_guarded = self.token.as_ref().is_some_and(|token| token.reveal().len() >= 16);
        match self.listen {
            Some(listen) if !is_guarded && (self.token.is_some() || !listen.ip().is_loopback()) => {
                Err(ConfigError::Metrics(listen.to_string()))
            }
            _ => Ok(()),
        }
    }
}

/// Returns one variable of the process's environment; the only place that reads it.
pub fn environment(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    let value = std::env::var(name);
    value.ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let path = std::env::temp_dir().join(format!("granary-config-{}.toml", uuid::Uuid::now_v7()));
        std::fs::write(&path, text).unwrap();
        let config = Config::load(Some(&path), |name| (name == "GRANARY_LOG").then(|| "debug".to_owned()));
        std::fs::remove_file(path).unwrap();
        config
    }

    #[test]
    fn an_unknown_key_is_refused_and_named() {
        let error = load("[server]\nlisten_on = '127.0.0.1:1'\n").unwrap_err().to_string();
        assert!(error.contains("listen_on") && error.contains("listen"), "{error}");
    }

    #[test]
    fn the_file_overrides_defaults_and_the_environment_the_file() {
        let config = load("[server]\nlisten = '127.0.0.1:9'\n[log]\nfilter = 'error'\n").unwrap();
        assert_eq!((config.server.listen.port(), config.log.filter.as_str(), config.worker.concurrency), (9, "debug", 2));
    }

    #[test]
    fn clusters_are_named_and_have_a_region() {
        let config = load("[clusters.eu1]\nurl = 'postgres://u@h/d'\nregion = 'eu'\n").unwrap();
        assert_eq!((config.clusters["eu1"].region.as_str(), config.clusters["eu1"].max_connections), ("eu", 16));
        assert!(load("[clusters.eu1]\nurl = 'postgres://u@h/d'\n").unwrap_err().to_string().contains("region"));
    }

    #[test]
    fn what_outlives_a_customer_does_not_outlive_everybody() {
        assert_eq!(load("[leaving]\nbackup_days = 90\n").unwrap().leaving.keep_invoices_years, 10);
        assert!(load("[leaving]\nkeep_invoices_years = 101\n").unwrap_err().to_string().contains("100"));
        assert!(load("[leaving]\nbackup_days = 36500\n").is_err());
    }

    #[test]
    fn links_in_letters_lead_to_a_web_address() {
        let url = |text: &str| load(&format!("[server]\npublic_url = '{text}'\n")).map(|config| config.server.public_url);
        assert_eq!(url("https://backup.example/").unwrap().as_deref(), Some("https://backup.example"));
        assert!(url("backup.example").is_err() && url("https://b.example/?x").is_err());
    }

    #[test]
    fn networks_that_may_be_called_are_networks() {
        let config = load("[outbound]\nallow = ['10.1.0.0/16', '::1/128']\n").unwrap();
        assert_eq!((config.outbound.allow.len(), config.outbound.timeout_seconds), (2, 10));
        assert!(load("[outbound]\nallow = ['10.1.0.0']\n").unwrap_err().to_string().contains("10.1.0.0/16"));
    }

    #[test]
    fn a_certificate_has_a_key() {
        assert!(load("[tls]\ncert = 'c.pem'\nkey = 'k.pem'\n").unwrap().tls.key.is_some());
        assert!(load("[tls]\ncert = 'c.pem'\n").unwrap_err().to_string().contains("tls.key"));
    }

    #[test]
    fn metrics_are_not_open_to_everybody() {
        assert!(load("").unwrap().metrics.listen.is_none());
        assert!(load("[metrics]\nlisten = '[::1]:9464'\n").is_ok());
        for bad in ["listen = '0.0.0.0:9464'", "listen = '10.0.0.1:9464'\ntoken = 'short'", "listen = '127.0.0.1:1'\ntoken = ''"] {
            assert!(load(&format!("[metrics]\n{bad}\n")).unwrap_err().to_string().contains("metrics.token"), "{bad}");
        }
        assert!(load("[metrics]\nlisten = '0.0.0.0:9464'\ntoken = '0123456789abcdef'\n").is_ok());
    }

    #[test]
    fn a_secret_does_not_print() {
        let config = load("[database]\nurl = 'postgres://u:hunter2@h/d'\n[mail]\nurl = 'smtps://u:hunter2@h'\n").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
