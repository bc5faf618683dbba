//! Random tokens, and the form of an API key that scanners recognise.

use granary_foundation::Secret;
use sha2::{Digest, Sha256};

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What every live key begins with; a double click selects all of it.
pub(crate) const KEY_PREFIX: &str = "grn_live_";
/// What every code for an enrolment begins with.
const CODE_PREFIX: &str = "grn_enrol_";
/// Random characters of a key: 178 bits.
const KEY_RANDOM_CHARS: usize = 30;
/// Characters of the check sum.
const KEY_CHECK_CHARS: usize = 6;
/// Characters that are stored and shown, to tell keys apart: the prefix and eight more.
const KEY_SHOWN_CHARS: usize = KEY_PREFIX.len() + 8;

/// Makes a token of 256 random bits for a cookie or a form.
pub(crate) fn random_token() -> Secret {
    Secret::new(hex::encode(rand::random::<[u8; 32]>()))
}

/// Returns what is stored of a token. It is random and long, so that a fast hash is enough.
pub(crate) fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// Makes a key: `grn_live_`, 30 random characters, 6 of check sum.
pub(crate) fn random_key() -> Secret {
    random(KEY_PREFIX)
}

/// Makes a code for one enrolment, in the form of a key.
pub(crate) fn random_code() -> Secret {
    random(CODE_PREFIX)
}

fn random(prefix: &str) -> Secret {
    let mut rng = rand::rng();
    let random: String = (0..KEY_RANDOM_CHARS).map(|_| char::from(BASE62[rand::Rng::random_range(&mut rng, 0..62)])).collect();
    let body = format!("{prefix}{random}");
    Secret::new(format!("{body}{}", check(&body)))
}

/// Returns the part of a key that may be shown.
pub(crate) fn shown(key: &str) -> &str {
    key.get(..KEY_SHOWN_CHARS).unwrap_or_default()
}

/// Tells whether a text has the form of a key, check sum included; no look-up is needed to refuse a typing error.
pub(crate) fn is_key(text: &str) -> bool {
    is_made_of(KEY_PREFIX, text)
}

/// Tells whether a text has the form of a code.
pub(crate) fn is_code(text: &str) -> bool {
    is_made_of(CODE_PREFIX, text)
}

fn is_made_of(prefix: &str, text: &str) -> bool {
    let length = prefix.len() + KEY_RANDOM_CHARS + KEY_CHECK_CHARS;
    text.len() == length
        && text.starts_with(prefix)
        && text.bytes().skip(prefix.len()).all(|byte| byte.is_ascii_alphanumeric())
        && text.split_at_checked(length - KEY_CHECK_CHARS).is_some_and(|(body, sum)| check(body) == sum)
}

/// CRC-32 (IEEE) of the text, in base 62, six characters.
fn check(text: &str) -> String {
    let mut rest = crc32(text.as_bytes());
    let mut digits = [b'0'; KEY_CHECK_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_sum_is_crc_32() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_key_checks_itself_and_a_typing_error_does_not() {
        let key = random_key();
        let text = key.reveal();
        assert_eq!(text.len(), 45);
        assert!(is_key(text), "{text}");
        assert!(text.starts_with(shown(text)));
        let mut wrong = text.to_owned();
        let last = if wrong.ends_with('a') { 'b' } else { 'a' };
        wrong.pop();
        wrong.push(last);
        assert!(!is_key(&wrong));
        assert!(!is_key("grn_live_ü"));
        assert!(!is_key(""));
    }

    #[test]
    fn tokens_do_not_repeat() {
        assert_ne!(random_token().reveal(), random_token().reveal());
        assert_ne!(random_key().reveal(), random_key().reveal());
    }
}
