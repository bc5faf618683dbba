//! Usage as of now, the events behind it, and calls of programs.

use granary_metering::{ApiCalls, EvidenceFilter, EvidencePage, Meter, list_evidence, live_usage, project_month};
use granary_types::Period;
use serde_json::json;

use super::house::{House, attempt, completed, dump, protected};

fn october() -> Period {
    "2025-10".parse().unwrap()
}

#[tokio::test]
async fn an_open_month_is_measured_at_most_once_a_minute_and_changes_nothing() {
    let house = House::new().await;
    let (tenants, scope) = (house.database.tenants(), house.customers.acme_scope());
    let clock = house.database.clock();
    clock.set("2025-10-20T12:00:00Z".parse().unwrap());
    house.take(&[protected("web-1", "backup", "2025-10-01"), completed("r1", "web-1", "2025-10-05", 5)]).await;
    let tx = house.begin(&scope).await;
    let before = dump(&tx).await;
    tx.commit().await.unwrap();
    let first = live_usage(tenants, &scope, october()).await.unwrap();
    assert_eq!((first.usage.runs_completed, first.usage.distinct.total(), first.is_closed), (1, 1.into(), false));
    let told: Vec<_> =
        first.usage.series.iter().map(|day| (day.day.day(), day.backup, day.runs_completed, day.transferred_bytes)).collect();
    assert_eq!(told.len(), 7);
    // 02:00 UTC is the evening before in New York.
    assert_eq!((told[0], told[1]), ((4, 1, 1, 5), (5, 1, 0, 0)));
    let tx = house.begin(&scope).await;
    assert_eq!(dump(&tx).await, before, "to look changes nothing");
    tx.commit().await.unwrap();

    house.take(&[completed("r2", "web-1", "2025-10-06", 5)]).await;
    clock.set("2025-10-20T12:00:59Z".parse().unwrap());
    let second = live_usage(tenants, &scope, october()).await.unwrap();
    assert_eq!((second.usage.runs_completed, second.as_of), (1, first.as_of));
    clock.set("2025-10-20T12:01:01Z".parse().unwrap());
    assert_eq!(live_usage(tenants, &scope, october()).await.unwrap().usage.runs_completed, 2);
    // Another customer's is another's.
    assert_eq!(live_usage(tenants, &house.customers.globex_scope(), october()).await.unwrap().usage.runs_completed, 0);
}

#[tokio::test]
async fn the_pages_of_events_behind_a_number_are_as_many_as_the_number() {
    let house = House::new().await;
    let scope = house.customers.acme_scope();
    let mut events = vec![protected("web-1", "backup", "2025-10-01"), protected("web-2", "backup", "2025-10-01")];
    for number in 1..=25 {
        let name = if number % 2 == 0 { "web-1" } else { "web-2" };
        events.push(completed(&format!("r{number}"), name, &format!("2025-10-{number:02}"), 5));
    }
    events.push(attempt("failed", 1, "backup.failed", "web-1", "2025-10-20", 9, &json!([])));
    // The last evening of September in New York, and the first night of November in UTC.
    events.extend([completed("before", "web-1", "2025-10-01", 5), completed("after", "web-1", "2025-11-01", 5)]);
    events[27]["id"] = json!("before");
    house.take(&events).await;
    let usage = project_month(house.database.tenants(), &scope, october()).await.unwrap();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let filter = EvidenceFilter { period: october(), meter: Meter::Runs, day: None, machine: None, after: after.clone(), limit: 7 };
        let tx = house.begin(&scope).await;
        let EvidencePage { events: page, next } = list_evidence(&tx, &filter).await.unwrap();
        tx.commit().await.unwrap();
        seen.extend(page.into_iter().map(|event| event.id));
        // A cursor goes through an address.
        let Some(next) = next else { break };
        after = Some(next.to_string().parse().unwrap());
    }
    let mut unique = seen.clone();
    unique.sort();
    unique.dedup();
    assert_eq!((seen.len(), unique.len()), (usize::try_from(usage.runs_completed + usage.runs_failed).unwrap(), seen.len()));
    let one = |day, machine: Option<&str>| EvidenceFilter {
        period: october(),
        meter: Meter::Transferred,
        day,
        machine: machine.map(str::to_owned),
        after: None,
        limit: 100,
    };
    let tx = house.begin(&scope).await;
    let EvidencePage { events, .. } = list_evidence(&tx, &one(Some("2025-10-09".parse().unwrap()), None)).await.unwrap();
    assert_eq!(events.iter().map(|event| event.id.as_str()).collect::<Vec<_>>(), ["backup.completed-r10-1"]);
    let EvidencePage { events, .. } = list_evidence(&tx, &one(None, Some("web-2"))).await.unwrap();
    assert!(events.iter().all(|event| event.data["machine"]["vendor_id"] == "web-2") && events.len() == 12, "{}", events.len());
    tx.commit().await.unwrap();
    let tx = house.begin(&house.customers.globex_scope()).await;
    assert!(list_evidence(&tx, &one(None, None)).await.unwrap().events.is_empty());
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_a_program_is_added_exactly_once() {
    let house = House::new().await;
    let tenants = house.database.tenants().clone();
    let (north, acme, globex) = (house.customers.north.clone(), house.customers.acme.id, house.customers.globex.id);
    let at = "2025-11-01T03:59:59Z".parse().unwrap();
    let (one, other) = (ApiCalls::default(), ApiCalls::default());
    let counting = (0..8).map(|task| {
        let (calls, north) = (if task % 2 == 0 { one.clone() } else { other.clone() }, north.clone());
        tokio::spawn(async move {
            for number in 0..1_000 {
                calls.count(&north, if number % 4 == 0 { globex } else { acme }, at);
                if number % 50 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    let counting: Vec<_> = counting.collect();
    for _ in 0..5 {
        one.flush(&tenants).await.unwrap();
        other.flush(&tenants).await.unwrap();
    }
    for task in counting {
        task.await.unwrap();
    }
    one.flush(&tenants).await.unwrap();
    other.flush(&tenants).await.unwrap();
    assert_eq!(one.flush(&tenants).await.unwrap(), 0, "nothing is left");
    let calls = |scope| {
        let tenants = tenants.clone();
        async move { live_usage(&tenants, &scope, "2025-10".parse().unwrap()).await.unwrap().usage.api_calls }
    };
    // One minute before November in New York.
    assert_eq!(calls(house.customers.acme_scope()).await, 6_000);
    assert_eq!(calls(house.customers.globex_scope()).await, 2_000);
    assert_eq!(calls(house.customers.south_acme_scope()).await, 0);
    let usage = project_month(&tenants, &house.customers.acme_scope(), october()).await.unwrap();
    assert_eq!(usage.api_calls, 0, "the silo knows nothing of them");
    let tx = tenants.begin_msp(&house.customers.north_scope()).await.unwrap();
    let months = granary_metering::list_customer_months(&tx, october()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(months.iter().find(|month| month.customer_id == acme).unwrap().api_calls, 6_000);
}
