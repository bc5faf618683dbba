//! From new events to rows: as they are, or, where something is corrected, anew from the log.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use granary_tenants::TenantTx;

use crate::apply::apply;
use crate::correction::{Corrections, Counted, Logged};
use crate::error::MeteringError;
use crate::event::Event;
use crate::fact::{Fact, MachineKey};
use crate::projection::Projection;
use crate::store;
use crate::thing::{Place, Thing};

/// Whether anything in the log corrects anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Corrected {
    Nothing,
    Something,
}

/// Counts events that were just appended to the log.
pub(crate) async fn count(tx: &TenantTx, fresh: &[&Event<'_>], corrected: Corrected) -> Result<(), MeteringError> {
    if corrected == Corrected::Something || fresh.iter().any(|event| event.is_correction()) {
        return recount(tx, fresh).await;
    }
    let mut projection = Projection::new(tx.customer().id, tx.customer().time_zone.clone());
    fresh.iter().for_each(|event| projection.add(event.source, event.occurred_at, &event.fact));
    apply(tx, projection, corrected).await
}

/// Counts events of which some correct others or are corrected. What an event contributed cannot be taken out of a row that others
/// contributed to as well, so that every thing that a correction touches is counted anew from the log.
async fn recount(tx: &TenantTx, fresh: &[&Event<'_>]) -> Result<(), MeteringError> {
    let place = Place { customer: tx.customer().id, zone: &tx.customer().time_zone };
    let (correcting, facts): (Vec<&Event<'_>>, Vec<&Event<'_>>) = fresh.iter().partition(|event| event.is_correction());
    let names: Vec<(&str, &str)> = correcting.iter().map(|event| event.name()).collect();
    let new: HashSet<(&str, &str)> = facts.iter().map(|event| event.name()).collect();
    // New facts have contributed nothing yet, whatever corrects them.
    let mut targets = if names.is_empty() { Vec::new() } else { store::corrections::list_corrected(tx, &names).await? };
    targets.retain(|target| !new.contains(&(target.source.as_str(), target.id.as_str())));
    let things = touched(tx, place, &targets).await?;

    let fact_names: Vec<(&str, &str)> = facts.iter().map(|event| event.name()).collect();
    let corrections = corrections_of(tx, &fact_names).await?;
    let logged = distinct(store::corrections::list_about(tx, &things).await?);
    let corrections_of_logged = corrections_of(tx, &names_of(&logged)).await?;

    let mut projection = Projection::new(place.customer, place.zone.clone());
    for event in fresh {
        projection.mention(event.occurred_at, &event.fact);
    }
    for event in &facts {
        let counted = corrections.counted(event.id, Counted::of(event))?;
        // What tells of a thing that is counted anew is in the log already.
        if let Some(counted) = counted.filter(|counted| !is_among(&things, place, counted)) {
            projection.add(counted.source, counted.occurred_at, &counted.fact);
        }
    }
    for event in &logged {
        if let Some(counted) = corrections_of_logged.counted_logged(event)?.filter(|counted| is_among(&things, place, counted)) {
            projection.add(counted.source, counted.occurred_at, &counted.fact);
        }
    }
    for thing in &things {
        if let Thing::Machine { source_system, vendor_id } = thing {
            projection.told.insert(MachineKey { source_system, vendor_id });
        }
    }
    store::corrections::delete_things(tx, place.customer, &things).await?;
    apply(tx, projection, Corrected::Something).await
}

/// Returns the things that events contributed to, or contribute to now.
async fn touched(tx: &TenantTx, place: Place<'_>, targets: &[Logged]) -> Result<BTreeSet<Thing>, MeteringError> {
    let mut things = BTreeSet::new();
    let corrections = corrections_of(tx, &names_of(targets)).await?;
    for target in targets {
        things.extend(Thing::of(place, &target.source, target.occurred_at, &target.fact()?));
        for correction in corrections.of(&target.source, &target.id) {
            if let Fact::Amended(amendment) = correction.fact()? {
                things.extend(Thing::of(place, &target.source, amendment.occurred_at, &amendment.fact));
            }
        }
    }
    Ok(things)
}

fn is_among(things: &BTreeSet<Thing>, place: Place<'_>, counted: &Counted<'_>) -> bool {
    !things.is_empty()
        && Thing::of(place, counted.source, counted.occurred_at, &counted.fact)
            .is_some_and(|thing| !matches!(thing, Thing::Machine { .. }) && things.contains(&thing))
}

/// Returns what corrects events, decided.
pub(crate) async fn corrections_of(tx: &TenantTx, events: &[(&str, &str)]) -> Result<Corrections, MeteringError> {
    if events.is_empty() {
        return Ok(Corrections::default());
    }
    Corrections::new(store::corrections::list_corrections(tx, events).await?)
}

pub(crate) fn names_of(logged: &[Logged]) -> Vec<(&str, &str)> {
    logged.iter().map(|event| (event.source.as_str(), event.id.as_str())).collect()
}

/// Leaves each event once.
pub(crate) fn distinct(logged: Vec<Logged>) -> Vec<Logged> {
    let named = logged.into_iter().map(|event| ((event.source.clone(), event.id.clone()), event));
    named.collect::<BTreeMap<_, _>>().into_values().collect()
}
