//! Letters: what people are written, and the log of it.

use std::process::ExitCode;

use granary_access::{Letter, LetterJob, LetterKind};
use granary_db::jobs::JobError;
use granary_foundation::Secret;
use granary_notifications::{Link, Notice, Recipient};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Failure;
use super::arguments::{Global, Mail};
use super::house::{House, Rooms, public_url};
use super::output::{Rows, print_json};

/// How many mails a listing shows.
const SHOWN: i64 = 200;

/// Writes the letter of a job and sends it, unless there is no longer a reason.
pub(crate) async fn run_job(rooms: &Rooms, job: &LetterJob) -> Result<(), JobError> {
    let Some(letter) = rooms.access.letter(job).await? else { return Ok(()) };
    let Letter { user, msp, msp_name, customer, email, name, kind } = letter;
    let notice = notice(rooms, msp_name.unwrap_or_else(|| "Granary".to_owned()), name.clone(), kind);
    rooms.mailer.deliver(job.id, &Recipient { user, msp, customer, email, name }, &notice).await?;
    Ok(())
}

fn notice(rooms: &Rooms, house: String, name: String, kind: LetterKind) -> Notice {
    let at = |path: &str| format!("{}{path}", public_url(&rooms.config));
    let link = |token: &Secret, expires_at: Timestamp| Link { url: at(&format!("/password?token={}", token.reveal())), expires_at };
    match kind {
        LetterKind::Invitation { by, token, expires_at } => Notice::Invitation { house, name, by, link: link(&token, expires_at) },
        LetterKind::Reset { token, expires_at } => Notice::Reset { house, name, link: link(&token, expires_at) },
        LetterKind::Locked => Notice::Locked { house, name, reset_url: at("/forgot") },
        LetterKind::PasswordChanged => Notice::PasswordChanged { house, name, reset_url: at("/forgot") },
        LetterKind::FactorChanged { has_factor } => Notice::FactorChanged { house, name, has_factor, account_url: at("/account") },
    }
}

pub(crate) async fn run(global: &Global, command: Mail) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        match command {
            Mail::List { format } => {
                let mails = house.mailer.list(SHOWN).await?;
                let row = |mail: &granary_notifications::LoggedMail| json!({"id": mail.id, "kind": mail.kind, "to": mail.to, "subject": mail.subject, "state": mail.state, "attempts": mail.attempts, "last_error": mail.last_error, "created_at": mail.created_at, "finished_at": mail.finished_at});
                let rows: Vec<Value> = mails.iter().map(row).collect();
                let columns = ["id", "kind", "to", "subject", "state", "attempts", "last_error", "created_at", "finished_at"];
                Rows::of(&columns, &rows).print(format)?;
            }
            Mail::Show { id } => {
                let mail = house.mailer.show(id).await?;
                print_json(&json!({"id": id, "to": mail.to, "subject": mail.subject, "text": mail.text}))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}
