//! A mail as it travels: headers (RFC 5322, words that are not ASCII by RFC 2047) and two parts (RFC 2046), all in base64, so that
//! nothing that somebody wrote can end a line.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use crate::delivery::Recipient;
use crate::notice::Words;

/// Bytes of text that one encoded word holds: 39 make 52 characters, and a line stays below 76.
const WORD_BYTES: usize = 39;
/// Characters of base64 that a line holds.
const LINE_CHARS: usize = 76;

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sender {
    name: Option<String>,
    pub(crate) address: String,
}

impl Sender {
    /// Reads `Name <address>` or an address alone.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (name, address) = match text.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
            Some((name, address)) => (Some(name.trim().trim_matches('"').to_owned()).filter(|name| !name.is_empty()), address),
            None => (None, text),
        };
        is_address(address).then(|| Self { name, address: address.to_owned() })
    }

    pub(crate) fn domain(&self) -> &str {
        self.address.rsplit('@').next().unwrap_or("localhost")
    }
}

/// Tells whether a text is an address that can stand between angle brackets: letters and digits of ASCII and a few signs. What only
/// servers with SMTPUTF8 understand is none.
pub(crate) fn is_address(text: &str) -> bool {
    let Some((name, domain)) = text.rsplit_once('@') else { return false };
    let is_atom = |text: &str, signs: &str| {
        !text.is_empty()
            && !text.starts_with('.')
            && !text.ends_with('.')
            && !text.contains("..")
            && text.chars().all(|letter| letter.is_ascii_alphanumeric() || signs.contains(letter))
    };
    text.len() <= 254 && is_atom(name, ".!#$%&'*+/=?^_`{|}~-") && is_atom(domain, ".-")
}

/// Writes a message.
pub(crate) fn write(id: Uuid, from: &Sender, to: &Recipient, words: &Words) -> String {
    let boundary = format!("=_{}", id.simple());
    let mut out = String::new();
    let mut header = |name: &str, value: &str| {
        let _ = write!(out, "{name}: {value}\r\n");
    };
    header("Message-ID", &format!("<{id}@{}>", from.domain()));
    header("From", &mailbox(from.name.as_deref(), &from.address));
    header("To", &mailbox(Some(&to.name), &to.email));
    header("Subject", &encoded(&words.subject));
    header("Date", &date(id));
    // No answers from holiday notices, please.
    header("Auto-Submitted", "auto-generated");
    header("MIME-Version", "1.0");
    header("Content-Type", &format!("multipart/alternative;\r\n boundary=\"{boundary}\""));
    for (kind, text) in [("plain", &words.text), ("html", &words.html)] {
        let _ = write!(out, "\r\n--{boundary}\r\nContent-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n");
        let text = STANDARD.encode(text.replace("\r\n", "\n").replace('\n', "\r\n"));
        for line in text.as_bytes().chunks(LINE_CHARS) {
            out.push_str(std::str::from_utf8(line).unwrap_or_default());
            out.push_str("\r\n");
        }
    }
    let _ = write!(out, "--{boundary}--\r\n");
    out
}

/// Doubles a dot at the beginning of a line, which alone would end the message, and leaves the last line to the caller.
pub(crate) fn stuffed(message: &str) -> String {
    let message = message.strip_suffix("\r\n").unwrap_or(message);
    let dot = if message.starts_with('.') { "." } else { "" };
    format!("{dot}{}", message.replace("\r\n.", "\r\n.."))
}

fn mailbox(name: Option<&str>, address: &str) -> String {
    name.map_or_else(|| address.to_owned(), |name| format!("{}\r\n <{address}>", encoded(name)))
}

/// Writes words in a header: plain ones as they are, all others encoded, a few letters a line.
fn encoded(text: &str) -> String {
    let is_plain = text.len() <= 60 && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == ' ');
    if is_plain {
        return text.to_owned();
    }
    let mut words: Vec<String> = vec![String::new()];
    for letter in text.chars() {
        match words.last_mut() {
            Some(word) if word.len() + letter.len_utf8() <= WORD_BYTES => word.push(letter),
            _ => words.push(letter.to_string()),
        }
    }
    words.iter().map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word))).collect::<Vec<_>>().join("\r\n ")
}

/// When the mail was made: its id knows, so that a second try says the same.
fn date(id: Uuid) -> String {
    let (seconds, _) = id.get_timestamp().map_or((0, 0), |at| at.to_unix());
    let at = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(0)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_a_stable_id_and_no_room_for_other_headers() {
        let from = Sender::parse("North <mail@north.example>").unwrap();
        let name = "Zoë \r\nBcc: all@acme.example".to_owned();
        let to = Recipient { name, ..Recipient::test() };
        let subject = format!("Grüße\r\nBcc: all@acme.example {}", "ä".repeat(80));
        let words = Words { subject, text: "one\n.\ntwo".to_owned(), html: "<p>é".to_owned() };
        let id: Uuid = "019a5c1e-7f00-7000-8000-000000000001".parse().unwrap();
        let text = write(id, &from, &to, &words);
        assert!(
            text.starts_with(
                "Message-ID: <019a5c1e-7f00-7000-8000-000000000001@north.example>\r\nFrom: North\r\n <mail@north.example>\r\n"
            )
        );
        assert!(text.contains("\r\nAuto-Submitted: auto-generated\r\n") && text.contains("multipart/alternative"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 78 && !line.starts_with("Bcc") && line.is_ascii()), "{text}");
        assert_eq!(text, write(id, &from, &to, &words), "word for word");
        assert!(text.contains(&STANDARD.encode("one\r\n.\r\ntwo")));
    }

    #[test]
    fn a_dot_ends_nothing() {
        assert_eq!(stuffed(".a\r\n.\r\nb.\r\n"), "..a\r\n..\r\nb.");
    }

    #[test]
    fn an_address_cannot_carry_a_command() {
        for good in ["ada@north.example", "a+b.c@localhost", "x'y@a-b.example"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "ada", "@north", "ada@", "a b@c", "a@b>\r\nRCPT TO:<x@y", "a@b.", ".a@b", "a..b@c", "ä@b", "a\"@b", "a@b@c\n"] {
            assert!(!is_address(bad), "{bad}");
        }
        assert_eq!(Sender::parse("ada@north.example").unwrap().name, None);
        assert_eq!(Sender::parse("\"North, Inc.\" <m@n.example>").unwrap().name.as_deref(), Some("North, Inc."));
        assert_eq!(Sender::parse("North <no address>"), None);
    }
}
