//! SCRAM-SHA-256 (RFC 5802, RFC 7677): what a server keeps to recognise somebody who proves to know a secret and never sends it.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use granary_foundation::Secret;
use ring::{digest, hmac, pbkdf2};
use subtle::ConstantTimeEq;

const SALT_BYTES: usize = 16;
/// As Postgres has it; a key of 178 random bits needs no more.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4_096).unwrap();

/// Returns the verifier of a key, in the form in which Postgres stores its own: `SCRAM-SHA-256$4096:salt$stored:server`.
pub(crate) fn verifier(key: &Secret) -> String {
    verifier_with(key, &rand::random())
}

fn verifier_with(key: &Secret, salt: &[u8; SALT_BYTES]) -> String {
    // A key is plain ASCII, which SASLprep leaves as it is.
    let mut salted = [0; digest::SHA256_OUTPUT_LEN];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, key.reveal().as_bytes(), &mut salted);
    let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let stored = digest::digest(&digest::SHA256, hmac::sign(&salted, b"Client Key").as_ref());
    let server = hmac::sign(&salted, b"Server Key");
    format!("SCRAM-SHA-256${ITERATIONS}:{}${}:{}", STANDARD.encode(salt), STANDARD.encode(stored), STANDARD.encode(server))
}

/// What a server keeps, taken apart.
#[derive(Clone)]
pub(crate) struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored: Vec<u8>,
    server: Vec<u8>,
}

impl Verifier {
    /// Reads what [`verifier`] wrote.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (head, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let ((iterations, salt), (stored, server)) = (head.split_once(':')?, keys.split_once(':')?);
        let decode = |text: &str| STANDARD.decode(text).ok();
        Some(Self { iterations: iterations.parse().ok()?, salt: decode(salt)?, stored: decode(stored)?, server: decode(server)? })
    }

    /// Returns one that nothing proves: a stranger is asked as somebody would be, and always with the same salt.
    pub(crate) fn of_nobody(digest: &[u8; 32]) -> Self {
        let salt = digest[..SALT_BYTES].to_vec();
        Self { iterations: ITERATIONS.get(), salt, stored: vec![0; digest::SHA256_OUTPUT_LEN], server: digest.to_vec() }
    }
}

/// An exchange whose first message was answered.
#[derive(Clone)]
pub(crate) struct Challenge {
    verifier: Verifier,
    /// What the client must repeat: its word on channel binding, and both nonces.
    binding: String,
    nonce: String,
    /// Both first messages, as the proof covers them.
    said: String,
}

impl Challenge {
    /// Answers the client's first message; none when it is none, or wants what was not offered.
    pub(crate) fn begin(verifier: Verifier, client_first: &str, own_nonce: &str) -> Option<(Self, String)> {
        let bare = client_first.strip_prefix("n,,").or_else(|| client_first.strip_prefix("y,,"))?;
        let binding = STANDARD.encode(&client_first[..3]);
        let mut parts = bare.split(',');
        parts.next()?.strip_prefix("n=")?;
        let theirs = parts.next()?.strip_prefix("r=")?;
        if theirs.is_empty() || !theirs.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
            return None;
        }
        let nonce = format!("{theirs}{own_nonce}");
        let server_first = format!("r={nonce},s={},i={}", STANDARD.encode(&verifier.salt), verifier.iterations);
        let said = format!("{bare},{server_first}");
        Some((Self { verifier, binding, nonce, said }, server_first))
    }

    /// Checks the proof in the client's last message, and returns ours; none when the secret is another.
    pub(crate) fn finish(&self, client_final: &str) -> Option<String> {
        let (without_proof, proof) = client_final.rsplit_once(",p=")?;
        let mut parts = without_proof.split(',');
        let is_ours = parts.next()?.strip_prefix("c=")? == self.binding && parts.next()?.strip_prefix("r=")? == self.nonce;
        let proof = STANDARD.decode(proof).ok().filter(|proof| is_ours && proof.len() == digest::SHA256_OUTPUT_LEN)?;
        let message = format!("{},{without_proof}", self.said);
        let sign = |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(sign(&self.verifier.stored).as_ref()).map(|(proof, signed)| proof ^ signed).collect();
        let is_known: bool = digest::digest(&digest::SHA256, &client_key).as_ref().ct_eq(&self.verifier.stored).into();
        is_known.then(|| format!("v={}", STANDARD.encode(sign(&self.verifier.server))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    fn pencil() -> Verifier {
        let salt: [u8; SALT_BYTES] = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        Verifier::read(&verifier_with(&Secret::new("pencil"), &salt)).unwrap()
    }

    /// The exchange of RFC 7677, section 3, as a server goes through it.
    #[test]
    fn the_exchange_of_the_standards_example_ends_well() {
        let (challenge, first) = Challenge::begin(pencil(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", NONCE).unwrap();
        assert_eq!(first, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(challenge.finish(last).unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert!(challenge.finish(&last.replace("p=d", "p=e")).is_none(), "another proof");
        assert!(challenge.finish(&last.replace("c=biws", "c=eSws")).is_none(), "another word on channel binding");
        assert!(challenge.finish(&last.replace("hNlF$k0", "hNlF$k1")).is_none(), "another nonce");
        let (other, _) = Challenge::begin(Verifier::of_nobody(&[7; 32]), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", NONCE).unwrap();
        assert!(other.finish(last).is_none());
    }

    #[test]
    fn what_is_no_first_message_begins_nothing() {
        for odd in [
            "",
            "n,,",
            "n,,n=user",
            "n,,n=user,r=",
            "n,a=x,n=user,r=a",
            "p=tls-server-end-point,,n=u,r=a",
            "n,,m=x,n=u,r=a",
            "n,,n=u,r=\u{7f}",
        ] {
            assert!(Challenge::begin(pencil(), odd, NONCE).is_none(), "{odd}");
        }
    }

    /// The exchange of RFC 7677, section 3, checked as a server would check it, with nothing but the verifier.
    #[test]
    fn the_proof_of_the_standards_example_is_recognised() {
        let salt: [u8; SALT_BYTES] = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        let verifier = verifier_with(&Secret::new("pencil"), &salt);
        let (stored, server) = verifier.rsplit_once('$').unwrap().1.split_once(':').unwrap();
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let sign = |key: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(key).unwrap()), message.as_bytes());
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let client_key: Vec<u8> = proof.iter().zip(sign(stored).as_ref()).map(|(proof, signed)| proof ^ signed).collect();
        assert_eq!(STANDARD.encode(digest::digest(&digest::SHA256, &client_key)), stored);
        assert_eq!(STANDARD.encode(sign(server)), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_verifier_is_another_each_time_and_holds_no_key() {
        let key = crate::token::random_key();
        let (one, other) = (verifier(&key), verifier(&key));
        assert!(one != other && !one.contains(key.reveal()));
        assert!(one.starts_with("SCRAM-SHA-256$4096:"));
    }
}
