//! The key store on a real Postgres: who opens what, and what a destroyed key leaves.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use granary_test_support::TestDatabase;
use granary_types::{CustomerId, MspId};
use granary_vault::{FileKey, Keys, MasterKey, Owner, VaultError};

const NAME: &[u8] = b"lake/00/a.parquet";

fn reopened(database: &TestDatabase, master: &str) -> Keys {
    let master = MasterKey::load_or_create(&database.folder().join(master)).unwrap();
    Keys::new(database.database().clone(), master)
}

#[tokio::test]
async fn an_envelope_opens_for_its_owner_under_its_name_and_for_nobody_else() {
    let database = TestDatabase::new().await;
    let keys = database.keys();
    let (owner, other) = (Owner::Customer(CustomerId::new()), Owner::Customer(CustomerId::new()));
    keys.create_for(owner).await.unwrap();
    keys.create_for(other).await.unwrap();
    let key = FileKey::random().unwrap();
    let wrapped = keys.wrap(owner, &key, NAME).await.unwrap();
    assert_eq!(keys.unwrap(owner, &wrapped, NAME).await.unwrap().reveal(), key.reveal());
    assert!(matches!(keys.unwrap(other, &wrapped, NAME).await.unwrap_err(), VaultError::Sealed(_)));
    assert!(matches!(keys.unwrap(owner, &wrapped, b"lake/00/b.parquet").await.unwrap_err(), VaultError::Sealed(_)));
    assert!(!wrapped.bytes.windows(32).any(|window| window == key.reveal()));
    assert_eq!(format!("{key:?} {keys:?}"), "FileKey(…) Keys(…)");
}

#[tokio::test]
async fn keys_are_made_once_and_read_by_other_processes() {
    let database = TestDatabase::new().await;
    let owner = Owner::Msp(MspId::new());
    assert!(matches!(database.keys().blind_index(owner, b"x").await.unwrap_err(), VaultError::NoKey(_)));
    database.keys().create_for(owner).await.unwrap();
    let wrapped = database.keys().wrap(owner, &FileKey::random().unwrap(), NAME).await.unwrap();
    let digest = database.keys().blind_index(owner, b"a@example.com").await.unwrap();

    let reader = reopened(&database, "master");
    reader.create_for(owner).await.unwrap();
    reader.unwrap(owner, &wrapped, NAME).await.unwrap();
    assert_eq!(reader.blind_index(owner, b"a@example.com").await.unwrap(), digest);
    assert_ne!(reader.blind_index(owner, b"b@example.com").await.unwrap(), digest);
}

#[tokio::test]
async fn another_master_key_opens_nothing_and_says_so() {
    let database = TestDatabase::new().await;
    let owner = Owner::Msp(MspId::new());
    database.keys().create_for(owner).await.unwrap();
    let error = reopened(&database, "another").wrap(owner, &FileKey::random().unwrap(), NAME).await.unwrap_err();
    assert!(matches!(error, VaultError::WrongMasterKey(_)), "{error}");
}

#[tokio::test]
async fn a_destroyed_key_is_gone_for_everybody_and_not_made_again() {
    let database = TestDatabase::new().await;
    let keys = database.keys();
    let owner = Owner::Customer(CustomerId::new());
    keys.create_for(owner).await.unwrap();
    let wrapped = keys.wrap(owner, &FileKey::random().unwrap(), NAME).await.unwrap();
    keys.destroy(owner).await.unwrap();
    keys.create_for(owner).await.unwrap();
    for keys in [keys, &reopened(&database, "master")] {
        assert!(matches!(keys.unwrap(owner, &wrapped, NAME).await.unwrap_err(), VaultError::KeyDestroyed(_)));
        assert!(matches!(keys.wrap(owner, &FileKey::random().unwrap(), NAME).await.unwrap_err(), VaultError::KeyDestroyed(_)));
    }
}

#[tokio::test]
async fn two_owners_rows_cannot_be_exchanged_in_the_key_store() {
    let database = TestDatabase::new().await;
    let (owner, other) = (Owner::Customer(CustomerId::new()), Owner::Customer(CustomerId::new()));
    for owner in [owner, other] {
        database.keys().create_for(owner).await.unwrap();
    }
    let superuser = database.superuser().await;
    let exchange = "
        update keystore.keys as own set wrapped = other.wrapped
        from keystore.keys as other
        where own.owner_id = $1 and other.owner_id = $2 and own.purpose = other.purpose";
    assert!(superuser.execute(exchange, &[&owner.id(), &other.id()]).await.unwrap() > 0);
    let error = database.keys().wrap(owner, &FileKey::random().unwrap(), NAME).await.unwrap_err();
    assert!(matches!(error, VaultError::WrongMasterKey(_)), "{error}");
}
