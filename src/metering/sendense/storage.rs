//! Stored bytes: what a repository says of itself, and the copies and chains that lie in it already.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use super::dump::{Row, When};
use super::jobs::{Named, Runs};
use super::machines::machine;
use super::{Draft, SendenseError, Table};
use crate::imported::{envelope, id_of};

/// Says how full repositories were, and what copies and chains lie in them.
pub(super) fn tell<'d>(draft: &mut Draft<'d>, runs: &Runs<'d>) -> Result<(), SendenseError> {
    let tables = draft.tables;
    let copied: BTreeSet<&str> = tables.of(Table::BackupCopies).filter_map(|row| row.text("repository_id")).collect();
    for row in tables.of(Table::BackupRepositories) {
        let (used, checked) = (row.number("used_size_bytes")?, row.when("last_check_at", draft.zone)?);
        let (Some(used), Some(checked)) = (used, checked) else {
            draft.leave(Table::BackupRepositories, "nobody has looked how full it is");
            continue;
        };
        let id = row.required("id")?;
        let is_copy = copied.contains(id) && !runs.primary.contains(id);
        let event = sampled(draft.source, row, used, checked, is_copy)?;
        draft.take(Table::BackupRepositories, if is_copy { "how full it was; it holds copies" } else { "how full it was" }, event);
    }
    tell_copies(draft, runs)?;
    tell_chains(draft, runs)
}

/// A copy is stored a second time, which its repository's gauge says; the run counts once.
fn tell_copies<'d>(draft: &mut Draft<'d>, runs: &Runs<'d>) -> Result<(), SendenseError> {
    for row in draft.tables.of(Table::BackupCopies) {
        let (event_type, reason) = match row.required("status")? {
            "completed" => ("copy.completed", "a copy of a run"),
            "failed" => ("copy.failed", "a copy that failed"),
            "pending" | "copying" | "verifying" => {
                draft.leave(Table::BackupCopies, "it has not ended; a later dump brings it");
                continue;
            }
            _ => return Err(row.bad("status", "is not a known state")),
        };
        let (run, key, run_ended_at) = match runs.named(row.required("source_backup_id")?) {
            Named::Run(run, key, ended_at) => (run.to_owned(), key, ended_at),
            Named::Several => {
                draft.leave(Table::BackupCopies, "its backup's id names several runs");
                continue;
            }
            Named::None => {
                draft.leave(Table::BackupCopies, "its backup is no run of the dump");
                continue;
            }
        };
        let ended = match row.when("copy_completed_at", draft.zone)? {
            Some(ended) => Some(ended),
            None => row.when("copy_started_at", draft.zone)?,
        };
        let ended_at = ended.map_or(run_ended_at, |ended| ended.not_before(run_ended_at));
        let is_verified = row.text("verified_at").is_some() && row.text("verification_status") != Some("failed");
        let id = row.required("id")?;
        let data = json!({
            "copy_id": id, "run_id": run, "machine": machine(key), "repository_id": row.required("repository_id")?,
            "stored_bytes": row.number("size_bytes")?.unwrap_or(0), "ended_at": ended_at.to_string(), "is_verified": is_verified,
        });
        // What is verified later is said again.
        let name = id_of(&["backup_copies", id, &run, event_type, if is_verified { "verified" } else { "" }]);
        let event = envelope(&name, event_type, ended_at, draft.source, id, &data);
        draft.take(Table::BackupCopies, reason, event);
    }
    Ok(())
}

/// A chain's bytes are said, and never added to those of the repository in which it lies.
fn tell_chains<'d>(draft: &mut Draft<'d>, runs: &Runs<'d>) -> Result<(), SendenseError> {
    let tables = draft.tables;
    let repositories: HashMap<&str, &str> =
        tables.of(Table::BackupJobs).filter_map(|row| Some((row.text("id")?, row.text("repository_id")?))).collect();
    for row in tables.of(Table::BackupChains) {
        let full = row.required("full_backup_id")?;
        let (key, sampled, repository) = match (runs.named(full), row.when("updated_at", draft.zone)?, repositories.get(full)) {
            (Named::Run(_, key, _), Some(sampled), Some(repository)) => (key, sampled, *repository),
            (Named::Run(..), _, _) => {
                draft.leave(Table::BackupChains, "nobody says when it held so much, or where");
                continue;
            }
            (Named::Several, _, _) => {
                draft.leave(Table::BackupChains, "its full backup's id names several runs");
                continue;
            }
            (Named::None, _, _) => {
                draft.leave(Table::BackupChains, "its full backup is no run of the dump");
                continue;
            }
        };
        let id = row.required("id")?;
        let data = json!({
            "chain_id": id, "machine": machine(key), "repository_id": repository,
            "restore_points": row.number("total_backups")?.unwrap_or(1), "stored_bytes": row.number("total_size_bytes")?.unwrap_or(0),
            "sampled_at": sampled.at.to_string(),
        });
        let name = id_of(&["backup_chains", id, &sampled.written.to_string()]);
        let event = envelope(&name, "chain.sampled", sampled.at, draft.source, id, &data);
        draft.take(Table::BackupChains, "how much a chain holds, within its repository", event);
    }
    Ok(())
}

fn sampled(source: &str, row: Row<'_>, used: i64, checked: When, is_copy: bool) -> Result<Value, SendenseError> {
    let id = row.required("id")?;
    let is_immutable = row.flag("is_immutable");
    let data = json!({
        "repository": {
            "vendor_id": id,
            "name": row.required("name")?,
            "kind": row.required("repository_type")?,
            "capacity_bytes": row.number("total_size_bytes")?,
            "is_copy": is_copy,
            "is_immutable": is_immutable,
            "retention_days": row.number("min_retention_days")?,
        },
        "used_bytes": used,
        "sampled_at": checked.at.to_string(),
    });
    // The next look of the appliance is another sample.
    Ok(envelope(&id_of(&["backup_repositories", id, &checked.written.to_string()]), "repository.sampled", checked.at, source, id, &data))
}
