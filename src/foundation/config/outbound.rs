//! Where requests may go.

use serde::Deserialize;

use crate::outbound::Network;

/// `[outbound]`: requests to addresses that customers name, such as those of identity providers.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutboundConfig {
    /// Networks that may be called although they are not on the Internet: `["10.1.0.0/16", "fd00::/8"]`. What listens on this machine
    /// (`["127.0.0.1/32"]`) is then also called by plain HTTP. Default none.
    pub allow: Vec<Network>,
    /// Longest time of one request in seconds, from the look-up of the name to the last byte. Default 10.
    pub timeout_seconds: u64,
}

impl Default for OutboundConfig {
    fn default() -> Self {
        Self { allow: Vec::new(), timeout_seconds: 10 }
    }
}
