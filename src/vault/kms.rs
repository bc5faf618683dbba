//! A key management service: it keeps a key that never leaves it, and opens the master with it.
//!
//! The client signs its requests with what the object store brings along (AWS signature version 4 and the HTTP client): two calls
//! of one JSON protocol do not need Amazon's SDK, which would be some seventy crates more.

use std::fmt;
use std::sync::Arc;

use granary_foundation::Boxed;
use granary_foundation::config::KmsConfig;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3Builder, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpResponse, ReqwestConnector};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::VaultError;

/// What keeps a master from being opened for another purpose.
const CONTEXT: &str = "granary master key";

/// A key, and what its service opens to it.
pub type MadeKey = (Zeroizing<[u8; 32]>, Vec<u8>);

/// A key management service, as the vault needs it.
pub trait Kms: Send + Sync + fmt::Debug {
    /// Makes a key, and returns it with what the service opens to it.
    fn generate(&self) -> Boxed<'_, Result<MadeKey, VaultError>>;

    /// Opens a key that it made.
    fn open<'a>(&'a self, wrapped: &'a [u8]) -> Boxed<'a, Result<Zeroizing<[u8; 32]>, VaultError>>;
}

/// Amazon's KMS, or another one that speaks its protocol.
pub struct AwsKms {
    client: HttpClient,
    credentials: AwsCredentialProvider,
    endpoint: String,
    region: String,
    key: String,
}

impl fmt::Debug for AwsKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwsKms({} at {})", self.key, self.endpoint)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Generated {
    plaintext: String,
    ciphertext_blob: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Opened {
    plaintext: String,
}

impl AwsKms {
    /// Returns the service that a configuration names.
    ///
    /// # Errors
    /// When the configuration is not complete.
    pub fn new(config: &KmsConfig) -> Result<Self, VaultError> {
        let region = config.region.clone().unwrap_or_else(|| "us-east-1".to_owned());
        let endpoint = config.endpoint.clone().unwrap_or_else(|| format!("https://kms.{region}.amazonaws.com"));
        // The machine's own role is found as it is for the object store.
        let mut builder = AmazonS3Builder::new().with_bucket_name("unused").with_region(region.as_str());
        match (&config.access_key_id, &config.secret_access_key) {
            (Some(id), Some(secret)) => builder = builder.with_access_key_id(id).with_secret_access_key(secret.reveal()),
            (None, None) => {}
            _ => return Err(VaultError::Kms("keys.kms.access_key_id and keys.kms.secret_access_key go together".to_owned())),
        }
        let failed = |error: object_store::Error| VaultError::Kms(error.to_string());
        let credentials = Arc::clone(builder.build().map_err(failed)?.credentials());
        let options =
            ClientOptions::new().with_allow_http(endpoint.starts_with("http://")).with_timeout(std::time::Duration::from_secs(10));
        let client = ReqwestConnector::default().connect(&options).map_err(failed)?;
        Ok(Self { client, credentials, endpoint: format!("{}/", endpoint.trim_end_matches('/')), region, key: config.key_id.clone() })
    }

    async fn ask<T: for<'de> Deserialize<'de>>(&self, operation: &str, body: &Value) -> Result<T, VaultError> {
        let failed = |what: String| VaultError::Kms(format!("{operation} at {}: {what}", self.endpoint));
        let credential = self.credentials.get_credential().await.map_err(|error| failed(error.to_string()))?;
        let mut request = HttpRequest::new(body.to_string().into());
        *request.method_mut() = "POST".parse().map_err(|_| failed("no such method".to_owned()))?;
        *request.uri_mut() = self.endpoint.parse().map_err(|_| failed("the endpoint is no URL".to_owned()))?;
        let headers = [("content-type", "application/x-amz-json-1.1".to_owned()), ("x-amz-target", format!("TrentService.{operation}"))];
        for (name, value) in headers {
            request.headers_mut().insert(name, value.parse().map_err(|_| failed("no such header".to_owned()))?);
        }
        AwsAuthorizer::new(&credential, "kms", &self.region).authorize(&mut request, None);
        let response: HttpResponse = self.client.execute(request).await.map_err(|error| failed(error.to_string()))?;
        let status = response.status();
        let answer = Zeroizing::new(response.into_body().bytes().await.map_err(|error| failed(error.to_string()))?.to_vec());
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(|_| failed("the answer is not the protocol's".to_owned()));
        }
        let kind = serde_json::from_slice::<Value>(&answer).ok();
        let kind = kind.as_ref().and_then(|answer| answer["__type"].as_str()).unwrap_or("no reason given");
        Err(failed(format!("{status} {kind}")))
    }

    fn decoded(text: &str) -> Result<Vec<u8>, VaultError> {
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text)
            .map_err(|_| VaultError::Kms("the answer is not the protocol's".to_owned()))
    }

    fn key(text: &str) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let bytes = Zeroizing::new(Self::decoded(text)?);
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| VaultError::Kms("the key has not 32 bytes".to_owned()))?;
        Ok(Zeroizing::new(key))
    }
}

impl Kms for AwsKms {
    fn generate(&self) -> Boxed<'_, Result<MadeKey, VaultError>> {
        Box::pin(async move {
            let body = json!({"KeyId": self.key, "KeySpec": "AES_256", "EncryptionContext": {"purpose": CONTEXT}});
            let made: Generated = self.ask("GenerateDataKey", &body).await?;
            let plain = Zeroizing::new(made.plaintext);
            Ok((Self::key(&plain)?, Self::decoded(&made.ciphertext_blob)?))
        })
    }

    fn open<'a>(&'a self, wrapped: &'a [u8]) -> Boxed<'a, Result<Zeroizing<[u8; 32]>, VaultError>> {
        Box::pin(async move {
            let blob = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, wrapped);
            let body = json!({"CiphertextBlob": blob, "EncryptionContext": {"purpose": CONTEXT}});
            let opened: Opened = self.ask("Decrypt", &body).await?;
            Self::key(&Zeroizing::new(opened.plaintext))
        })
    }
}
