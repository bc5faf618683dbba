//! The events behind a number.

use std::process::ExitCode;

use granary_metering::EventFilter;
use serde_json::json;

use super::Failure;
use super::arguments::{Events, Global};
use super::house::{House, Rooms};
use super::output::Rows;

pub(crate) async fn run(global: &Global, command: Events) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        let (msp, customer) = house.customer(command.msp.as_deref(), &command.customer).await?;
        house.note_opening([customer.id], "granary events").await?;
        let detail = json!({"period": command.period, "type": command.event_type, "machine": command.machine, "refused": command.refused});
        let filter = EventFilter {
            period: command.period,
            event_type: command.event_type,
            vendor_id: command.machine,
            limit: i64::from(command.limit),
        };
        let tx = house.tenants.begin_tenant(&Rooms::tenant_scope(&msp, &customer)).await?;
        // In the customer's own log, where its people see who looked.
        tx.record_audit("events.read", &format!("customer:{}", customer.code), &detail, None).await?;
        if command.refused {
            let refused = granary_metering::list_refused(&tx, filter.period, filter.limit).await?;
            tx.commit().await?;
            Rows::of(&["received_at", "source", "id", "reason", "event"], &refused).print(command.format)?;
            return Ok(ExitCode::SUCCESS);
        }
        let events = granary_metering::list_events(&tx, &filter).await?;
        tx.commit().await?;
        Rows::of(&["occurred_at", "source", "id", "type", "data"], &events).print(command.format)?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}
