//! Changing the master key, on a real Postgres: from a file, the environment and a service; killed anywhere; out of escrow.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::HashMap;
use std::future::poll_fn;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use granary_foundation::{Boxed, Secret, Silent};
use granary_test_support::TestDatabase;
use granary_types::CustomerId;
use granary_vault::{FileKey, Keys, Kms, MasterKey, Owner, VaultError, Wrapped};
use zeroize::Zeroizing;

const NAME: &[u8] = b"lake/00/a.parquet";

/// What owners wrapped before anything was changed.
type Sealed = Vec<(Owner, FileKey, Wrapped)>;

fn process(database: &TestDatabase, file: &Path) -> Keys {
    Keys::new(database.database().clone(), MasterKey::load_or_create(file).unwrap())
}

async fn sealed(keys: &Keys, owners: usize) -> Sealed {
    let mut sealed = Vec::new();
    for _ in 0..owners {
        let (owner, key) = (Owner::Customer(CustomerId::new()), FileKey::random().unwrap());
        keys.create_for(owner).await.unwrap();
        let wrapped = keys.wrap(owner, &key, NAME).await.unwrap();
        sealed.push((owner, key, wrapped));
    }
    sealed
}

async fn assert_opens(keys: &Keys, sealed: &Sealed) {
    for (owner, key, wrapped) in sealed {
        assert_eq!(keys.unwrap(*owner, wrapped, NAME).await.unwrap().reveal(), key.reveal());
    }
}

