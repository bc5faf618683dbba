//! Where analysts' tools ask.

use std::net::SocketAddr;

use serde::Deserialize;

use super::ConfigError;

/// `[doors]`: where analysts' tools ask in SQL. What they ask goes with the certificate of `[tls]`; without one a door opens to this
/// machine alone.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DoorsConfig {
    /// The address and port of Postgres' protocol, for psql, JDBC, ODBC and the tools that use them: `127.0.0.1:5433`. Default none:
    /// closed. Overridden by `GRANARY_DOORS_POSTGRES`.
    pub postgres: Option<SocketAddr>,
    /// The address and port of Arrow Flight SQL, for answers of many rows: `127.0.0.1:8815`. Default none: closed. Overridden by
    /// `GRANARY_DOORS_FLIGHT`.
    pub flight: Option<SocketAddr>,
}

impl DoorsConfig {
    pub(super) fn read(&mut self, environment: impl Fn(&str) -> Option<String>, has_certificate: bool) -> Result<(), ConfigError> {
        let doors = [("postgres", "GRANARY_DOORS_POSTGRES", &mut self.postgres), ("flight", "GRANARY_DOORS_FLIGHT", &mut self.flight)];
        for (name, variable, door) in doors {
            let refused = |given: &str| ConfigError::Door { name, given: given.chars().take(100).collect() };
            if let Some(text) = environment(variable) {
                *door = Some(text.parse().map_err(|_| refused(&text))?);
            }
            if let Some(address) = door
                && !has_certificate
                && !address.ip().is_loopback()
            {
                return Err(refused(&address.to_string()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_without_a_certificate_opens_to_this_machine_alone() {
        let read = |listen: &str, has_certificate| {
            let listen = listen.to_owned();
            let mut doors = DoorsConfig::default();
            doors.read(|name| (name == "GRANARY_DOORS_FLIGHT").then(|| listen.clone()), has_certificate).map(|()| doors)
        };
        let opened = read("127.0.0.1:8815", false).unwrap();
        assert_eq!((opened.flight.map(|address| address.port()), opened.postgres), (Some(8_815), None));
        assert!(read("[::1]:8815", false).is_ok() && read("0.0.0.0:8815", true).is_ok());
        for bad in ["0.0.0.0:8815", "8815", "flight"] {
            let problem = read(bad, false).unwrap_err().to_string();
            assert!(problem.contains("doors.flight") && problem.contains("tls.cert"), "{problem}");
        }
    }
}
