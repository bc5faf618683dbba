//! An identity provider that can lie in every way that the table of attacks names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use granary_foundation::{Secret, Url};
use granary_types::Clock;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use ring::{digest, hmac};
use serde_json::{Value, json};

use crate::{Arrival, Departure};

pub(super) const CLIENT: &str = "granary & co";
pub(super) const SECRET: &str = "a client's secret: %/+";

/// What somebody was sent with.
#[derive(Clone)]
struct Request {
    nonce: String,
    challenge: String,
    redirect: String,
}

struct Inner {
    fault: &'static str,
    claims: Value,
    requests: HashMap<String, Request>,
    signs_by: &'static str,
    publishes: Vec<&'static str>,
    /// How often the keys were asked for.
    keys_asked: usize,
    codes: u32,
}

/// Clones are the same provider.
#[derive(Clone)]
pub(super) struct Idp {
    pub(super) issuer: String,
    clock: Clock,
    rsa: Arc<RsaKeyPair>,
    ec: Arc<EcdsaKeyPair>,
    inner: Arc<Mutex<Inner>>,
}

impl Idp {
    pub(super) async fn start(clock: Clock) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}/tenant", listener.local_addr().unwrap());
        let rsa = RsaKeyPair::from_pkcs8(include_bytes!("../../../../tests/data/oidc/signing.der")).unwrap();
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        let inner = Inner {
            fault: "",
            claims: json!({}),
            requests: HashMap::new(),
            signs_by: "rsa",
            publishes: vec!["rsa"],
            keys_asked: 0,
            codes: 0,
        };
        let idp = Self { issuer, clock, rsa: Arc::new(rsa), ec: Arc::new(ec), inner: Arc::new(Mutex::new(inner)) };
        let app = Router::new().fallback(answer).with_state(idp.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        idp
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Lies from now on, about somebody with these claims.
    pub(super) fn lie(&self, fault: &'static str, claims: Value) {
        let mut inner = self.inner();
        (inner.fault, inner.claims) = (fault, claims);
    }

    /// Signs by a key of this name, and publishes these.
    pub(super) fn sign_by(&self, key: &'static str, publishes: &[&'static str]) {
        let mut inner = self.inner();
        (inner.signs_by, inner.publishes) = (key, publishes.to_vec());
    }

    pub(super) fn keys_asked(&self) -> usize {
        self.inner().keys_asked
    }

    /// Somebody signs in: what the browser brings back.
    pub(super) fn authorise(&self, departure: &Departure) -> Arrival {
        let url = Url::parse(&departure.url).unwrap();
        let said: HashMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!((said["response_type"].as_str(), said["code_challenge_method"].as_str()), ("code", "S256"));
        assert_eq!(said["client_id"], CLIENT);
        assert!(said["scope"].split(' ').any(|scope| scope == "openid") && said["state"].len() == 64);
        let mut inner = self.inner();
        inner.codes += 1;
        let code = format!("code-{}", inner.codes);
        let (nonce, challenge, redirect) = (said["nonce"].clone(), said["code_challenge"].clone(), said["redirect_uri"].clone());
        inner.requests.insert(code.clone(), Request { nonce, challenge, redirect });
        let (iss, error) = match inner.fault {
            "another issuer came back" => (Some("http://127.0.0.1:1/other".to_owned()), None),
            "no issuer came back" => (None, None),
            "the provider refused" => (Some(self.issuer.clone()), Some("access_denied".to_owned())),
            _ => (Some(self.issuer.clone()), None),
        };
        Arrival { state: said["state"].clone(), code: Some(Secret::new(code)), iss, error }
    }

    fn metadata(&self, fault: &str) -> Value {
        let of = |path: &str| format!("{}{path}", self.issuer);
        let mut said = json!({
            "issuer": self.issuer, "authorization_endpoint": of("/authorize?prompt=login"), "token_endpoint": of("/token"),
            "jwks_uri": of("/keys"), "userinfo_endpoint": of("/userinfo"), "authorization_response_iss_parameter_supported": true,
            "scopes_supported": ["openid", "groups"],
        });
        match fault {
            "discovery names another issuer" => said["issuer"] = "http://127.0.0.1:1/other".into(),
            "discovery sends tokens inside" => said["token_endpoint"] = "https://169.254.169.254/token".into(),
            "discovery sends tokens in the clear" => said["token_endpoint"] = "http://login.example/token".into(),
            "discovery finds keys inside" => said["jwks_uri"] = "https://10.0.0.1/keys".into(),
            "discovery leads to a script" => said["authorization_endpoint"] = "javascript:alert(1)".into(),
            "the secret in the form" => said["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]),
            _ => {}
        }
        said
    }

    fn keys(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut inner = self.inner();
        inner.keys_asked += 1;
        let keys = inner.publishes.iter().map(|name| match *name {
            "rsa" => {
                let public = PublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
                json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "rsa", "n": encode(&public.n), "e": encode(&public.e)})
            }
            _ => {
                let point = self.ec.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": "ec", "x": encode(&point[1..33]), "y": encode(&point[33..])})
            }
        });
        json!({"keys": keys.collect::<Vec<_>>()})
    }

    /// Takes a code once, from who began and has the secret.
    fn token(&self, headers: &HeaderMap, form: &HashMap<String, String>, fault: &str) -> Response {
        let basic = format!("{}:{}", crate::factor::encoded(CLIENT), crate::factor::encoded(SECRET));
        let is_client = if fault == "the secret in the form" {
            form.get("client_id").is_some_and(|id| id == CLIENT) && form.get("client_secret").is_some_and(|secret| secret == SECRET)
        } else {
            headers.get("authorization").is_some_and(|value| *value == format!("Basic {}", STANDARD.encode(basic)))
        };
        let Some(request) = self.inner().requests.remove(&form["code"]) else { return refusal("invalid_grant") };
        let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, form["code_verifier"].as_bytes()));
        if !is_client
            || form["grant_type"] != "authorization_code"
            || form["redirect_uri"] != request.redirect
            || challenge != request.challenge
        {
            return refusal("invalid_client");
        }
        let access = "opaque";
        axum::Json(
            json!({"access_token": access, "token_type": "Bearer", "expires_in": 60, "id_token": self.id_token(&request.nonce, fault)}),
        )
        .into_response()
    }

    fn id_token(&self, nonce: &str, fault: &str) -> String {
        let now = self.clock.now().as_second();
        let mut claims = json!({"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce});
        if !is_told_elsewhere(fault) {
            claims.as_object_mut().unwrap().extend(self.inner().claims.as_object().unwrap().clone());
        }
        claims["sub"] = self.inner().claims["sub"].clone();
        match fault {
            "expired" => claims["exp"] = (now - 60).into(),
            "never expires" => drop(claims.as_object_mut().unwrap().remove("exp")),
            "not yet valid" => claims["nbf"] = (now + 120).into(),
            "issued tomorrow" => claims["iat"] = (now + 86_400).into(),
            "wrong audience" => claims["aud"] = "another program".into(),
            "no audience" => drop(claims.as_object_mut().unwrap().remove("aud")),
            "several audiences and no party" => claims["aud"] = json!([CLIENT, "another program"]),
            "several audiences and another party" => (claims["aud"], claims["azp"]) = (json!([CLIENT, "another"]), "another".into()),
            "wrong party" => claims["azp"] = "another program".into(),
            "several audiences and our party" => (claims["aud"], claims["azp"]) = (json!([CLIENT, "another"]), CLIENT.into()),
            "wrong nonce" => claims["nonce"] = "another".into(),
            "no nonce" => drop(claims.as_object_mut().unwrap().remove("nonce")),
            "wrong issuer" => claims["iss"] = "https://login.example/other".into(),
            "issuer with a slash" => claims["iss"] = format!("{}/", self.issuer).into(),
            "nobody" => claims["sub"] = "".into(),
            _ => {}
        }
        self.signed(&claims, fault)
    }

    fn signed(&self, claims: &Value, fault: &str) -> String {
        let key = self.inner().signs_by;
        let mut header = json!({"typ": "JWT", "kid": key, "alg": if key == "rsa" { "RS256" } else { "ES256" }});
        match fault {
            "alg none" | "alg none with a signature" => header["alg"] = "none".into(),
            "HS256 with the public key" => header["alg"] = "HS256".into(),
            "RS256 said of another key" => (header["alg"], header["kid"]) = ("RS256".into(), "ec".into()),
            "unknown kid" => header["kid"] = "nobody's".into(),
            "its own key in the header" => header = json!({"alg": "ES256", "jwk": {"kty": "EC"}, "jku": format!("{}/evil", self.issuer)}),
            "an extension" => header["crit"] = json!(["b64"]),
            _ => {}
        }
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let random = SystemRandom::new();
        let by_ec = || self.ec.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec();
        let by_rsa = || {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
            signature
        };
        let signature = match fault {
            "alg none" => Vec::new(),
            "HS256 with the public key" => {
                let public = PublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &public.n), signed.as_bytes()).as_ref().to_vec()
            }
            "another's signature" | "its own key in the header" => by_ec(),
            _ if key == "rsa" => by_rsa(),
            _ => by_ec(),
        };
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        match fault {
            "changed after signing" => {
                let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
                let changed = claims.to_string().replace("north.example", "north.example ");
                parts[1] = URL_SAFE_NO_PAD.encode(changed);
                parts.join(".")
            }
            "no token" => "a.b".to_owned(),
            _ => token,
        }
    }
}

