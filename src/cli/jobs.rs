//! The job queue, seen and nudged from the command line.

use std::process::ExitCode;

use granary_db::jobs::{self, JobState, NewJob};
use granary_tenants::OperatorScope;
use serde_json::{Value, json};

use super::arguments::{Global, Jobs};
use super::house::{ACTOR, House, Missing};
use super::output::{Rows, print_json};
use super::{Failure, Usage, events};

/// How many jobs a listing shows.
const SHOWN: i64 = 200;

pub(crate) async fn run(global: &Global, command: Jobs) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        match command {
            Jobs::List { state, format } => {
                let state = state.as_deref().map(parse_state).transpose()?;
                let tx = house.tenants.begin_operator(&operator("list jobs")).await?;
                let listed = jobs::list_jobs(&tx, state, SHOWN).await?;
                tx.commit().await?;
                let rows: Vec<Value> = listed
                    .into_iter()
                    .map(|job| {
                        json!({"id": job.id, "kind": job.kind, "state": job.state.as_str(), "attempt": job.attempt,
                               "run_at": job.run_at, "last_error": job.last_error})
                    })
                    .collect();
                Rows::of(&["id", "kind", "state", "attempt", "run_at", "last_error"], &rows).print(format)?;
            }
            Jobs::Retry { id } => {
                let tx = house.tenants.begin_operator(&operator("retry a job")).await?;
                let is_retried = jobs::retry_job(&tx, id).await?;
                tx.commit().await?;
                if !is_retried {
                    return Err(Missing(format!("there is no dead job {id}; see granary jobs list --state dead")).into());
                }
                print_json(&json!({"id": id, "state": "ready"}))?;
            }
            Jobs::Run { kind, payload } => {
                let payload: Value = serde_json::from_str(&payload).map_err(|error| Usage(format!("the payload is not JSON: {error}")))?;
                let known = events::kinds();
                let kind = known
                    .iter()
                    .copied()
                    .find(|known| *known == kind)
                    .ok_or_else(|| Usage(format!("there is no job '{kind}': one of {}", known.join(", "))))?;
                let tx = house.tenants.begin_operator(&operator("run a job")).await?;
                let id = jobs::enqueue(
                    &tx,
                    &NewJob { kind, payload, msp: None, customer: None, run_at: None, unique_key: None, priority: 100, max_attempts: 3 },
                )
                .await?;
                tx.commit().await?;
                let ended = events::worker(house).run_until_idle().await?;
                let tx = house.tenants.begin_operator(&operator("see how the job ended")).await?;
                let listed = jobs::list_jobs(&tx, None, SHOWN).await?;
                tx.commit().await?;
                let job = listed.into_iter().find(|job| Some(job.id) == id);
                let (state, last_error) = job.map_or((None, None), |job| (Some(job.state), job.last_error));
                print_json(&json!({"id": id, "state": state.map(JobState::as_str), "last_error": last_error, "jobs_ended": ended}))?;
                return Ok(if state == Some(JobState::Done) { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

fn parse_state(word: &str) -> Result<JobState, Usage> {
    let states = [JobState::Ready, JobState::Running, JobState::Done, JobState::Dead];
    states
        .into_iter()
        .find(|state| state.as_str() == word)
        .ok_or_else(|| Usage(format!("'{word}' is not a state of a job: one of ready, running, done, dead")))
}

fn operator(reason: &str) -> OperatorScope {
    OperatorScope::for_job(ACTOR, reason)
}
