//! Collects the rubbish that killed exports leave: objects that no version of any manifest names.

use granary_foundation::Boxed;
use std::collections::HashSet;

use granary_tenants::OperatorScope;
use jiff::Timestamp;
use serde::Serialize;

use crate::lake::{ACTOR, Lake};
use crate::step::Step;
use crate::{LakeError, store};

/// What was collected; objects that were never finished among it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Collected {
    pub objects_deleted: u64,
    pub bytes_deleted: u64,
    pub objects_kept: u64,
}

impl Lake {
    /// Deletes the objects that no manifest row names and that are older than `stored_before`, by the object store's own
    /// clock; younger ones may belong to an export that has not committed yet.
    ///
    /// # Errors
    /// When the manifest or the object store cannot be read.
    pub fn collect<'a>(&'a self, stored_before: Timestamp) -> Boxed<'a, Result<Collected, LakeError>> {
        Box::pin(async move {
            // Listed before the manifest is read: what is committed in between is then known.
            let mut objects = Vec::new();
            for root in self.objects().roots() {
                objects.extend(self.objects().list(&root).await?);
            }
            let tx = self.tenants().begin_operator(&OperatorScope::for_job(ACTOR, "collect unreferenced objects")).await?;
            let named: HashSet<String> = store::list_paths(&tx).await?.into_iter().collect();
            tx.commit().await?;
            let (objects_deleted, bytes_deleted) = self.objects().delete_unfinished(stored_before).await?;
            let mut collected = Collected { objects_deleted, bytes_deleted, objects_kept: 0 };
            for object in objects {
                let path = object.location.to_string();
                if named.contains(&path) || object.last_modified.timestamp_micros() >= stored_before.as_microsecond() {
                    collected.objects_kept += 1;
                    continue;
                }
                self.objects().delete(&path).await?;
                self.reach(Step::Collected, None).await;
                collected.objects_deleted += 1;
                collected.bytes_deleted += object.size;
            }
            Ok(collected)
        })
    }
}
