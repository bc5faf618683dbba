//! The log, tried on a real database with a mail server that does what it is told.

use std::sync::{Arc, Mutex};

use granary_foundation::Boxed;
use granary_test_support::TestDatabase;
use granary_types::{Classify, ErrorKind, UserId};
use granary_vault::Owner;
use uuid::Uuid;

use crate::delivery::{Delivered, MailState, Mailer, Recipient};
use crate::notice::{Link, Notice, Words};
use crate::smtp::{Post, PostError};
use crate::{NotificationError, store};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A mail server that fails as it is told, and notes what it took.
#[derive(Debug, Default)]
struct Fake {
    faults: Mutex<Vec<PostError>>,
    taken: Mutex<Vec<Uuid>>,
}

impl Post for Fake {
    fn send<'a>(&'a self, id: Uuid, _: &'a Recipient, words: &'a Words) -> Boxed<'a, Result<(), PostError>> {
        Box::pin(async move {
            assert!(words.text.contains(SECRET));
            if let Some(fault) = self.faults.lock().unwrap().pop() {
                return Err(fault);
            }
            self.taken.lock().unwrap().push(id);
            Ok(())
        })
    }
}

fn invitation() -> Notice {
    let link =
        Link { url: format!("https://granary.example/password?token={SECRET}"), expires_at: "2025-11-17T12:00:00Z".parse().unwrap() };
    Notice::Invitation { house: "Northern Backup".to_owned(), name: "Ada".to_owned(), by: None, link }
}

async fn to(test: &TestDatabase) -> (Recipient, Owner) {
    let made = test.two_customers().await;
    let (msp, customer) = (Some(made.north.id), Some(made.acme.id));
    let to = Recipient { user: UserId::new(), msp, customer, email: "ada@acme.example".to_owned(), name: "Ada".to_owned() };
    (to, Owner::Customer(made.acme.id))
}

#[tokio::test]
async fn every_statement_fits_the_schema() {
    let test = TestDatabase::new().await;
    let client = test.superuser().await;
    client.batch_execute("set search_path to control").await.unwrap();
    for sql in store::STATEMENTS {
        client.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
}

#[tokio::test]
async fn a_mail_is_tried_again_until_it_is_taken_and_never_sent_twice() {
    let test = TestDatabase::new().await;
    let (to, _) = to(&test).await;
    let fake = Arc::new(Fake::default());
    *fake.faults.lock().unwrap() = vec![PostError::Refused("550 no such user".to_owned()), PostError::NotNow("421 busy".to_owned())];
    let mailer = Mailer::new(test.database().clone(), test.keys().clone(), Some(fake.clone()));
    let (id, notice) = (Uuid::now_v7(), invitation());
    assert_eq!(mailer.deliver(id, &to, &notice).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let logged = mailer.list(10).await.unwrap().remove(0);
    assert_eq!(
        (logged.state, logged.last_error.as_deref(), logged.to.as_str()),
        (MailState::Waiting, Some("421 busy"), "ada@acme.example")
    );
    assert_eq!(mailer.deliver(id, &to, &notice).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(mailer.list(10).await.unwrap()[0].state, MailState::Failed);
    // Somebody gave the dead job another life.
    assert_eq!(mailer.deliver(id, &to, &notice).await.unwrap(), Delivered::Sent);
    for _ in 0..3 {
        assert_eq!(mailer.deliver(id, &to, &notice).await.unwrap(), Delivered::Before);
    }
    assert_eq!(*fake.taken.lock().unwrap(), [id]);
    let logged = mailer.list(10).await.unwrap();
    assert_eq!((logged.len(), logged[0].state, logged[0].attempts, &logged[0].last_error), (1, MailState::Sent, 3, &None));
    assert!(matches!(mailer.show(id).await, Err(NotificationError::WordsGone(_))), "a door-opener is not kept");
}

#[tokio::test]
async fn without_a_mail_server_letters_are_kept_sealed_for_the_operator() {
    let test = TestDatabase::new().await;
    let (to, owner) = to(&test).await;
    let mailer = Mailer::new(test.database().clone(), test.keys().clone(), None);
    let id = Uuid::now_v7();
    assert_eq!(mailer.deliver(id, &to, &invitation()).await.unwrap(), Delivered::Kept);
    assert_eq!(mailer.deliver(id, &to, &invitation()).await.unwrap(), Delivered::Before);
    assert!(mailer.show(id).await.unwrap().text.contains(SECRET));
    assert!(matches!(mailer.show(Uuid::nil()).await, Err(NotificationError::UnknownMail(_))));
    // The operator's own people belong to no MSP.
    let operator = Recipient { msp: None, customer: None, ..to.clone() };
    mailer.deliver(Uuid::now_v7(), &operator, &invitation()).await.unwrap();
    assert_eq!(mailer.list(10).await.unwrap().len(), 2);

    let row = test.superuser().await.query_one("select string_agg(m::text, ' ') from control.mails m", &[]).await.unwrap();
    let stored: String = row.get(0);
    for plain in [SECRET, "ada@acme.example", "Northern Backup"] {
        assert!(
            !stored.contains(plain) && !stored.contains(&plain.bytes().map(|byte| format!("{byte:02x}")).collect::<String>()),
            "{plain}"
        );
    }
    // With the customer's key its letters are gone; the log goes on.
    test.keys().destroy(owner).await.unwrap();
    assert!(mailer.show(id).await.is_err());
    assert_eq!(mailer.list(10).await.unwrap().len(), 1);
}
