//! Texts that have rules, parsed where they are typed.

use granary_types::{JobId, LONGEST_REASON, LONGEST_TEXT, is_printable};

/// A name: one line, without spaces around it.
pub(crate) fn name(text: &str) -> Result<String, String> {
    line(text, LONGEST_TEXT)
}

/// A reason for the audit log: one line.
pub(crate) fn reason(text: &str) -> Result<String, String> {
    line(text, LONGEST_REASON)
}

/// The id of a job.
pub(crate) fn job(text: &str) -> Result<JobId, String> {
    text.parse().map_err(|_| "not the id of a job, which has 36 characters; granary jobs list shows them".to_owned())
}

fn line(text: &str, longest: usize) -> Result<String, String> {
    let text = text.trim();
    let count = text.chars().count();
    match count {
        _ if is_printable(text, longest) => Ok(text.to_owned()),
        0 => Err("it must not be blank".to_owned()),
        _ if count > longest => Err(format!("it has {count} characters; at most {longest} are taken")),
        _ => Err("it must be one line of characters that can be seen".to_owned()),
    }
}
