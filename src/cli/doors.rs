//! The doors of analysts' tools: opened where the configuration says, with the certificate of the server.

use std::sync::Arc;

use granary_doors::Desk;
use granary_doors::postgres::{Acceptor, DoorLimits, PostgresDoor};

use super::house::Rooms;
use super::tls::Tls;
use super::{Failure, Usage};

/// The open doors.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    postgres: Option<PostgresDoor>,
}

impl Doors {
    /// Opens what is configured, and says where.
    ///
    /// # Errors
    /// When an address is taken, or others than this machine could reach it and there is no certificate.
    pub(crate) async fn open(rooms: &Rooms) -> Result<Self, Failure> {
        let config = &rooms.config;
        let desk = Desk::new(rooms.access.clone(), rooms.tenants.clone(), rooms.warehouse.clone());
        let Some(address) = config.doors.postgres else { return Ok(Self::default()) };
        let tls = Tls::of(&config.tls)?.map(|tls| tls.speaking(b"postgresql")).transpose()?;
        let way = if tls.is_some() { "TLS" } else { "in the clear, for this machine alone" };
        let acceptor = tls.map(|tls| Arc::new(move || tls.acceptor().clone()) as Acceptor);
        let door = PostgresDoor::open(desk, address, acceptor, DoorLimits::default())
            .await
            .map_err(|error| Usage(format!("cannot open doors.postgres on {address}: {error}")))?;
        say!("Postgres protocol on {} ({way})", door.address());
        Ok(Self { postgres: Some(door) })
    }

    /// Closes them: what is being answered may go on for five seconds.
    pub(crate) async fn stop(self) {
        if let Some(door) = self.postgres {
            door.stop().await;
        }
    }
}

/// Returns the line by which psql connects with a key; psql asks for the key itself.
pub(crate) fn psql(rooms: &Rooms, user: &str, database: &str) -> String {
    let config = &rooms.config;
    let (host, port) = match config.doors.postgres {
        Some(address) if address.ip().is_unspecified() => ("HOST".to_owned(), address.port().to_string()),
        Some(address) => (address.ip().to_string(), address.port().to_string()),
        // The door is closed; whoever opens it knows where.
        None => ("HOST".to_owned(), "PORT".to_owned()),
    };
    let tls = if config.tls.cert.is_some() { " sslmode=require" } else { "" };
    format!("psql \"host={host} port={port} user={user} dbname={database}{tls}\"")
}
