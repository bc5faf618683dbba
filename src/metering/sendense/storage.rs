//! Stored bytes: what a repository says of itself, and what lies in it already.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::dump::{Row, When};
use super::jobs::Runs;
use super::{Draft, SendenseError, Table};
use crate::imported::{envelope, id_of};

/// Says how full repositories were, and that copies and chains lie in them.
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
    for row in tables.of(Table::BackupCopies) {
        let is_known = runs.known.contains(row.required("source_backup_id")?);
        match row.required("status")? {
            "completed" if is_known => draft.fold(Table::BackupCopies, "its bytes are in its repository's; the run counts once"),
            "completed" | "failed" if !is_known => draft.leave(Table::BackupCopies, "its backup is not in the dump"),
            "failed" => draft.leave(Table::BackupCopies, "it failed"),
            "pending" | "copying" | "verifying" => draft.leave(Table::BackupCopies, "it has not ended"),
            _ => return Err(row.bad("status", "is not a known state")),
        }
    }
    for row in tables.of(Table::BackupChains) {
        if row.text("full_backup_id").is_some_and(|backup| runs.known.contains(backup)) {
            draft.fold(Table::BackupChains, "its bytes are in its repository's");
        } else {
            draft.leave(Table::BackupChains, "its full backup is not in the dump");
        }
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
