//! What a connection may set: what drivers send at start and change nothing, how long a statement may take, which schemas are meant
//! without a name, and as of when is asked. Everything else is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fault::Fault;

/// As of when is asked.
pub(super) const AS_OF: &str = "granary.as_of";
/// Schemas that may be meant without a name, beside those that always are.
const SCHEMAS: [&str; 2] = ["warehouse", "lake"];

/// One setting: its name as Postgres writes it, its value at start, and what it may become.
struct Known {
    name: &'static str,
    start: &'static str,
    rule: Rule,
    /// Whether clients are told of its value at once.
    is_reported: bool,
}

enum Rule {
    /// Never set.
    Fixed,
    /// Any short text.
    Any,
    /// One of these, in any case; the first is what it then is.
    Only(&'static [&'static str]),
    /// Numbers that change nothing here.
    Number,
    /// A time, in milliseconds or with a unit.
    Time,
    /// How days are written: always ISO, in any order.
    DateStyle,
    Path,
}

const fn known(name: &'static str, start: &'static str, rule: Rule) -> Known {
    Known { name, start, rule, is_reported: false }
}

const fn reported(name: &'static str, start: &'static str, rule: Rule) -> Known {
    Known { name, start, rule, is_reported: true }
}

pub(super) const SERVER_VERSION: &str = "16.4";
const ON: &[&str] = &["on", "true", "yes", "1"];
const SWITCH: &[&str] = &["on", "off", "true", "false", "yes", "no", "1", "0"];
const ISOLATION: &[&str] = &["repeatable read", "read committed", "serializable", "read uncommitted"];
const UTC: &[&str] = &["UTC", "Etc/UTC", "Z", "GMT", "Etc/GMT", "0", "+00", "+00:00", "Zulu", "Universal"];

const ALL: &[Known] = &[
    known(AS_OF, "", Rule::Any),
    reported("application_name", "", Rule::Any),
    known("bytea_output", "hex", Rule::Only(&["hex"])),
    reported("client_encoding", "UTF8", Rule::Only(&["UTF8", "UTF-8", "UNICODE"])),
    known("client_min_messages", "notice", Rule::Any),
    reported("DateStyle", "ISO, MDY", Rule::DateStyle),
    known("default_transaction_isolation", "repeatable read", Rule::Only(ISOLATION)),
    reported("default_transaction_read_only", "on", Rule::Only(ON)),
    known("extra_float_digits", "1", Rule::Number),
    known("idle_in_transaction_session_timeout", "0", Rule::Time),
    known("idle_session_timeout", "0", Rule::Time),
    reported("in_hot_standby", "off", Rule::Fixed),
    reported("integer_datetimes", "on", Rule::Fixed),
    reported("IntervalStyle", "postgres", Rule::Only(&["postgres"])),
    reported("is_superuser", "off", Rule::Fixed),
    known("jit", "off", Rule::Only(SWITCH)),
    known("lc_collate", "C", Rule::Fixed),
    known("lc_ctype", "C", Rule::Fixed),
    known("lc_messages", "C", Rule::Any),
    known("lc_monetary", "C", Rule::Any),
    known("lc_numeric", "C", Rule::Any),
    known("lc_time", "C", Rule::Any),
    known("lock_timeout", "0", Rule::Time),
    known("max_identifier_length", "63", Rule::Fixed),
    known("max_index_keys", "32", Rule::Fixed),
    known("row_security", "on", Rule::Only(SWITCH)),
    known("search_path", "warehouse", Rule::Path),
    reported("server_encoding", "UTF8", Rule::Fixed),
    reported("server_version", SERVER_VERSION, Rule::Fixed),
    known("server_version_num", "160004", Rule::Fixed),
    reported("session_authorization", "", Rule::Fixed),
    reported("standard_conforming_strings", "on", Rule::Only(ON)),
    known("statement_timeout", "0", Rule::Time),
    known("synchronous_commit", "on", Rule::Any),
    reported("TimeZone", "UTC", Rule::Only(UTC)),
    known("transaction_isolation", "repeatable read", Rule::Only(ISOLATION)),
    known("transaction_read_only", "on", Rule::Only(ON)),
];

/// The settings of a connection.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// What was set, and what they are without.
    values: BTreeMap<&'static str, String>,
    start: BTreeMap<&'static str, String>,
}

impl Settings {
    /// Returns what a connection begins with.
    pub(super) fn new(user: &str) -> Self {
        let start = BTreeMap::from([("session_authorization", user.to_owned())]);
        Self { values: BTreeMap::new(), start }
    }

