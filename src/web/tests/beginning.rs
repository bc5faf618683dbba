//! What pages say of months and customers of which there is nothing to say yet.

use axum::http::StatusCode;
use granary_tenants::{NewContract, NewCustomer, NewMsp};
use granary_types::{Currency, Period, Role, Tier};
use jiff::tz::TimeZone;

use super::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_msp_is_told_what_comes_next() {
    let house = House::open().await;
    let (tenants, zone) = (house.test.tenants(), TimeZone::get("America/New_York").unwrap());
    let east = tenants.create_msp(&NewMsp::new("EAST", "Eastern Backup", zone.clone())).await.unwrap();
    let admin = house.user(Role::MspAdmin, &east, None).await;
    let months = [
        ("/", "Nothing has been billed yet"),
        ("/customers", "No customers yet"),
        ("/invoices", "Nothing has been billed yet"),
        ("/reconciliation", "Nothing has been billed yet"),
    ];
    for (path, words) in months {
        let answer = house.get(path, &admin).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        assert!(answer.body.contains(words), "{path}: {}", answer.body);
    }
    let open = Period::containing(house.test.clock().now(), &zone);
    let contract = NewContract::new(open.first_day(), Currency::USD, Tier::Backup, 1_000);
    let first = NewCustomer::new(east.id, "FIRST".parse().unwrap(), "The first one", zone.clone(), contract);
    tenants.provision_customer(&first).await.unwrap();
    assert!(house.get("/customers", &admin).await.body.contains("href=\"/customers/FIRST\""));
    let page = house.get("/customers/FIRST", &admin).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    assert!(page.body.contains("No machines in ") && page.body.contains(&open.to_string()), "{}", page.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_month_is_no_difference_and_a_time_before_the_customer_no_report() {
    let house = House::open().await;
    let admin = house.user(Role::MspAdmin, &house.made.north, None).await;
    let page = house.get("/reconciliation?period=2025-11", &admin).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    let (_, main) = page.body.split_once("<main").unwrap();
    assert!(main.contains("open, not yet billed") && !main.contains("chip bad"), "{main}");
    let billed = house.get("/reconciliation?period=2025-10", &admin).await;
    assert!(billed.body.contains("agrees to the cent"), "{}", billed.body);

    let refused = house.get("/reports/ACME/2019-01.pdf", &admin).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND, "{}", refused.body);
    assert!(refused.body.contains("ACME was not a customer in 2019-01"), "{}", refused.body);
    let before = house.get("/customers/ACME?period=2019-01", &admin).await;
    assert!(before.body.contains("Not a customer in this month"), "{}", before.body);
    let missing = house.get("/explore?period=2025-10", &admin).await;
    assert_eq!(missing.status, StatusCode::BAD_REQUEST);
    assert!(missing.body.contains("view") && !missing.body.contains("eserializ"), "{}", missing.body);
}
