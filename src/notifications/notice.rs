//! What a mail says.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{DOCTYPE, html};

/// An address that lets a person do something once.
#[derive(Debug, Clone)]
pub struct Link {
    /// Whole, with the secret in it.
    pub url: String,
    pub expires_at: Timestamp,
}

/// What somebody is told. `house` is who speaks: the MSP's name, or Granary's.
#[derive(Debug, Clone)]
pub enum Notice {
    /// Somebody was given a login and chooses a password.
    Invitation {
        house: String,
        name: String,
        by: Option<String>,
        link: Link,
    },
    /// Somebody asked for another password.
    Reset {
        house: String,
        name: String,
        link: Link,
    },
    /// Too many wrong passwords.
    Locked {
        house: String,
        name: String,
        reset_url: String,
    },
    PasswordChanged {
        house: String,
        name: String,
        reset_url: String,
    },
    /// The second factor was added or taken away.
    FactorChanged {
        house: String,
        name: String,
        has_factor: bool,
        account_url: String,
    },
}

/// A mail's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    pub subject: String,
    pub text: String,
    pub html: String,
}

struct Draft<'a> {
    house: &'a str,
    name: &'a str,
    subject: String,
    paragraphs: Vec<String>,
    /// The words on the button, and where it leads.
    button: (&'static str, &'a str),
    last: &'static str,
}

impl Notice {
    /// Returns the stable word for the log.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Invitation { .. } => "invitation",
            Self::Reset { .. } => "password_reset",
            Self::Locked { .. } => "account_locked",
            Self::PasswordChanged { .. } => "password_changed",
            Self::FactorChanged { .. } => "second_factor_changed",
        }
    }

    fn draft(&self) -> Draft<'_> {
        let not_you = "If this was not you, choose another password at once and tell your administrator.";
        match self {
            Self::Invitation { house, name, by, link } => Draft {
                house,
                name,
                subject: format!("Your login at {house}"),
                paragraphs: vec![
                    by.as_ref().map_or_else(|| format!("You have a login at {house}."), |by| format!("{by} has made a login at {house} for you.")),
                    format!("Choose a password to use it. The link works once, until {}.", until(link)),
                ],
                button: ("Choose a password", &link.url),
                last: "If you did not expect this, leave it: without a password nobody can use the login.",
            },
            Self::Reset { house, name, link } => Draft {
                house,
                name,
                subject: format!("A new password at {house}"),
                paragraphs: vec![format!("Somebody asked for a new password for your login. The link works once, until {}.", until(link))],
                button: ("Choose a new password", &link.url),
                last: "If it was not you, leave it: nothing has changed.",
            },
            Self::Locked { house, name, reset_url } => Draft {
                house,
                name,
                subject: format!("Your login at {house} is locked for a while"),
                paragraphs: vec![
                    "Ten wrong passwords in a row were tried with your address. For the next 15 minutes no password is looked at, not even the right one."
                        .to_owned(),
                    "If it was you, wait or choose a new password.".to_owned(),
                ],
                button: ("Choose a new password", reset_url),
                last: "If it was not you, your password was not found out; a second factor keeps it so.",
            },
            Self::PasswordChanged { house, name, reset_url } => Draft {
                house,
                name,
                subject: format!("Your password at {house} was changed"),
                paragraphs: vec!["The password of your login was changed, and its other sessions have ended.".to_owned()],
                button: ("Choose another password", reset_url),
                last: not_you,
            },
            Self::FactorChanged { house, name, has_factor, account_url } => Draft {
                house,
                name,
                subject: format!("The second factor of your login at {house} was {}", if *has_factor { "added" } else { "removed" }),
                paragraphs: vec![if *has_factor {
                    "From now on your login asks for a code of your authenticator as well.".to_owned()
                } else {
                    "From now on your login asks for the password alone.".to_owned()
                }],
                button: ("Look at your login", account_url),
                last: not_you,
            },
        }
    }
}

/// Makes the words of a notice.
pub fn render(notice: &Notice) -> Words {
    let Draft { house, name, subject, paragraphs, button: (label, url), last } = notice.draft();
    let text = format!("Hello {name},\n\n{}\n\n{label}:\n{url}\n\n{last}\n\n{house}\n", paragraphs.join("\n\n"));
    let html = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { (subject) } }
            body style="margin:0;padding:24px;background:#f6f7f5;color:#1b1f1c;font:16px/1.5 system-ui,sans-serif" {
                div style="max-width:32rem;margin:0 auto;padding:24px;background:#fff;border-radius:12px" {
                    p { "Hello " (name) "," }
                    @for paragraph in &paragraphs { p { (paragraph) } }
                    p { a href=(url) style="display:inline-block;padding:10px 16px;border-radius:8px;background:#0b6e4f;color:#fff;text-decoration:none" { (label) } }
                    p style="font-size:14px;color:#5b645e;overflow-wrap:anywhere" { "Or open this address: " (url) }
                    p style="font-size:14px;color:#5b645e" { (last) }
                    p { (house) }
                }
            }
        }
    };
    Words { subject, text, html: html.into_string() }
}

fn until(link: &Link) -> String {
    link.expires_at.to_zoned(TimeZone::UTC).strftime("%-d %B %Y, %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_a_mail() {
        let link =
            Link { url: "https://granary.example/password?token=ab".to_owned(), expires_at: "2025-11-17T12:00:00Z".parse().unwrap() };
        let notice = Notice::Invitation { house: "N <b>".to_owned(), name: "<script>".to_owned(), by: Some("Ada".to_owned()), link };
        let words = render(&notice);
        assert_eq!(words.subject, "Your login at N <b>");
        assert!(words.text.contains("Ada has made a login") && words.text.contains("\nhttps://granary.example/password?token=ab\n"));
        assert!(words.text.contains("17 November 2025, 12:00 UTC"), "{}", words.text);
        assert!(!words.html.contains("<script>") && words.html.contains("&lt;script&gt;"));
    }
}
