//! Tests of who is let in, and for how long.

use std::net::SocketAddr;
use std::time::Duration;

use granary_access::{ApiKeyScope, Place};
use jiff::ToSpan;
use tokio_postgres::NoTls;
use tokio_postgres::config::SslMode;

use super::house::{COMMAND, House, connect, encrypted, one, said, tls};
use crate::Desk;
use crate::postgres::{DoorLimits, PostgresDoor};

/// One house for all: an export takes longer than everything that is asked of it.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_a_key_is_let_in_and_nobody_else() {
    let house = House::open().await;
    a_key_opens_its_msps_database_and_no_other(&house).await;
    a_stranger_a_wrong_key_and_an_ended_one_are_answered_alike(&house).await;
    a_key_that_is_revoked_asks_nothing_more(&house).await;
    with_a_certificate_nobody_is_heard_in_the_clear(&house).await;
    without_a_certificate_the_door_opens_to_this_machine_alone(&house).await;
    connections_are_bounded_for_an_msp_and_in_all(&house).await;
    who_is_silent_for_long_and_who_stays_when_the_house_closes_is_sent_away(&house).await;
    who_fails_often_waits_and_who_succeeds_is_not_counted(&house).await;
}

async fn a_key_opens_its_msps_database_and_no_other(house: &House) {
    let (key, secret) = house.key(&house.made.north, None).await;
    for user in [key.prefix.clone(), key.id.to_string()] {
        let client = connect(house.config(&user, secret.reveal()).dbname("north")).await.unwrap();
        assert_eq!(one(&client, "select current_database()").await, "north");
        assert_eq!(one(&client, "select current_user").await, user);
        assert!(one(&client, "select version()").await.starts_with("PostgreSQL 16"));
    }
    let error = connect(house.config(&key.prefix, secret.reveal()).dbname("south")).await.unwrap_err();
    assert_eq!(said(&error), "3D000 database \"south\" does not exist");
}

async fn a_stranger_a_wrong_key_and_an_ended_one_are_answered_alike(house: &House) {
    let (key, secret) = house.key(&house.made.north, None).await;
    let (other, other_secret) = house.key_with(&house.made.north, None, &[ApiKeyScope::ReportsRead]).await;
    let (ended, ended_secret) = house.key(&house.made.north, None).await;
    let at = Place { msp: Some(house.made.north.id), customer: None };
    house.access.revoke_api_key(COMMAND, at, ended.id, "gone").await.unwrap();
    for (user, password) in [
        ("grn_live_nobodyxx", secret.reveal()),
        (key.prefix.as_str(), "grn_live_wrong"),
        (key.prefix.as_str(), other_secret.reveal()),
        (other.prefix.as_str(), other_secret.reveal()),
        (ended.prefix.as_str(), ended_secret.reveal()),
    ] {
        let error = connect(&house.config(user, password)).await.unwrap_err();
        assert_eq!(said(&error), format!("28P01 password authentication failed for user \"{user}\""));
    }
    assert!(connect(&house.config(&key.prefix, secret.reveal())).await.is_ok());
}

async fn who_fails_often_waits_and_who_succeeds_is_not_counted(house: &House) {
    let (key, secret) = house.key(&house.made.north, None).await;
    // What was counted before is over.
    let clock = house.test.clock();
    clock.set(clock.now().checked_add(16.minutes()).unwrap());
    for _ in 0..49 {
        connect(&house.config(&key.prefix, "wrong")).await.unwrap_err();
    }
    for _ in 0..3 {
        connect(&house.config(&key.prefix, secret.reveal())).await.unwrap();
    }
    connect(&house.config(&key.prefix, "wrong")).await.unwrap_err();
    let error = connect(&house.config(&key.prefix, secret.reveal())).await.unwrap_err();
    assert!(said(&error).starts_with("57P03 too many attempts; try again in 15 minutes"), "{}", said(&error));
    clock.set(clock.now().checked_add(16.minutes()).unwrap());
    connect(&house.config(&key.prefix, secret.reveal())).await.unwrap();
}

