//! The line editor, on a thread of its own: whoever waits for a key must not keep the rest waiting.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc as blocking;
use std::time::Duration;

use rustyline::config::CompletionType;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, DefaultEditor};
use tokio::sync::mpsc;

use super::completion::Words;
use crate::cli::Failure;
use crate::cli::files::Named;

/// How long an ending shell waits for its history to be written.
const WRITING: Duration = Duration::from_secs(2);
/// So many questions are remembered.
const REMEMBERED: usize = 1_000;
/// What a text with a key or a token in it holds somewhere.
const SECRETS: [&str; 3] = ["grn_", "eyJ", "Bearer "];

type LineEditor = rustyline::Editor<Words, FileHistory>;

/// What came of asking for a line.
#[derive(Debug)]
pub(super) enum Heard {
    Line {
        text: String,
        width: Option<usize>,
    },
    /// Ctrl-C: what has begun is not meant.
    Interrupted,
    /// Ctrl-D, or nobody there any more.
    Ended,
}

#[derive(Debug)]
enum Order {
    Ask(&'static str),
    Remember(String),
}

/// Whoever asks for lines; dropped, the thread ends with the line that it waits for.
#[derive(Debug)]
pub(super) struct Editor {
    orders: blocking::Sender<Order>,
    heard: mpsc::Receiver<Heard>,
}

/// Returns how many letters the screen is wide.
pub(crate) fn terminal_width() -> Option<usize> {
    width_of(&mut DefaultEditor::new().ok()?)
}

fn width_of<H: rustyline::Helper, I: rustyline::history::History>(editor: &mut rustyline::Editor<H, I>) -> Option<usize> {
    editor.dimensions().map(|(columns, _)| usize::from(columns)).filter(|columns| *columns > 0)
}

impl Editor {
    /// Starts the thread, with what was asked before.
    pub(super) fn start(history: PathBuf, words: Words) -> Result<Self, Failure> {
        make_private(&history)?;
        let config = Config::builder().max_history_size(REMEMBERED)?.completion_type(CompletionType::List).build();
        let mut editor = LineEditor::with_config(config)?;
        editor.set_helper(Some(words));
        if let Err(error) = editor.load_history(&history) {
            tracing::debug!(%error, "nothing is remembered");
        }
        let (orders, taken) = blocking::channel();
        let (tell, heard) = mpsc::channel(1);
        std::thread::Builder::new().name("lines".to_owned()).spawn(move || serve(editor, &history, &taken, &tell))?;
        Ok(Self { orders, heard })
    }

    /// Asks for a line.
    pub(super) async fn ask(&mut self, prompt: &'static str) -> Heard {
        match self.orders.send(Order::Ask(prompt)) {
            Ok(()) => self.heard.recv().await.unwrap_or(Heard::Ended),
            Err(_) => Heard::Ended,
        }
    }

    /// Remembers what was asked, for the next time as well.
    pub(super) fn remember(&self, text: String) {
        // A thread that has ended remembers nothing.
        let _ = self.orders.send(Order::Remember(text));
    }

    /// Waits until what is to be remembered is written; not for long, since nobody may press a key any more.
    pub(super) async fn end(self) {
        let Self { orders, mut heard } = self;
        drop(orders);
        let written = async { while heard.recv().await.is_some() {} };
        if tokio::time::timeout(WRITING, written).await.is_err() {
            tracing::debug!("what was asked last may not be remembered");
        }
    }
}

fn serve(mut editor: LineEditor, history: &Path, orders: &blocking::Receiver<Order>, tell: &mpsc::Sender<Heard>) {
    while let Ok(order) = orders.recv() {
        let heard = match order {
            Order::Remember(text) => {
                if may_be_kept(&text)
                    && let Err(error) = editor.add_history_entry(text).and_then(|_| editor.append_history(history))
                {
                    tracing::debug!(%error, "a question was not remembered");
                }
                continue;
            }
            Order::Ask(prompt) => match editor.readline(prompt) {
                Ok(text) => Heard::Line { width: width_of(&mut editor), text },
                Err(ReadlineError::Interrupted | ReadlineError::Signal(_)) => Heard::Interrupted,
                Err(_) => Heard::Ended,
            },
        };
        if tell.blocking_send(heard).is_err() {
            return;
        }
    }
}

/// Nothing is kept that looks like a secret, or that begins with a space, by which one says so.
fn may_be_kept(text: &str) -> bool {
    !text.starts_with(' ') && !SECRETS.iter().any(|secret| text.contains(secret))
}

/// Makes a file that nobody else reads, or takes an older one from them.
fn make_private(path: &Path) -> Result<(), Failure> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path).named("write", path)?;
    Ok(file.set_permissions(Permissions::from_mode(0o600)).named("write", path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_is_remembered_without_secrets_and_for_oneself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("query.history");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        make_private(&path).unwrap();
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        let mut editor = LineEditor::new().unwrap();
        let (orders, taken) = blocking::channel();
        let (tell, _heard) = mpsc::channel(1);
        for text in ["select 1;", " select 2;", "select 'grn_live_0123';", "select 'eyJhbGciOiJFZERTQSJ9';", "select\n3;"] {
            orders.send(Order::Remember(text.to_owned())).unwrap();
        }
        drop(orders);
        editor.set_helper(None);
        serve(editor, &path, &taken, &tell);
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(kept.contains("select 1;") && kept.contains('3'), "{kept}");
        assert!(!kept.contains("grn_live") && !kept.contains("eyJ") && !kept.contains("select 2"), "{kept}");
        assert_eq!(mode(), 0o600);
    }
}
