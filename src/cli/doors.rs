//! Where analysts' tools ask in SQL: each door opens where the configuration says so, and nowhere by default.

use granary_doors::{Desk, FlightDoor, TlsSource};

use super::Failure;
use super::house::Rooms;
use super::tls::Tls;

/// The doors that are open.
#[derive(Debug)]
pub(crate) struct Doors {
    flight: Option<FlightDoor>,
}

impl Doors {
    /// Opens the doors that are configured.
    pub(crate) async fn open(house: &Rooms) -> Result<Self, Failure> {
        let tls = Tls::of(&house.config.tls)?;
        let desk = Desk::new(house.access.clone(), house.tenants.clone(), house.warehouse.clone());
        Ok(Self { flight: flight(house, tls.as_ref(), desk).await? })
    }

    /// Lets the answers that are being read go on for a moment, and closes.
    pub(crate) async fn close(self) {
        if let Some(door) = self.flight {
            door.stop().await;
        }
    }
}

async fn flight(house: &Rooms, tls: Option<&Tls>, desk: Desk) -> Result<Option<FlightDoor>, Failure> {
    let Some(address) = house.config.doors.flight else { return Ok(None) };
    let tls = tls.map(|tls| tls.speaking(&[b"h2"])).transpose()?;
    let door = FlightDoor::listen(address, tls.map(|tls| TlsSource::new(move || tls.acceptor().clone())), desk).await?;
    say!("Arrow Flight SQL on {}", door.url());
    Ok(Some(door))
}
