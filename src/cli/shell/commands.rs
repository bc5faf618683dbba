//! The commands of the shell.

use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use granary_warehouse::AsOf;

use crate::cli::Usage;
use crate::cli::query::AnswerForm;

pub(super) const HELP: &str = "\
a question ends with a semicolon and may take several lines; Ctrl-C lets go of it, Tab completes, the arrows find earlier ones
\\d                 the tables that you see
\\d TABLE           a table's columns, and what they mean
\\as_of 2025-10     the lake as that month was closed on; also an instant, v12 or a name; alone, the newest
\\format csv        how answers are written: table, json, csv, arrow, parquet
\\o FILE            answers go to a file; alone, to the screen again
\\timing            how long answers take, or no longer
\\q                 leave";

/// What is not a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    Quit,
    /// One table, or all.
    Describe(Option<String>),
    /// A version of the lake, or the newest.
    AsOf(Option<AsOf>),
    Format(AnswerForm),
    Timing(Option<bool>),
    /// A file, or the screen.
    Output(Option<PathBuf>),
}

impl FromStr for Command {
    type Err = Usage;

    fn from_str(text: &str) -> Result<Self, Usage> {
        let text = text.trim().trim_end_matches(';').trim_end();
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let argument = Some(rest.trim()).filter(|rest| !rest.is_empty());
        Ok(match (name, argument) {
            ("\\?" | "\\h" | "\\help", None) => Self::Help,
            ("\\q" | "\\quit", None) => Self::Quit,
            ("\\d" | "\\dt" | "\\dv" | "\\d+", name) => Self::Describe(name.map(str::to_owned)),
            ("\\as_of", None | Some("now")) => Self::AsOf(None),
            ("\\as_of", Some(wanted)) => {
                let Ok(wanted) = wanted.parse::<AsOf>();
                Self::AsOf(Some(wanted))
            }
            ("\\format", Some(form)) => Self::Format(
                AnswerForm::from_str(form, true)
                    .map_err(|_| Usage(format!("there is no format '{form}'; there are table, json, csv, arrow and parquet")))?,
            ),
            ("\\timing", None) => Self::Timing(None),
            ("\\timing", Some("on")) => Self::Timing(Some(true)),
            ("\\timing", Some("off")) => Self::Timing(Some(false)),
            ("\\o", path) => Self::Output(path.map(PathBuf::from)),
            _ => return Err(Usage(format!("there is no command '{text}'; \\? lists those that there are"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_and_others_are_named() {
        let read = |text: &str| text.parse::<Command>().unwrap();
        assert_eq!(read("\\d"), Command::Describe(None));
        assert_eq!(read(" \\d  lake.backup_runs ;"), Command::Describe(Some("lake.backup_runs".to_owned())));
        assert_eq!(read("\\as_of 2025-10"), Command::AsOf(Some(AsOf::Label("2025-10".to_owned()))));
        assert_eq!(read("\\as_of v12"), Command::AsOf(Some(AsOf::Version(12))));
        assert_eq!((read("\\as_of"), read("\\as_of now")), (Command::AsOf(None), Command::AsOf(None)));
        assert_eq!(read("\\format CSV"), Command::Format(AnswerForm::Csv));
        assert_eq!((read("\\timing"), read("\\timing off")), (Command::Timing(None), Command::Timing(Some(false))));
        assert_eq!(read("\\o my answer.csv"), Command::Output(Some("my answer.csv".into())));
        assert_eq!((read("\\o"), read("\\q"), read("\\?")), (Command::Output(None), Command::Quit, Command::Help));
        for wrong in ["\\x", "\\format", "\\format pdf", "\\timing perhaps", "\\q now", "\\copy t to x"] {
            assert!(wrong.parse::<Command>().is_err(), "{wrong}");
        }
    }
}