/// Whether the token holds neither groups nor address.
fn is_told_elsewhere(fault: &str) -> bool {
    fault.ends_with("userinfo")
}

fn refusal(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, axum::Json(json!({"error": error}))).into_response()
}

async fn answer(State(idp): State<Idp>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let fault = idp.inner().fault;
    let place = match uri.path().trim_start_matches("/tenant") {
        "/.well-known/openid-configuration" => "discovery",
        "/keys" => "keys",
        "/token" => "token",
        "/userinfo" => "userinfo",
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    // Whoever follows a redirect finds everything in order there.
    let lie = if uri.query() == Some("again") { None } else { fault.strip_suffix(place).map(str::trim) };
    match lie {
        Some("slow") => tokio::time::sleep(Duration::from_secs(5)).await,
        Some("huge") => return " ".repeat(1 << 20).into_response(),
        Some("redirected") => return Redirect::temporary(&format!("{}?again", uri.path())).into_response(),
        Some("broken") => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Some("garbled") => return "<html>".into_response(),
        _ => {}
    }
    match place {
        "discovery" => axum::Json(idp.metadata(fault)).into_response(),
        "keys" => axum::Json(idp.keys()).into_response(),
        "token" => {
            let form = Url::parse(&format!("http://form/?{}", String::from_utf8_lossy(&body))).unwrap();
            idp.token(&headers, &form.query_pairs().into_owned().collect(), fault)
        }
        _ => {
            let mut claims = idp.inner().claims.clone();
            if fault == "another's userinfo" {
                claims["sub"] = "somebody else".into();
            }
            let is_asked_right = headers.get("authorization").is_some_and(|value| value == "Bearer opaque");
            if is_asked_right { axum::Json(claims).into_response() } else { StatusCode::UNAUTHORIZED.into_response() }
        }
    }
}
