//! Other machines that queries may be spread over.

use std::path::PathBuf;

use serde::Deserialize;

/// `[executors]`: processes of this house, `granary executor`, over which large queries are spread. Only a binary that was built with
/// `--features distributed` takes them.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecutorsConfig {
    /// Where they are: `["https://10.0.0.2:50060", "https://10.0.0.3:50060"]`. Default none: every query runs where it is asked.
    pub urls: Vec<String>,
    /// What one thread of an executor reads at least, in bytes; a query that reads less than one executor's threads are worth is answered
    /// where it is asked. Default 16 MiB.
    pub bytes_per_thread: usize,
    /// Certificates as PEM by which those of executors are taken, beside those that the machine trusts. Default none.
    pub ca: Option<PathBuf>,
    /// Whether what goes to and from executors may go in the clear to other machines. Default false.
    pub trusted_network: bool,
}

impl Default for ExecutorsConfig {
    fn default() -> Self {
        Self { urls: Vec::new(), bytes_per_thread: 16 << 20, ca: None, trusted_network: false }
    }
}