    /// Takes what a client wishes at start. What it may not have is not refused: drivers send their machine's time zone unasked.
    pub(super) fn begin(&mut self, parameters: &BTreeMap<String, String>) -> Result<(), Fault> {
        for (name, value) in parameters {
            if let Some(setting) = find(name) {
                let is_taken = self.set(name, value).is_ok();
                if is_taken && let Some(value) = self.values.remove(setting.name) {
                    self.start.insert(setting.name, value);
                }
            }
        }
        // Whoever writes options by hand wants to know that they are taken.
        for (name, value) in options(parameters.get("options").map_or("", String::as_str)) {
            self.set(&name, &value)?;
            if let Some(setting) = find(&name)
                && let Some(value) = self.values.remove(setting.name)
            {
                self.start.insert(setting.name, value);
            }
        }
        Ok(())
    }

    /// Returns a value, under the name as it is written and not only as it is meant.
    pub(super) fn get(&self, name: &str) -> Option<(&'static str, &str)> {
        let setting = find(name)?;
        Some((setting.name, self.value(setting)))
    }

    fn value<'a>(&'a self, setting: &'a Known) -> &'a str {
        self.values.get(setting.name).or_else(|| self.start.get(setting.name)).map_or(setting.start, String::as_str)
    }

    /// Lists names and values.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        ALL.iter().map(|setting| (setting.name, self.value(setting)))
    }

    /// Lists those that clients are told.
    pub(super) fn reported(&self) -> impl Iterator<Item = (&'static str, &str)> {
        ALL.iter().filter(|setting| setting.is_reported).map(|setting| (setting.name, self.value(setting)))
    }

    /// Sets a value, and returns what the client is to be told of it, if it is to be told.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<Option<(&'static str, String)>, Fault> {
        let setting = find(name).ok_or_else(|| refused(name))?;
        let value = setting.take(value)?;
        let told = setting.is_reported.then(|| (setting.name, value.clone()));
        self.values.insert(setting.name, value);
        Ok(told)
    }

    /// Sets a value back to what it was at start; all of them without a name.
    pub(super) fn reset(&mut self, name: Option<&str>) -> Result<Vec<(&'static str, String)>, Fault> {
        let gone: Vec<&'static Known> = match name {
            Some(name) => vec![find(name).ok_or_else(|| refused(name))?],
            None => ALL.iter().filter(|setting| self.values.contains_key(setting.name)).collect(),
        };
        for setting in &gone {
            self.values.remove(setting.name);
        }
        Ok(gone.iter().filter(|setting| setting.is_reported).map(|setting| (setting.name, self.value(setting).to_owned())).collect())
    }

    /// Returns how long a statement may take, if the client wants less than the house.
    pub(super) fn statement_timeout(&self) -> Option<Duration> {
        self.get("statement_timeout").and_then(|(_, value)| value.parse().ok()).filter(|millis| *millis > 0).map(Duration::from_millis)
    }

    /// Returns the schema of tables without one.
    pub(super) fn default_schema(&self) -> &'static str {
        let path = self.get("search_path").map_or("", |(_, value)| value);
        names(path).iter().find_map(|name| SCHEMAS.into_iter().find(|schema| schema == name)).unwrap_or(SCHEMAS[0])
    }
}

impl Known {
    fn take(&self, value: &str) -> Result<String, Fault> {
        let wrong = || Fault::new("22023", format!("invalid value for parameter \"{}\": \"{}\"", self.name, short(value)));
        match &self.rule {
            Rule::Fixed => Err(Fault::new("55P02", format!("parameter \"{}\" cannot be changed", self.name))),
            Rule::Any => Ok(short(value)),
            Rule::Number => value.trim().parse::<i32>().map(|number| number.to_string()).map_err(|_| wrong()),
            Rule::Time => millis(value).map(|millis| millis.to_string()).ok_or_else(wrong),
            Rule::DateStyle => {
                let is_iso = value.split(',').all(|part| ["iso", "mdy", "dmy", "ymd"].contains(&part.trim().to_lowercase().as_str()));
                if is_iso { Ok("ISO, MDY".to_owned()) } else { Err(wrong().hint("days are written as ISO 8601 here")) }
            }
            Rule::Path => {
                let known = |name: &String| {
                    SCHEMAS.contains(&name.as_str()) || ["pg_catalog", "information_schema", "public", "$user"].contains(&name.as_str())
                };
                let wanted = names(value);
                if wanted.iter().all(known) {
                    Ok(wanted.join(", "))
                } else {
                    Err(wrong().hint("the schemas are warehouse (models) and lake (raw rows)"))
                }
            }
            Rule::Only(allowed) => match allowed.iter().find(|allowed| allowed.eq_ignore_ascii_case(value.trim())) {
                Some(_) if self.name == "TimeZone" => Ok("UTC".to_owned()),
                Some(_) if self.name == "client_encoding" => Ok("UTF8".to_owned()),
                Some(taken) => Ok((*taken).to_owned()),
                None if self.name == "TimeZone" => {
                    Err(wrong().hint("instants are shown in UTC; day_in_zone(instant, 'Europe/Berlin') tells the day somewhere else"))
                }
                None => Err(wrong().hint(format!("it can be {}", allowed.join(", ")))),
            },
        }
    }
}