/// Polls a future so often and no further, as a process that ends there would.
async fn killed_after<F: Future>(polls: u32, future: F) -> Option<F::Output> {
    let (mut future, mut left) = (Box::pin(future), polls);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn a_change_of_the_master_that_is_killed_anywhere_loses_nothing_and_is_finished_by_the_next() {
    let database = TestDatabase::new().await;
    let file = database.folder().join("master");
    let sealed = sealed(database.keys(), 250).await;
    let server = process(&database, &file);
    let before = server.masters().await.unwrap()[0].fingerprint.clone();
    let data = "select md5(string_agg(owner_id::text || purpose || version, ',' order by owner_id, purpose, version)) from keystore.keys";
    let superuser = database.superuser().await;
    let rows: String = superuser.query_one(data, &[]).await.unwrap().get(0);
    let mut kills = 0;
    for polls in [0, 1, 3, 5, 8, 11, 14, 17, 20, 30, 60, 150, 300, 301, 450] {
        let keys = process(&database, &file);
        if killed_after(polls, keys.rotate_master(&Silent::shared())).await.is_none() {
            kills += 1;
        }
        drop(keys);
        // Whoever comes next opens everything, whichever wrappers were rewritten.
        assert_opens(&process(&database, &file), &sealed[..10].to_vec()).await;
    }
    assert!(kills >= 10, "it was killed {kills} times");
    let after = process(&database, &file);
    let rotation = after.rotate_master(&Silent::shared()).await.unwrap();
    let masters = after.masters().await.unwrap();
    assert_eq!((masters[0].fingerprint.as_str(), masters[0].keys), (rotation.current.as_str(), 500), "{masters:?}");
    assert!(rotation.current != before && masters[1..].iter().all(|master| master.keys == 0 && master.retired_at.is_some()), "{masters:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 1, "the old one is let go");
    assert_opens(&process(&database, &file), &sealed).await;
    assert_eq!(superuser.query_one(data, &[]).await.unwrap().get::<_, String>(0), rows, "no key was made or lost");

    // A server that ran all the while notices: it opens what the new master wrapped, and wraps with it.
    assert_opens(&server, &sealed).await;
    let owner = Owner::Customer(CustomerId::new());
    server.create_for(owner).await.unwrap();
    let wrapped_by = "select distinct master from keystore.keys where owner_id = $1";
    assert_eq!(superuser.query_one(wrapped_by, &[&owner.id()]).await.unwrap().get::<_, String>(0), rotation.current);
}

#[tokio::test]
async fn an_owner_gets_a_new_key_and_opens_what_the_old_one_wrapped() {
    let database = TestDatabase::new().await;
    let keys = database.keys();
    let sealed = sealed(keys, 1).await;
    let owner = sealed[0].0;
    assert_eq!(keys.renew(owner).await.unwrap(), 2);
    let wrapped = keys.wrap(owner, &sealed[0].1, NAME).await.unwrap();
    assert_eq!((sealed[0].2.key_version, wrapped.key_version), (1, 2));
    assert_opens(keys, &sealed).await;
    keys.destroy(owner).await.unwrap();
    assert!(matches!(keys.unwrap(owner, &wrapped, NAME).await.unwrap_err(), VaultError::KeyDestroyed(_)));
}

#[tokio::test]
async fn a_master_out_of_escrow_opens_what_was_sealed() {
    let database = TestDatabase::new().await;
    let sealed = sealed(database.keys(), 2).await;
    let passphrase = Secret::new("correct horse battery staple");
    let escrow = database.keys().export_escrow(&passphrase).await.unwrap();
    let written = serde_json::to_string(&escrow).unwrap();
    let master = std::fs::read_to_string(database.folder().join("master")).unwrap();
    assert!(!written.contains(master.trim()) && !written.contains("correct"));
    assert!(database.keys().export_escrow(&Secret::new("too short")).await.is_err());

    // The machine is gone: another one has the database and the escrow.
    let elsewhere = database.folder().join("elsewhere");
    let lost = process(&database, &elsewhere);
    assert!(lost.wrap(sealed[0].0, &sealed[0].1, NAME).await.is_err(), "the master of the new machine opens nothing");
    let read: granary_vault::Escrow = serde_json::from_str(&written).unwrap();
    assert!(read.restore(&Secret::new("wrong horse battery staple"), &elsewhere).is_err());
    read.restore(&passphrase, &elsewhere).unwrap();
    assert_opens(&process(&database, &elsewhere), &sealed).await;
    let changed = written.replace(&escrow.fingerprint, "0123456789abcdef");
    let changed: granary_vault::Escrow = serde_json::from_str(&changed).unwrap();
    assert!(changed.restore(&passphrase, &elsewhere).is_err());
}

#[tokio::test]
async fn a_master_from_the_environment_is_changed_when_it_holds_two() {
    let database = TestDatabase::new().await;
    let file = database.folder().join("master");
    let sealed = sealed(database.keys(), 3).await;
    let own = std::fs::read_to_string(&file).unwrap();
    let new = "5".repeat(64);
    let with = |text: &str, file: &str| {
        let master = MasterKey::from_text(&Secret::new(text), &database.folder().join(file)).unwrap();
        Keys::new(database.database().clone(), master)
    };
    let error = with(&own, "none").rotate_master(&Silent::shared()).await.unwrap_err();
    assert!(matches!(error, VaultError::NoNewMaster), "{error}");
    let both = with(&format!("{},{new}", own.trim()), "none");
    assert_opens(&both, &sealed).await;
    let rotation = both.rotate_master(&Silent::shared()).await.unwrap();
    assert_eq!(rotation.rewrapped, 6);
    assert_opens(&with(&new, "none"), &sealed).await;
    assert!(matches!(with(&own, "none").masters().await.unwrap_err(), VaultError::UnknownMaster(_)));
}

/// A service that remembers what it made.
#[derive(Debug, Default)]
struct Remembering(Mutex<HashMap<Vec<u8>, [u8; 32]>>);

impl Kms for Remembering {
    fn generate(&self) -> Boxed<'_, Result<(Zeroizing<[u8; 32]>, Vec<u8>), VaultError>> {
        Box::pin(async move {
            let (key, blob) = (FileKey::random()?, FileKey::random()?.reveal().to_vec());
            self.0.lock().unwrap().insert(blob.clone(), *key.reveal());
            Ok((Zeroizing::new(*key.reveal()), blob))
        })
    }

    fn open<'a>(&'a self, wrapped: &'a [u8]) -> Boxed<'a, Result<Zeroizing<[u8; 32]>, VaultError>> {
        Box::pin(async move {
            let known = self.0.lock().unwrap().get(wrapped).copied();
            known.map(Zeroizing::new).ok_or_else(|| VaultError::Kms("it did not make that".to_owned()))
        })
    }
}

#[tokio::test]
async fn an_installation_goes_from_its_file_to_a_service_and_forgets_the_file() {
    let database = TestDatabase::new().await;
    let file = database.folder().join("master");
    let sealed = sealed(database.keys(), 3).await;
    let service = Arc::new(Remembering::default());
    let process = || Keys::new(database.database().clone(), MasterKey::from_kms(service.clone(), &file).unwrap());
    assert_opens(&process(), &sealed).await;
    let rotation = process().rotate_master(&Silent::shared()).await.unwrap();
    assert_eq!(rotation.rewrapped, 6);
    std::fs::remove_file(&file).unwrap();
    assert_opens(&process(), &sealed).await;
    // Killed before the database heard of it, what the service made is nobody's.
    let keys = process();
    assert!(killed_after(2, keys.rotate_master(&Silent::shared())).await.is_none());
    process().rotate_master(&Silent::shared()).await.unwrap();
    assert_opens(&process(), &sealed).await;
    let masters = process().masters().await.unwrap();
    assert_eq!((masters[0].source.as_str(), masters[0].keys), ("kms", 6));
}

#[tokio::test]
async fn keys_from_before_masters_had_names_are_opened_and_named() {
    let database = TestDatabase::new().await;
    let sealed = sealed(database.keys(), 2).await;
    let superuser = database.superuser().await;
    superuser.batch_execute("update keystore.keys set master = null; delete from keystore.masters").await.unwrap();
    let file = database.folder().join("master");
    assert_opens(&process(&database, &file), &sealed).await;
    let wrong = process(&database, &database.folder().join("other"));
    assert!(matches!(wrong.masters().await.unwrap_err(), VaultError::WrongMasterKey(_)), "another key does not become the installation's");
    let masters = process(&database, &file).masters().await.unwrap();
    assert_eq!((masters.len(), masters[0].keys), (1, 4));
}