async fn a_key_that_is_revoked_asks_nothing_more(house: &House) {
    let (key, secret) = house.key(&house.made.north, None).await;
    let client = connect(&house.config(&key.prefix, secret.reveal())).await.unwrap();
    assert_eq!(one(&client, "select 1").await, "1");
    client.batch_execute("begin").await.unwrap();
    let at = Place { msp: Some(house.made.north.id), customer: None };
    house.access.revoke_api_key(COMMAND, at, key.id, "leaked").await.unwrap();
    let error = client.simple_query("select 1").await.unwrap_err();
    assert_eq!(said(&error), "57P01 terminating connection: the API key is not valid any more");
    assert!(client.simple_query("select 1").await.unwrap_err().is_closed());
}

async fn with_a_certificate_nobody_is_heard_in_the_clear(house: &House) {
    let door = house.door(DoorLimits::default(), Some(tls())).await;
    let (key, secret) = house.key(&house.made.north, None).await;
    let mut config = house.config_of(&door, &key.prefix, secret.reveal());
    config.ssl_mode(SslMode::Disable);
    let error = connect(&config).await.unwrap_err();
    assert_eq!(said(&error), "28000 this door takes encrypted connections only");
    let (client, connection) = config.connect_raw(encrypted(door.address()).await, NoTls).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(one(&client, "select count(*) from lake.customers").await, "2");
}

async fn without_a_certificate_the_door_opens_to_this_machine_alone(house: &House) {
    let desk = || Desk::new(house.access.clone(), house.test.tenants().clone(), house.warehouse.clone());
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let error = PostgresDoor::open(desk(), everywhere, None, DoorLimits::default()).await.unwrap_err();
    assert!(error.to_string().contains("tls.cert") && error.to_string().contains("127.0.0.1"), "{error}");
    PostgresDoor::open(desk(), everywhere, Some(tls()), DoorLimits::default()).await.unwrap().stop().await;
}

async fn connections_are_bounded_for_an_msp_and_in_all(house: &House) {
    let limits = DoorLimits { connections: 3, connections_per_msp: 2, ..DoorLimits::default() };
    let door = house.door(limits, None).await;
    let (north, north_secret) = house.key(&house.made.north, None).await;
    let (south, south_secret) = house.key(&house.made.south, None).await;
    let (north, south) =
        (house.config_of(&door, &north.prefix, north_secret.reveal()), house.config_of(&door, &south.prefix, south_secret.reveal()));
    let first = connect(&north).await.unwrap();
    let _second = connect(&north).await.unwrap();
    assert!(said(&connect(&north).await.unwrap_err()).starts_with("53300 too many connections of this MSP"));
    let _third = connect(&south).await.unwrap();
    assert!(said(&connect(&south).await.unwrap_err()).starts_with("53300 too many connections; try again"));
    drop(first);
    // The place is free as soon as the server has noticed.
    let mut again = connect(&south).await;
    while again.is_err() {
        tokio::task::yield_now().await;
        again = connect(&south).await;
    }
}

async fn who_is_silent_for_long_and_who_stays_when_the_house_closes_is_sent_away(house: &House) {
    let limits = DoorLimits { idle: Duration::from_millis(300), ..DoorLimits::default() };
    let door = house.door(limits, None).await;
    let (key, secret) = house.key(&house.made.north, None).await;
    let (client, connection) = house.config_of(&door, &key.prefix, secret.reveal()).connect(NoTls).await.unwrap();
    let error = connection.await.unwrap_err();
    assert_eq!(said(&error), "57P05 terminating connection due to idle-session timeout");
    drop(client);
    let (_client, connection) = house.config_of(&door, &key.prefix, secret.reveal()).connect(NoTls).await.unwrap();
    let (_, ended) = tokio::join!(door.stop(), connection);
    assert_eq!(said(&ended.unwrap_err()), "57P01 terminating connection due to administrator command");
}