fn find(name: &str) -> Option<&'static Known> {
    ALL.iter().find(|setting| setting.name.eq_ignore_ascii_case(name))
}

fn refused(name: &str) -> Fault {
    let name = short(name);
    match name.to_ascii_lowercase().as_str() {
        "role" | "session_authorization" | "session_replication_role" => {
            Fault::new("42501", format!("permission denied to set parameter \"{name}\""))
        }
        _ => Fault::new("42704", format!("unrecognized configuration parameter \"{name}\"")).hint("show all lists what can be set"),
    }
}

fn short(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(100).collect()
}

fn names(path: &str) -> Vec<String> {
    path.split(',').map(|name| name.trim().trim_matches(['"', '\'']).to_lowercase()).filter(|name| !name.is_empty()).collect()
}

fn millis(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text.get(..digits)?.parse().ok()?;
    let factor = match text.get(digits..)?.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor).filter(|millis| i32::try_from(*millis).is_ok())
}

/// Reads `-c name=value` and `--name=value`, as servers do.
fn options(text: &str) -> Vec<(String, String)> {
    let (mut words, mut word, mut letters) = (Vec::new(), String::new(), text.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => word.extend(letters.next()),
            ' ' => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    let pair = |word: &str| {
        let word = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")).unwrap_or(word);
        word.split_once('=').map(|(name, value)| (name.trim().replace('-', "_"), value.to_owned()))
    };
    words.iter().filter_map(|word| pair(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drivers_send_is_taken_and_nothing_else() {
        let mut settings = Settings::new("grn_live_x");
        for (name, value) in [
            ("client_encoding", "'utf-8'"),
            ("extra_float_digits", "3"),
            ("DATESTYLE", "ISO"),
            ("timezone", "etc/utc"),
            ("search_path", "\"$user\", public, Lake"),
            ("statement_timeout", "30s"),
            ("granary.as_of", "2025-10"),
        ] {
            settings.set(name, value.trim_matches('\'')).unwrap();
        }
        assert_eq!(settings.get("TIMEZONE"), Some(("TimeZone", "UTC")));
        assert_eq!((settings.default_schema(), settings.statement_timeout()), ("lake", Some(Duration::from_secs(30))));
        for (name, value, code) in [
            ("timezone", "Europe/Berlin", "22023"),
            ("datestyle", "German", "22023"),
            ("search_path", "secret", "22023"),
            ("default_transaction_read_only", "off", "22023"),
            ("standard_conforming_strings", "off", "22023"),
            ("role", "postgres", "42501"),
            ("session_authorization", "postgres", "55P02"),
            ("datafusion.execution.batch_size", "1", "42704"),
            ("statement_timeout", "-1", "22023"),
        ] {
            assert_eq!(settings.set(name, value).unwrap_err().code, code, "{name}");
        }
        settings.reset(None).unwrap();
        assert_eq!(settings.get(AS_OF), Some((AS_OF, "")));
    }

    #[test]
    fn a_wish_at_start_is_what_a_reset_comes_back_to() {
        let mut settings = Settings::new("grn_live_x");
        let wishes = [
            ("TimeZone", "Europe/Berlin"),
            ("application_name", "psql"),
            ("options", "-c granary.as_of=2025-10 -c statement_timeout=5\\ s"),
        ];
        settings.begin(&wishes.map(|(name, value)| (name.to_owned(), value.to_owned())).into()).unwrap();
        settings.set(AS_OF, "2025-09").unwrap();
        settings.reset(Some(AS_OF)).unwrap();
        assert_eq!(settings.get(AS_OF), Some((AS_OF, "2025-10")));
        assert_eq!(settings.get("timezone"), Some(("TimeZone", "UTC")));
        assert_eq!(settings.statement_timeout(), Some(Duration::from_secs(5)));
        let odd = BTreeMap::from([("options".to_owned(), "-c role=postgres".to_owned())]);
        assert_eq!(settings.begin(&odd).unwrap_err().code, "42501");
    }
}
