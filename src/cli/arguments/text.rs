//! Texts that have rules, parsed where they are typed.

use granary_types::JobId;

/// The longest name.
const NAME_CHARS: usize = 200;
/// The longest reason.
const REASON_CHARS: usize = 1_000;

/// A name: not blank, without spaces around it.
pub(crate) fn name(text: &str) -> Result<String, String> {
    filled(text, NAME_CHARS)
}

/// A reason for the audit log: not blank.
pub(crate) fn reason(text: &str) -> Result<String, String> {
    filled(text, REASON_CHARS)
}

/// The id of a job.
pub(crate) fn job(text: &str) -> Result<JobId, String> {
    text.parse().map_err(|_| "not the id of a job, which has 36 characters; granary jobs list shows them".to_owned())
}

fn filled(text: &str, longest: usize) -> Result<String, String> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err("it must not be blank".to_owned()),
        count if count > longest => Err(format!("it has {count} characters; at most {longest} are taken")),
        _ => Ok(text.to_owned()),
    }
}
