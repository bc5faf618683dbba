//! Questions to the warehouse.

mod table;
mod writing;

use std::io::{self, IsTerminal, Read};
use std::process::ExitCode;

use granary_tenants::{Msp, ReadGrant};
use granary_warehouse::{AsOf, Session};
use serde_json::json;

use super::arguments::{Global, Query};
use super::files::Named;
use super::house::{DemoFile, House, Rooms};
use super::{Failure, Usage, serve, shell};

pub(crate) use writing::AnswerForm;

/// As much of a question as the audit log keeps.
const SQL_SHOWN: usize = 2_000;

pub(crate) async fn run(global: &Global, command: Query) -> Result<ExitCode, Failure> {
    if is_conversation(&command) {
        return House::with(global, async |house| shell::run(Asker::of(house, &command).await?, &command).await).await;
    }
    let sql = question(&command)?;
    let ask = House::with(global, async |house| {
        let asker = Asker::of(house, &command).await?;
        writing::must_be_readable(command.format, io::stdout().is_terminal())?;
        asker.note(&sql).await?;
        let session = asker.session(command.as_of.as_ref()).await?;
        let width = io::stdout().is_terminal().then(shell::terminal_width).flatten();
        writing::to_standard_output(&asker, &session, &sql, command.format, width).await?;
        Ok(ExitCode::SUCCESS)
    });
    serve::unless_interrupted(ask).await
}

/// Tells whether somebody sits there and asks one question after the other.
fn is_conversation(command: &Query) -> bool {
    command.sql.is_none() && io::stdin().is_terminal() && io::stdout().is_terminal()
}

fn question(command: &Query) -> Result<String, Failure> {
    match command.sql.as_deref() {
        Some(sql) if sql != "-" => Ok(sql.to_owned()),
        Some(_) | None => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).named("read", "standard input")?;
            Ok(text)
        }
    }
}

/// Who asks, within what, and why.
#[derive(Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) house: &'a Rooms,
    msp: Msp,
    pub(crate) grant: ReadGrant,
    reason: Option<String>,
}

impl<'a> Asker<'a> {
    /// Finds out who asks. Whoever sits at the house's own machine asks as the operator, and says why.
    async fn of(house: &'a Rooms, command: &Query) -> Result<Self, Failure> {
        if command.reason.is_none() && DemoFile::read(&house.config.data_dir)?.is_none() {
            let example = "granary query --reason 'ticket 4711: what was billed'";
            return Err(Usage(format!("a question to customers' data needs its reason, which they see: {example}")).into());
        }
        let (grant, msp) = match &command.as_user {
            Some(email) => {
                let grant = house.access.principal_of(email).await?.read_grant()?;
                let msp = house.tenants.get_msp(grant.msp).await?;
                (grant, msp)
            }
            None => {
                let msp = house.msp(command.msp.as_deref()).await?;
                (Rooms::grant(&msp), msp)
            }
        };
        Ok(Self { house, msp, grant, reason: command.reason.clone() })
    }

    /// Returns the code of the MSP that is asked about.
    pub(crate) fn msp_code(&self) -> &str {
        &self.msp.code
    }

    /// Writes down what is asked and why, for the MSP, and that it was, for its customers.
    pub(crate) async fn note(&self, sql: &str) -> Result<(), Failure> {
        let asked: String = sql.chars().filter(|letter| !letter.is_control() || letter.is_whitespace()).take(SQL_SHOWN).collect();
        let mut detail = json!({"sql": asked});
        let mut command = "granary query".to_owned();
        if let Some(reason) = &self.reason {
            detail["reason"] = json!(reason);
            command = format!("granary query: {reason}");
        }
        self.house.note(Some(&self.msp), None, "warehouse.query", &format!("msp:{}", self.msp.code), &detail).await?;
        self.house.note_grant(&self.grant, &command).await
    }

    /// Opens a session on the newest version of the lake, or as of what is wanted, which is then said.
    pub(crate) async fn session(&self, as_of: Option<&AsOf>) -> Result<Session, Failure> {
        let Some(wanted) = as_of else { return Ok(self.house.warehouse.session(&self.grant).await?) };
        let version = self.house.lake.find_version(self.grant.msp, wanted).await?;
        say!("as of {wanted}: version {version} of the lake");
        Ok(self.house.warehouse.session_at(&self.grant, version).await?)
    }
}
