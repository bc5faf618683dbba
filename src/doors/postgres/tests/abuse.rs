//! Tests of clients that do not keep to the protocol: none takes the door down, and none gets more than its share.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::{NoTls, types::Type};

use super::house::{House, code, one, said};
use crate::postgres::DoorLimits;

/// What the door answers to bytes, until it closes or says nothing for a while.
async fn answered(house: &House, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(house.door.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // A door that closes while bytes are on their way resets the connection.
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.expect("the door closes");
    answer
}

/// One house for all: an export takes longer than everything that is asked of it.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_the_door_down() {
    let house = House::open().await;
    what_is_no_beginning_is_turned_away_with_a_word(&house).await;
    a_beginning_without_end_is_ended(&house).await;
    messages_in_a_wrong_order_are_errors_and_no_more(&house).await;
    random_messages_of_somebody_inside_end_nobody_else(&house).await;
    statements_and_portals_that_are_kept_are_bounded(&house).await;
    what_is_kept_is_bounded_in_bytes(&house).await;
    what_waits_to_be_sent_is_bounded(&house).await;
    no_statement_is_too_deep_for_the_door(&house).await;
    a_message_may_come_byte_by_byte(&house).await;
    nobody_calls_off_anothers_question(&house).await;
}

async fn what_is_no_beginning_is_turned_away_with_a_word(house: &House) {
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x7f\xff\xff\xff\0\x03\0\0",
        b"\0\0\0\x08\0\x02\0\0",
        b"\0\0\0\x0c\0\x03\0\0user",
        b"\0\0\0\x0d\0\x03\0\0user\0",
        b"\0\0\0\x09\0\x03\0\0\0",
    ] {
        let answer = answered(house, bytes).await;
        assert!(answer.is_empty() || answer.windows(5).any(|window| window == b"FATAL"), "{bytes:?}: {answer:?}");
    }
    let started = b"\0\0\0\x11\0\x03\0\0user\0me\0\0";
    for proof in [&b"p\0\0\0\x05x"[..], b"Q\0\0\0\x0dselect 1\0", b"p\x7f\xff\xff\xff", b"p\0\0\0\x19SCRAM-SHA-256\0\x7f\xff\xff\xffn,,"] {
        let answer = answered(house, &[started, proof].concat()).await;
        assert!(answer.windows(5).any(|window| window == b"FATAL"), "{proof:?}: {answer:?}");
    }
    let mut generator = StdRng::seed_from_u64(7);
    for _ in 0..200 {
        let mut garbage = vec![0; generator.random_range(1..2_000)];
        generator.fill(&mut garbage[..]);
        if generator.random() {
            garbage = [started, &garbage[..]].concat();
        }
        answered(house, &garbage).await;
    }
    assert_eq!(one(&house.north().await, "select 1").await, "1");
}

async fn a_beginning_without_end_is_ended(house: &House) {
    let limits = DoorLimits { handshake: Duration::from_millis(300), ..DoorLimits::default() };
    let door = house.door(limits, None).await;
    let mut stream = TcpStream::connect(door.address()).await.unwrap();
    stream.write_all(b"\0\0\0\x11\0").await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok() && answer.is_empty(), "{answer:?}");
}

/// A connection that was let in, for messages that no client sends. The library that lets itself in hands its stream over.
async fn inside(house: &House) -> (TcpStream, i32) {
    let (key, secret) = house.key(&house.made.north, None).await;
    let (mut ours, theirs) = tokio::io::duplex(64 << 10);
    let mut stream = TcpStream::connect(house.door.address()).await.unwrap();
    let config = house.config(&key.prefix, secret.reveal());
    let (ready, mut is_ready) = tokio::sync::oneshot::channel();
    let letting_in = tokio::spawn(async move {
        let client = config.connect_raw(theirs, NoTls).await.unwrap();
        ready.send(()).unwrap();
        std::future::pending::<()>().await;
        drop(client);
    });
    let (mut to, mut from) = ([0; 4096], [0; 4096]);
    let mut pid = 0;
    loop {
        tokio::select! {
            biased;
            _ = &mut is_ready => break,
            read = ours.read(&mut to) => stream.write_all(&to[..read.unwrap()]).await.unwrap(),
            read = stream.read(&mut from) => {
                let read = read.unwrap();
                if let Some(at) = from[..read].windows(5).position(|window| window == b"K\0\0\0\x0c") {
                    pid = i32::from_be_bytes(from[at + 5..at + 9].try_into().unwrap());
                }
                ours.write_all(&from[..read]).await.unwrap();
            }
        }
    }
    letting_in.abort();
    (stream, pid)
}

/// The letters of the messages that come, until the server is ready or has gone.
async fn letters(stream: &mut TcpStream) -> String {
    let mut letters = String::new();
    while let Ok(letter) = stream.read_u8().await {
        letters.push(char::from(letter));
        let length = stream.read_u32().await.unwrap();
        let mut body = vec![0; length as usize - 4];
        stream.read_exact(&mut body).await.unwrap();
        if letter == b'Z' {
            break;
        }
    }
    letters
}

