//! A mail as it travels, written by `lettre`: encoded so that nothing that somebody wrote can end a line.

use std::time::{Duration, SystemTime};

use lettre::address::AddressError;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};
use uuid::Uuid;

use crate::delivery::Recipient;
use crate::notice::Words;

/// Why a mail cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unwritable {
    #[error("the recipient's address is no mail address: {0}")]
    Address(#[from] AddressError),
    /// What only servers with SMTPUTF8 understand.
    #[error("the recipient's address has letters that mail servers do not know")]
    Letters,
    #[error(transparent)]
    Message(#[from] lettre::error::Error),
}

/// Reads who writes: `Name <address>`, or an address alone.
pub(crate) fn sender(text: &str) -> Option<Mailbox> {
    let mailbox: Mailbox = text.parse().ok()?;
    let address: &str = mailbox.email.as_ref();
    address.is_ascii().then_some(mailbox)
}

/// Writes a message: word for word the same for the same id and words.
pub(crate) fn write(id: Uuid, from: &Mailbox, to: &Recipient, words: &Words) -> Result<Message, Unwritable> {
    if !to.email.is_ascii() {
        return Err(Unwritable::Letters);
    }
    // lettre panics when it writes a name with a control character.
    let name: String = to.name.chars().filter(|letter| !letter.is_control()).collect();
    let to = Mailbox::new(Some(name).filter(|name| !name.is_empty()), to.email.parse::<Address>()?);
    let parts = MultiPart::alternative()
        .boundary(format!("=_{}", id.simple()))
        .singlepart(SinglePart::plain(words.text.clone()))
        .singlepart(SinglePart::html(words.html.clone()));
    // No answers from holiday notices, please.
    let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    let message = Message::builder()
        .message_id(Some(format!("<{id}@{}>", from.email.domain())))
        .date(made_at(id))
        .from(from.clone())
        .to(to)
        .subject(words.subject.as_str())
        .raw_header(automatic)
        .multipart(parts)?;
    Ok(message)
}

/// When the mail was made: its id knows, so that a second try says the same.
fn made_at(id: Uuid) -> SystemTime {
    let (seconds, _) = id.get_timestamp().map_or((0, 0), |at| at.to_unix());
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(0x019a_5c1e_7f00_7000_8000_0000_0000_0001);

    fn words(subject: &str) -> Words {
        Words { subject: subject.to_owned(), text: "one\n.\ntwo".to_owned(), html: "<p>é".to_owned() }
    }

    fn written(to: &Recipient, words: &Words) -> Result<String, Unwritable> {
        let from = sender("North <mail@north.example>").unwrap();
        write(ID, &from, to, words).map(|message| String::from_utf8(message.formatted()).unwrap())
    }

    #[test]
    fn a_message_has_a_stable_id_and_no_room_for_other_headers() {
        let to = Recipient { name: "Zoë \r\nBcc: all@acme.example".to_owned(), ..Recipient::test() };
        let words = words(&format!("Grüße\r\nBcc: all@acme.example {}", "ä".repeat(80)));
        let text = written(&to, &words).unwrap();
        for header in [
            "Message-ID: <019a5c1e-7f00-7000-8000-000000000001@north.example>\r\n",
            "From: North <mail@north.example>\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Date: Fri, 07 Nov 2025",
            "MIME-Version: 1.0\r\n",
            "Content-Type: multipart/alternative;",
        ] {
            assert!(text.contains(header), "{header}: {text}");
        }
        assert!(text.lines().all(|line| line.len() <= 78 && !line.starts_with("Bcc") && line.is_ascii()), "{text}");
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "{text}");
        assert_eq!(text, written(&to, &words).unwrap(), "word for word");
    }

    #[test]
    fn an_address_cannot_carry_a_command() {
        let try_address = |email: &str| written(&Recipient { email: email.to_owned(), ..Recipient::test() }, &words("Hello"));
        for good in ["ada@north.example", "a+b.c@localhost", "x'y@a-b.example"] {
            assert!(try_address(good).is_ok(), "{good}");
        }
        for bad in ["", "ada", "@north", "ada@", "a b@c", "a@b>\r\nRCPT TO:<x@y", "a@b.", ".a@b", "a..b@c", "ä@b", "a\"@b", "a@b@c\n"] {
            assert!(try_address(bad).is_err(), "{bad}");
        }
        assert_eq!(sender("ada@north.example").unwrap().name, None);
        assert_eq!(sender("\"North, Inc.\" <m@n.example>").unwrap().name.as_deref(), Some("North, Inc."));
        assert_eq!(sender("Nørth Inc. <m@n.example>").unwrap().name.as_deref(), Some("Nørth Inc."));
        assert_eq!(sender("North <no address>"), None);
    }
}
