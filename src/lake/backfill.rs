//! Files of a customer written anew, whatever the lake holds: one was lost, or its content is doubted.

use std::ops::RangeInclusive;

use granary_foundation::Boxed;
use granary_tenants::TenantScope;
use granary_types::{Period, Source};

use crate::LakeError;
use crate::lake::Lake;
use crate::manifest::FileOwner;
use crate::month::Part;
use crate::store::{self, versions};

impl Lake {
    /// Has the next export write a customer's files anew: of one dataset or of all, of some months or of all. The files that are there
    /// stay until then. Returns the number of files that will be replaced.
    ///
    /// # Errors
    /// When there is no such dataset, or Postgres refuses.
    pub fn backfill<'a>(
        &'a self,
        scope: &'a TenantScope,
        dataset: Option<&'a str>,
        months: &'a RangeInclusive<Period>,
    ) -> Boxed<'a, Result<u64, LakeError>> {
        Box::pin(async move {
            let own = || self.datasets().iter().filter(|dataset| dataset.source == Source::Tenant).map(|dataset| dataset.name);
            if let Some(unknown) = dataset.filter(|name| !own().any(|own| own == *name)) {
                return Err(LakeError::NoDataset(unknown.to_owned(), own().collect::<Vec<_>>().join(", ")));
            }
            let wanted: Vec<&str> = own().filter(|name| dataset.is_none_or(|only| only == *name)).collect();
            let owner = FileOwner { msp: scope.msp.id, customer: Some(scope.customer.id) };
            let control = self.begin(&scope.msp).await?;
            let is_meant = |part: Part| part.month().is_none_or(|month| months.contains(&month));
            let current = store::list_current(&control, owner.msp, owner.customer).await?;
            let meant = current.into_iter().filter(|file| wanted.contains(&file.dataset.as_str()) && is_meant(file.part));
            let paths: Vec<String> = meant.map(|file| file.path).collect();
            let forgotten = versions::forget_contents(&control, owner, &paths).await?;
            control.commit().await?;
            // Read whole: months that have rows and no file are found, too. What did not change and is not meant is not written again.
            let silo = self.tenants().begin_tenant(scope).await?;
            versions::mark_dirty(&silo, &wanted).await?;
            silo.commit().await?;
            Ok(forgotten)
        })
    }
}