fn message(letter: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[letter], &length.to_be_bytes()[..], body].concat()
}

async fn messages_in_a_wrong_order_are_errors_and_no_more(house: &House) {
    let (mut stream, _) = inside(house).await;
    let sync = message(b'S', b"");
    for (sent, expected) in [
        (message(b'B', b"\0nosuch\0\0\0\0\0\0\0"), "EZ"),
        (message(b'E', b"nosuch\0\0\0\0\0"), "EZ"),
        (message(b'D', b"Snosuch\0"), "EZ"),
        (message(b'D', b"Pnosuch\0"), "EZ"),
        (message(b'C', b"Snosuch\0"), "3Z"),
        (message(b'd', b"stray"), "Z"),
        (message(b'P', b"\0select 1; select 2\0\0\0"), "EZ"),
        (message(b'P', b"\0\0\0\0"), "1Z"),
        ([message(b'P', b"\0\0\0\0"), message(b'B', b"\0\0\0\0\0\0\0\0"), message(b'E', b"\0\0\0\0\0")].concat(), "12IZ"),
        ([message(b'P', b"\0select $1::int\0\0\0"), message(b'B', b"\0\0\0\0\0\0\0\0")].concat(), "1EZ"),
        ([message(b'P', b"\0select 1, 2\0\0\0"), message(b'B', b"\0\0\0\0\0\0\0\x03\0\0\0\0\0\0")].concat(), "1EZ"),
        ([message(b'P', b"\0select 1\0\0\0"), message(b'B', b"\0\0\0\0\0\0\0\x01\0\x07")].concat(), "1EZ"),
        ([message(b'B', b"\0nosuch\0\0\0\0\0\0\0"), message(b'P', b"\0select 1\0\0\0")].concat(), "EZ"),
    ] {
        stream.write_all(&[&sent[..], &sync].concat()).await.unwrap();
        assert_eq!(letters(&mut stream).await, expected, "{sent:?}");
    }
    stream.write_all(&message(b'Q', b"\0")).await.unwrap();
    assert_eq!(letters(&mut stream).await, "IZ");
    for broken in
        [b"Q\x7f\xff\xff\xff".to_vec(), b"Q\0\0\0\x01".to_vec(), message(b'!', b""), message(b'Q', b"\xff\0"), message(b'P', b"\0")]
    {
        let (mut stream, _) = inside(house).await;
        stream.write_all(&broken).await.unwrap();
        assert_eq!(letters(&mut stream).await, "E", "{broken:?}");
    }
    assert_eq!(one(&house.north().await, "select 1").await, "1");
}

async fn random_messages_of_somebody_inside_end_nobody_else(house: &House) {
    let mut generator = StdRng::seed_from_u64(11);
    for _ in 0..40 {
        let (mut stream, _) = inside(house).await;
        let mut sent = Vec::new();
        for _ in 0..20 {
            let mut body = vec![0; generator.random_range(0..60)];
            generator.fill(&mut body[..]);
            let letter = b"QPBDECHSXdcfp!"[generator.random_range(0..14)];
            sent.extend(message(letter, &body));
        }
        // The door may have gone before all is said.
        let _ = stream.write_all(&sent).await;
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the door answers no more");
    }
    assert_eq!(one(&house.north().await, "select 1").await, "1");
}

async fn statements_and_portals_that_are_kept_are_bounded(house: &House) {
    let mut client = house.north().await;
    let mut kept = Vec::new();
    let error = loop {
        match client.prepare_typed("select $1::int8", &[Type::INT8]).await {
            Ok(statement) => kept.push(statement),
            Err(error) => break error,
        }
        assert!(kept.len() <= 1_001);
    };
    assert_eq!((kept.len(), error.code().unwrap().code()), (1_000, "53400"));
    drop(kept);
    client.batch_execute("deallocate all").await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let statement = transaction.prepare("select 1").await.unwrap();
    let mut portals = Vec::new();
    let error = loop {
        match transaction.bind(&statement, &[]).await {
            Ok(portal) => portals.push(portal),
            Err(error) => break error,
        }
    };
    assert!(said(&error).starts_with("53400 a connection keeps at most 100 portals"), "{}", said(&error));
    drop((transaction, portals));
    assert_eq!(code(&client, &format!("select {}", "1;".repeat(200))).await, "54000");
    assert_eq!(code(&client, &format!("select {}1{}", "(".repeat(5_000), ")".repeat(5_000))).await, "42601");
    assert_eq!(
        code(&client, &format!("select 1 where {}", vec!["1 = 1"; 3_000].join(" or ")).replace(" or 1 = 1", " or (1 = nosuch)"))
            .await
            .len(),
        5
    );
    assert_eq!(one(&client, "select 1").await, "1");
}

