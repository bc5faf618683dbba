//! The doors of analysts' tools: opened where the configuration says, with the certificate of the server.

use std::net::SocketAddr;
use std::sync::Arc;

use granary_doors::postgres::{Acceptor, DoorLimits, PostgresDoor};
use granary_doors::{Desk, FlightDoor, TlsSource};

use super::house::Rooms;
use super::tls::Tls;
use super::{Failure, Usage};

/// The open doors.
#[derive(Debug)]
pub(crate) struct Doors {
    postgres: Option<PostgresDoor>,
    flight: Option<FlightDoor>,
}

impl Doors {
    /// Opens what is configured, and says where.
    ///
    /// # Errors
    /// When an address is taken, or others than this machine could reach it and there is no certificate.
    pub(crate) async fn open(rooms: &Rooms) -> Result<Self, Failure> {
        let config = &rooms.config;
        let tls = Tls::of(&config.tls)?;
        let desk = Desk::new(rooms.access.clone(), rooms.tenants.clone(), rooms.warehouse.clone());
        let postgres = match config.doors.postgres {
            Some(address) => Some(postgres(address, tls.as_ref(), desk.clone()).await?),
            None => None,
        };
        let flight = match config.doors.flight {
            Some(address) => Some(flight(address, tls.as_ref(), desk).await?),
            None => None,
        };
        Ok(Self { postgres, flight })
    }

    /// Closes them: what is being answered may go on for a moment.
    pub(crate) async fn stop(self) {
        tokio::join!(
            async {
                if let Some(door) = self.postgres {
                    door.stop().await;
                }
            },
            async {
                if let Some(door) = self.flight {
                    door.stop().await;
                }
            }
        );
    }
}

async fn postgres(address: SocketAddr, tls: Option<&Tls>, desk: Desk) -> Result<PostgresDoor, Failure> {
    let tls = tls.map(|tls| tls.speaking(b"postgresql")).transpose()?;
    let way = if tls.is_some() { "TLS" } else { "in the clear, for this machine alone" };
    let acceptor = tls.map(|tls| Arc::new(move || tls.acceptor().clone()) as Acceptor);
    let door = PostgresDoor::open(desk, address, acceptor, DoorLimits::default())
        .await
        .map_err(|error| Usage(format!("cannot open doors.postgres on {address}: {error}")))?;
    say!("Postgres protocol on {} ({way})", door.address());
    Ok(door)
}

async fn flight(address: SocketAddr, tls: Option<&Tls>, desk: Desk) -> Result<FlightDoor, Failure> {
    let tls = tls.map(|tls| tls.speaking(b"h2")).transpose()?;
    let door = FlightDoor::listen(address, tls.map(|tls| TlsSource::new(move || tls.acceptor().clone())), desk).await?;
    say!("Arrow Flight SQL on {}", door.url());
    Ok(door)
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
