//! An answer on its way out: rows are written as they are found, whatever their number.

use std::io::{self, BufWriter, Write};

use futures::TryStreamExt;
use granary_warehouse::{AnswerFormat, RowStream, Session};

use super::Asker;
use super::table;
use crate::cli::{Failure, Usage};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum AnswerForm {
    /// Aligned columns
    Table,
    /// One JSON array of objects; decimals as text
    Json,
    /// Comma-separated values with a header
    Csv,
    /// Arrow's stream of batches, for a file or a pipe
    Arrow,
    /// Parquet, for a file or a pipe
    Parquet,
}

impl AnswerForm {
    /// Tells whether people cannot read it.
    pub(crate) const fn is_binary(self) -> bool {
        match self {
            Self::Table | Self::Json | Self::Csv => false,
            Self::Arrow | Self::Parquet => true,
        }
    }
}

/// Refuses to fill a screen with bytes.
pub(super) fn must_be_readable(form: AnswerForm, is_terminal: bool) -> Result<(), Failure> {
    if form.is_binary() && is_terminal {
        let example = "granary query --format parquet 'select …' > answer.parquet";
        return Err(Usage(format!("this format is for a file or a pipe, not for a screen: {example}")).into());
    }
    Ok(())
}

/// Answers a question on standard output.
pub(super) async fn to_standard_output(
    asker: &Asker<'_>,
    session: &Session,
    sql: &str,
    form: AnswerForm,
    width: Option<usize>,
) -> Result<(), Failure> {
    asker.answer(session, sql, form, &mut BufWriter::new(io::stdout()), width).await
}

impl Asker<'_> {
    /// Answers a question into a file, a pipe or a screen of some width; a reader that has gone away is not an error.
    pub(crate) async fn answer(
        &self,
        session: &Session,
        sql: &str,
        form: AnswerForm,
        out: &mut (impl Write + Send),
        width: Option<usize>,
    ) -> Result<(), Failure> {
        let written = match form {
            AnswerForm::Table => {
                let question = session.question(sql).await?;
                let answer = self.house.warehouse.rows(self.grant.msp, session, question).await?;
                table::write(answer, out, width).await
            }
            AnswerForm::Json => self.encoded(session, sql, AnswerFormat::Json, out).await,
            AnswerForm::Csv => self.encoded(session, sql, AnswerFormat::Csv, out).await,
            AnswerForm::Arrow => self.encoded(session, sql, AnswerFormat::ArrowStream, out).await,
            AnswerForm::Parquet => self.encoded(session, sql, AnswerFormat::Parquet, out).await,
        };
        match written {
            Err(error) if is_gone(error.as_ref()) => Ok(()),
            other => other,
        }
    }

    /// Writes rows that are known without a question.
    pub(crate) async fn show(&self, rows: RowStream, out: &mut (impl Write + Send), width: Option<usize>) -> Result<(), Failure> {
        table::write(rows, out, width).await
    }

    async fn encoded(&self, session: &Session, sql: &str, format: AnswerFormat, out: &mut (impl Write + Send)) -> Result<(), Failure> {
        let mut pieces = self.house.warehouse.answer(self.grant.msp, session, sql, format).await?;
        while let Some(piece) = pieces.try_next().await? {
            out.write_all(&piece)?;
        }
        if format == AnswerFormat::Json {
            writeln!(out)?;
        }
        Ok(out.flush()?)
    }
}

fn is_gone(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_for_files_and_pipes() {
        for form in [AnswerForm::Arrow, AnswerForm::Parquet] {
            assert!(must_be_readable(form, false).is_ok());
            assert!(must_be_readable(form, true).unwrap_err().to_string().contains("> answer.parquet"));
        }
        assert!(must_be_readable(AnswerForm::Csv, true).is_ok());
    }
}