async fn what_is_kept_is_bounded_in_bytes(house: &House) {
    let (mut stream, _) = inside(house).await;
    let sync = message(b'S', b"");
    let parse = |name: &str, sql: &str| message(b'P', &[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"].concat());
    // One place is as many as its number.
    let mut kept = 0;
    loop {
        stream.write_all(&[parse(&format!("s{kept}"), "select $65535::int"), sync.clone()].concat()).await.unwrap();
        if letters(&mut stream).await != "1Z" {
            break;
        }
        kept += 1;
        assert!(kept < 10);
    }
    stream.write_all(&[message(b'Q', b"deallocate all\0"), parse(&"n".repeat(2_000), "select 1"), sync.clone()].concat()).await.unwrap();
    assert_eq!((letters(&mut stream).await.as_str(), letters(&mut stream).await.as_str()), ("CZ", "EZ"));
    let columns: Vec<String> = (0..1_665).map(|number| format!("1 as c{number}")).collect();
    stream.write_all(&[parse("", &format!("select {}", columns.join(", "))), sync.clone()].concat()).await.unwrap();
    assert_eq!(letters(&mut stream).await, "EZ");
    // Values of one portal after another, in a transaction, which keeps them.
    stream.write_all(&message(b'Q', b"begin\0")).await.unwrap();
    assert_eq!(letters(&mut stream).await, "CZ");
    stream.write_all(&[parse("t", "select $1::text"), sync.clone()].concat()).await.unwrap();
    assert_eq!(letters(&mut stream).await, "1Z");
    let value = "x".repeat(3 << 20);
    let length = u32::try_from(value.len()).unwrap().to_be_bytes();
    let mut outcomes = Vec::new();
    for number in 0..4 {
        let body = [format!("p{number}\0t\0").as_bytes(), &[0, 0, 0, 1], &length, value.as_bytes(), &[0, 0]].concat();
        stream.write_all(&[message(b'B', &body), sync.clone()].concat()).await.unwrap();
        outcomes.push(letters(&mut stream).await);
    }
    assert_eq!(outcomes, ["2Z", "2Z", "2Z", "EZ"]);
}

/// Somebody who asks for descriptions and never says that he waits gets them nevertheless; they are not heaped up for him.
async fn what_waits_to_be_sent_is_bounded(house: &House) {
    let (mut stream, _) = inside(house).await;
    let columns: Vec<String> = (0..1_000).map(|number| format!("1 as column_{number}")).collect();
    let sql = format!("select {}", columns.join(", "));
    stream.write_all(&message(b'P', &[b"s\0", sql.as_bytes(), b"\0\0\0"].concat())).await.unwrap();
    stream.write_all(&message(b'D', b"Ss\0").repeat(20)).await.unwrap();
    let mut read = vec![0; 300_000];
    let reading = tokio::time::timeout(Duration::from_secs(30), stream.read_exact(&mut read)).await;
    assert!(reading.is_ok_and(|read| read.is_ok()), "the door sends what there is");
}

async fn no_statement_is_too_deep_for_the_door(house: &House) {
    let client = house.north().await;
    let chain = " + 1".repeat(150_000);
    // What the engine's own dialect takes for the beginning of a name ends no count.
    for sql in [format!("select 1{chain}"), format!("select 1 as `{chain}"), format!("select 1 where 'pg_' = '' and 1 = 1{chain}")] {
        assert_eq!(code(&client, &sql).await, "54001");
        let error = client.prepare(&sql).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "54001");
    }
    assert_eq!(code(&client, &format!("select '{}'", "x".repeat(2 << 20))).await, "54000");
    assert_eq!(one(&client, "select 1").await, "1");
}

async fn a_message_may_come_byte_by_byte(house: &House) {
    let (mut stream, _) = inside(house).await;
    for byte in message(b'Q', b"select 1\0") {
        stream.write_all(&[byte]).await.unwrap();
        stream.flush().await.unwrap();
    }
    assert_eq!(letters(&mut stream).await, "TDCZ");
}

async fn nobody_calls_off_anothers_question(house: &House) {
    let (mut stream, pid) = inside(house).await;
    assert_ne!(pid, 0);
    stream.write_all(&message(b'Q', b"set statement_timeout = '2s'\0")).await.unwrap();
    assert_eq!(letters(&mut stream).await, "CZ");
    let endless = b"select count(*) from generate_series(1, 100000000) as a (x), generate_series(1, 1000) as b (y) where x * y % 7 = 8\0";
    stream.write_all(&message(b'Q', endless)).await.unwrap();
    for secret in [&[0; 4][..], &[0; 32]] {
        let length = u32::try_from(12 + secret.len()).unwrap();
        let request = [&length.to_be_bytes()[..], &80_877_102_i32.to_be_bytes(), &pid.to_be_bytes(), secret].concat();
        assert!(answered(house, &request).await.is_empty(), "nothing is said about it");
    }
    assert_eq!(stream.read_u8().await.unwrap(), b'E');
    let mut body = vec![0; stream.read_u32().await.unwrap() as usize - 4];
    stream.read_exact(&mut body).await.unwrap();
    assert!(String::from_utf8_lossy(&body).contains("statement timeout"), "it went on until its own end: {body:?}");
}
