//! Where the mail server is: `smtps://user:password@host:port`.

use granary_foundation::Secret;

use crate::NotificationError;

/// How the way there is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    /// TLS from the first byte.
    Tls,
    /// TLS after STARTTLS, or nothing is sent.
    StartTls,
    /// Only to this machine.
    None,
}

/// A mail server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) login: Option<(String, Secret)>,
}

impl Server {
    /// Reads an address. Letters open doors: over a network they go by TLS, or not at all.
    pub(crate) fn parse(url: &Secret) -> Result<Self, NotificationError> {
        let bad = NotificationError::Url;
        let (scheme, rest) = url.reveal().split_once("://").ok_or(bad("it begins with smtps:// or smtp://"))?;
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = authority.trim_end_matches('/');
        let (login, place) = authority.rsplit_once('@').map_or((None, authority), |(login, place)| (Some(login), place));
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        let security = match (scheme, query) {
            _ if host.is_empty() => return Err(bad("it names no host")),
            ("smtps", "") => Security::Tls,
            ("smtp", "tls=required") => Security::StartTls,
            ("smtp", "") if is_here => Security::None,
            ("smtp", "") => return Err(bad("smtp:// needs ?tls=required, unless the server is on this machine")),
            ("smtp" | "smtps", _) => return Err(bad("all that may stand behind the '?' is tls=required, with smtp://")),
            _ => return Err(bad("it begins with smtps:// or smtp://")),
        };
        let usual = match security {
            Security::Tls => 465,
            Security::StartTls => 587,
            Security::None => 25,
        };
        let port = port.map_or(Ok(usual), |port| port.parse().map_err(|_| bad("the port is no number")))?;
        let login = login.map(credentials).transpose()?;
        Ok(Self { host: host.to_owned(), port, security, login })
    }
}

fn credentials(text: &str) -> Result<(String, Secret), NotificationError> {
    let (user, password) = text.split_once(':').ok_or(NotificationError::Url("a user needs a password: user:password@host"))?;
    Ok((decoded(user)?, Secret::new(decoded(password)?)))
}

/// Undoes percent-encoding, without which a password with an '@' could not be written.
fn decoded(text: &str) -> Result<String, NotificationError> {
    let bad = || NotificationError::Url("a '%' in user or password is followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or_else(bad)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
        rest = &tail[2..];
    }
    let text = String::from_utf8(bytes).map_err(|_| bad())?;
    if text.contains(['\0', '\r', '\n']) { Err(bad()) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Server, String> {
        Server::parse(&Secret::new(url)).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_says_how_to_get_there() {
        let server = read("smtps://ada%40north.example:p%3Aw%25@mail.example.com").unwrap();
        assert_eq!((server.host.as_str(), server.port, server.security), ("mail.example.com", 465, Security::Tls));
        let (user, password) = server.login.clone().unwrap();
        assert_eq!((user.as_str(), password.reveal()), ("ada@north.example", "p:w%"));
        assert!(!format!("{server:?}").contains("p:w"));
        let server = read("smtp://u:p@mail.example.com?tls=required").unwrap();
        assert_eq!((server.port, server.security), (587, Security::StartTls));
        assert_eq!(read("smtp://[::1]:1025/").unwrap().port, 1025);
        assert_eq!(read("smtp://127.0.0.1").unwrap().security, Security::None);
    }

    #[test]
    fn letters_do_not_travel_in_the_clear() {
        for bad in [
            "smtp://u:hunter2@mail.example.com",
            "smtp://u:hunter2@mail.example.com?tls=opportunistic",
            "smtps://u:hunter2@mail.example.com?tls=none",
            "smtp://localhost.evil.example",
            "http://hunter2",
            "hunter2",
            "smtps://",
            "smtps://hunter2@mail.example.com",
            "smtps://u:hunter2%0@mail.example.com",
            "smtps://u:hunter2%0d%0a@mail.example.com",
            "smtps://u:hunter2@mail.example.com:port",
        ] {
            assert!(!read(bad).unwrap_err().contains("hunter2"), "{bad}");
        }
    }
}
