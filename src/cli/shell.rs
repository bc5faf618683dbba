//! The shell of `granary query`: one question after the other, each ended by a semicolon, and commands that begin with a backslash.

mod commands;
mod completion;
mod editor;
mod lines;
mod listing;

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use futures::FutureExt;
use granary_warehouse::{AsOf, Session};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::arguments::Query;
use super::files::Named;
use super::query::{AnswerForm, Asker};
use super::serve::Interrupted;
use super::{Failure, Usage, report};
use commands::Command;
use editor::{Editor, Heard};
use lines::{Input, Lines};

/// The file in the data directory that remembers what was asked.
const HISTORY: &str = "query.history";

pub(crate) use editor::terminal_width;

/// Asks what is typed until somebody leaves.
pub(crate) async fn run(asker: Asker<'_>, command: &Query) -> Result<ExitCode, Failure> {
    let session = asker.session(command.as_of.as_ref()).await?;
    let words = completion::words(&session.shown().await?);
    let mut editor = Editor::start(asker.house.config.data_dir.join(HISTORY), words)?;
    say!("MSP {}, version {} of the lake; a question ends with ; and \\? helps", asker.msp_code(), session.version());
    let (as_of, form) = (command.as_of.clone(), command.format);
    let mut shell = Shell { asker, session, as_of, form, is_timed: false, output: None, width: None };
    let (mut interrupts, mut ends) = (signal(SignalKind::interrupt())?, Ends::listen()?);
    let mut lines = Lines::default();
    loop {
        let heard = tokio::select! {
            heard = editor.ask(if lines.is_empty() { "granary=> " } else { "granary-> " }) => heard,
            () = ends.come() => return Err(Interrupted.into()),
        };
        match heard {
            Heard::Line { text, width } => {
                shell.width = width;
                for input in lines.push(&text) {
                    editor.remember(input.text());
                    // What was pressed for the one before does not count for this one.
                    while interrupts.recv().now_or_never().is_some() {}
                    let goes_on = tokio::select! {
                        goes_on = shell.take(input) => goes_on,
                        _ = interrupts.recv() => {
                            say!("the question was let go");
                            true
                        }
                        () = ends.come() => return Err(Interrupted.into()),
                    };
                    if !goes_on {
                        editor.end().await;
                        return Ok(ExitCode::SUCCESS);
                    }
                }
            }
            Heard::Interrupted => lines.clear(),
            Heard::Ended => {
                editor.end().await;
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// A polite end from outside, or a terminal that is gone.
struct Ends {
    terminate: Signal,
    hang_up: Signal,
}

impl Ends {
    fn listen() -> Result<Self, Failure> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, hang_up: signal(SignalKind::hangup())? })
    }

    async fn come(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// What the next question is asked with.
struct Shell<'a> {
    asker: Asker<'a>,
    session: Session,
    as_of: Option<AsOf>,
    form: AnswerForm,
    is_timed: bool,
    output: Option<PathBuf>,
    width: Option<usize>,
}

impl Shell<'_> {
    /// Does what was typed, says what went wrong, and tells whether the conversation goes on.
    async fn take(&mut self, input: Input) -> bool {
        let outcome = match input {
            Input::Question(sql) => self.answer(&sql).await.map(|()| true),
            Input::Command(text) => match text.parse::<Command>() {
                Ok(command) => self.obey(command).await,
                Err(error) => Err(Failure::from(error)),
            },
        };
        outcome.unwrap_or_else(|failure| {
            report(failure.as_ref());
            true
        })
    }

    async fn answer(&mut self, sql: &str) -> Result<(), Failure> {
        if self.form.is_binary() && self.output.is_none() {
            return Err(Usage("this format is for a file, not for a screen: name one with \\o FILE".to_owned()).into());
        }
        let begun = Instant::now();
        self.asker.note(sql).await?;
        if self.as_of.is_none() {
            // The night may have come meanwhile.
            self.session = self.asker.session(None).await?;
        }
        match &self.output {
            None => self.asker.answer(&self.session, sql, self.form, &mut BufWriter::new(io::stdout()), self.width).await?,
            Some(path) => {
                let file = open(path, self.form.is_binary()).named("write", path)?;
                self.asker.answer(&self.session, sql, self.form, &mut BufWriter::new(file), None).await?
            }
        };
        if self.is_timed {
            say!("{} ms", begun.elapsed().as_millis());
        }
        Ok(())
    }

    async fn obey(&mut self, command: Command) -> Result<bool, Failure> {
        match command {
            Command::Quit => return Ok(false),
            Command::Help => say!("{}", commands::HELP),
            Command::Describe(None) => self.show(listing::tables(&self.session, self.models()).await?).await?,
            Command::Describe(Some(name)) => {
                let table = listing::table(&self.session, self.models(), &name).await?;
                say!("{}", table.said);
                self.show(table.columns).await?;
            }
            Command::AsOf(wanted) => {
                self.session = self.asker.session(wanted.as_ref()).await?;
                self.as_of = wanted;
            }
            Command::Format(form) => self.form = form,
            Command::Timing(wanted) => {
                self.is_timed = wanted.unwrap_or(!self.is_timed);
                say!("times are {}", if self.is_timed { "shown" } else { "not shown" });
            }
            Command::Output(path) => {
                if let Some(path) = &path {
                    open(path, true).named("write", path)?;
                }
                self.output = path;
            }
        }
        Ok(true)
    }

    fn models(&self) -> &granary_warehouse::Models {
        self.asker.house.warehouse.models()
    }

    async fn show(&self, rows: granary_warehouse::RowStream) -> Result<(), Failure> {
        self.asker.show(rows, &mut io::stdout(), self.width).await
    }
}

/// Opens a file for answers, one after the other, or for one that stands alone.
fn open(path: &Path, is_alone: bool) -> io::Result<File> {
    if is_alone { File::create(path) } else { OpenOptions::new().append(true).create(true).open(path) }
}
