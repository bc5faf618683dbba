//! SCRAM-SHA-256 (RFC 5802, RFC 7677): what a server keeps to recognise somebody who proves to know a secret and never sends it.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use granary_foundation::Secret;
use ring::{digest, hmac, pbkdf2};

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

#[cfg(test)]
mod tests {
    use super::*;

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
