//! How much a customer may use: shown, and set from today on.

use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use granary_tenants::{Enforcement, Limits, get_limits, put_limits};
use granary_types::CustomerCode;
use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde_json::json;

use super::arguments::Global;
use super::house::{House, Rooms};
use super::output::{Format, Rows};
use super::{Failure, Usage};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  granary customer limits ACME                                       as they are today
  granary customer limits ACME --machines 50 --storage-gib 2048
  granary customer limits ACME --api-rate 600:hard --machines none   none is as many as one likes
  granary customer limits ACME --machines soft                       the same number, which refuses nothing

A soft limit alerts at 80 % and 100 %; a hard one refuses as well, facts excepted: they are always counted. What is not named stays.")]
pub(crate) struct LimitsCommand {
    /// The customer, by its code
    code: CustomerCode,
    /// The MSP, by its code; needed when there are several
    #[arg(long)]
    msp: Option<String>,
    /// Machines
    #[arg(long, value_name = "LIMIT")]
    machines: Option<Bound>,
    /// Storage in GiB; what lies above is billed as overage
    #[arg(long, value_name = "LIMIT")]
    storage_gib: Option<Bound>,
    /// Jobs that run at once
    #[arg(long, value_name = "LIMIT")]
    jobs: Option<Bound>,
    /// Requests a minute of all programs together, deliveries of usage events aside
    #[arg(long, value_name = "LIMIT")]
    api_rate: Option<Bound>,
    /// How the answer is written: a table, JSON or CSV
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// What becomes of one limit: `50`, `50:hard`, `none`, `none:soft` or `hard` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    most: Most,
    enforcement: Option<Enforcement>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Most {
    AsItIs,
    AsManyAsOneLikes,
    Of(i32),
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let enforcement = |word: &str| Enforcement::deserialize(StrDeserializer::<serde::de::value::Error>::new(word)).ok();
        if let Some(enforcement) = enforcement(text) {
            return Ok(Self { most: Most::AsItIs, enforcement: Some(enforcement) });
        }
        let (most, word) = text.split_once(':').map_or((text, None), |(most, word)| (most, Some(word)));
        let most = match most {
            "none" => Some(Most::AsManyAsOneLikes),
            number => number.parse().ok().filter(|number| *number >= 0).map(Most::Of),
        };
        match (most, word, word.and_then(enforcement)) {
            (Some(most), None, _) => Ok(Self { most, enforcement: None }),
            (Some(most), Some(_), Some(enforcement)) => Ok(Self { most, enforcement: Some(enforcement) }),
            _ => Err("a limit is written as 50, 50:soft, 50:hard, none, soft or hard".to_owned()),
        }
    }
}

impl Bound {
    fn applied(self, most: Option<i32>, enforcement: Enforcement) -> (Option<i32>, Enforcement) {
        let most = match self.most {
            Most::AsItIs => most,
            Most::AsManyAsOneLikes => None,
            Most::Of(most) => Some(most),
        };
        (most, self.enforcement.unwrap_or(enforcement))
    }
}

impl LimitsCommand {
    fn apply(&self, limits: &mut Limits) -> Result<(), Usage> {
        if let Some(bound) = self.machines {
            (limits.machines, limits.machines_enforcement) = bound.applied(limits.machines, limits.machines_enforcement);
        }
        if let Some(bound) = self.jobs {
            (limits.max_concurrent_jobs, limits.jobs_enforcement) = bound.applied(limits.max_concurrent_jobs, limits.jobs_enforcement);
        }
        if let Some(bound) = self.api_rate {
            (limits.api_rate_limit, limits.api_enforcement) = bound.applied(limits.api_rate_limit, limits.api_enforcement);
        }
        if let Some(bound) = self.storage_gib {
            limits.storage_gib = match bound.most {
                Most::AsItIs => limits.storage_gib,
                Most::Of(most) => most.into(),
                Most::AsManyAsOneLikes => {
                    return Err(Usage(
                        "storage always has a limit, because what lies above it is billed: write a number of GiB".to_owned(),
                    ));
                }
            };
            limits.storage_enforcement = bound.enforcement.unwrap_or(limits.storage_enforcement);
        }
        Ok(())
    }
}

pub(crate) async fn run(global: &Global, command: LimitsCommand) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        let (msp, customer) = house.customer(command.msp.as_deref(), &command.code).await?;
        let tx = house.tenants.begin_msp(&Rooms::msp_scope(&msp)).await?;
        let mut limits = get_limits(&tx, &customer).await?;
        let before = limits;
        command.apply(&mut limits)?;
        if limits != before {
            put_limits(&tx, &customer, &limits).await?;
        }
        tx.commit().await?;
        let row = |resource: &str, most: Option<i64>, enforcement: Enforcement| json!({"resource": resource, "limit": most, "enforcement": enforcement});
        let rows = [
            row("max_vms", limits.machines.map(i64::from), limits.machines_enforcement),
            row("storage_gb", Some(limits.storage_gib), limits.storage_enforcement),
            row("max_concurrent_jobs", limits.max_concurrent_jobs.map(i64::from), limits.jobs_enforcement),
            row("api_rate_limit", limits.api_rate_limit.map(i64::from), limits.api_enforcement),
        ];
        Rows::of(&["resource", "limit", "enforcement"], &rows).print(command.format)?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_with_what_happens_at_it_or_one_of_the_two() {
        let bound = |text: &str| text.parse::<Bound>().ok().map(|bound| bound.applied(Some(7), Enforcement::Soft));
        assert_eq!(bound("50"), Some((Some(50), Enforcement::Soft)));
        assert_eq!(bound("0:hard"), Some((Some(0), Enforcement::Hard)));
        assert_eq!(bound("none:hard"), Some((None, Enforcement::Hard)));
        assert_eq!(bound("hard"), Some((Some(7), Enforcement::Hard)));
        for wrong in ["", "-1", "50:", ":hard", "50:firm", "3000000000", "1.5", "none:"] {
            assert_eq!(bound(wrong), None, "{wrong}");
        }
    }
}
