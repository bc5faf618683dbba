//! Every number leads to the events that make it, and to no others.

use granary_metering::{EvidenceFilter, Meter, list_evidence, measure, rebuild_days};
use serde_json::json;

use super::house::{House, attempt, completed, event, protected};

/// The ids of the events behind a number, two a page.
async fn behind(house: &House, period: &str, meter: Meter) -> Vec<String> {
    let tx = house.begin(&house.customers.acme_scope()).await;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let filter = EvidenceFilter { period: period.parse().unwrap(), meter, day: None, machine: None, after, limit: 2 };
        let page = list_evidence(&tx, &filter).await.unwrap();
        found.extend(page.events.into_iter().map(|event| event.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    tx.commit().await.unwrap();
    found
}

#[tokio::test]
async fn corrections_decide_what_is_behind_a_number() {
    let house = House::new().await;
    house.database.clock().set("2025-12-01T12:00:00Z".parse().unwrap());
    let amended = |id: &str, event_id: &str, run: &str, day: &str| {
        let data = completed(run, "web-1", day, 7)["data"].clone();
        let amendment = json!({"event_id": event_id, "type": "backup.completed", "time": format!("{day}T03:00:00Z"), "data": data});
        event(id, "event.amended", "2025-11-05T00:00:00Z", amendment)
    };
    let voided = |id: &str, event_id: &str| event(id, "event.voided", "2025-11-06T00:00:00Z", json!({"event_id": event_id}));
    let disks = json!([{"index": 0, "size_bytes": 10, "transferred_bytes": 5, "state": "completed"}]);
    house
        .take(&[
            protected("web-1", "backup", "2025-09-01"),
            completed("kept", "web-1", "2025-10-02", 5),
            completed("voided", "web-1", "2025-10-03", 5),
            completed("amended", "web-1", "2025-10-04", 5),
            completed("twice", "web-1", "2025-10-05", 5),
            // It failed on the last evening of October in New York, and completed in November.
            attempt("again", 1, "backup.failed", "web-1", "2025-11-01", 2, &json!([])),
            attempt("again", 2, "backup.completed", "web-1", "2025-11-01", 10, &disks),
            voided("v", "backup.completed-voided-1"),
            amended("a", "backup.completed-amended-1", "amended", "2025-09-04"),
            amended("b", "backup.completed-twice-1", "twice", "2025-09-05"),
            voided("w", "b"),
            amended("nobody", "of an event that never came", "kept", "2025-10-02"),
        ])
        .await;
    let tx = house.begin(&house.customers.acme_scope()).await;
    for (period, runs, ids) in [
        ("2025-09", 1, &["a"][..]),
        ("2025-10", 2, &["backup.completed-kept-1", "backup.completed-twice-1"]),
        ("2025-11", 1, &["backup.completed-again-2", "backup.failed-again-1"]),
    ] {
        let month = period.parse().unwrap();
        rebuild_days(&tx, month, month).await.unwrap();
        let usage = measure(&tx, month).await.unwrap();
        assert_eq!(usage.runs_completed + usage.runs_failed, runs, "{period}");
        for meter in [Meter::Runs, Meter::Machines, Meter::Transferred] {
            assert_eq!(behind(&house, period, meter).await, ids, "{period} {meter}");
        }
    }
    tx.rollback().await.unwrap();
}

#[tokio::test]
async fn instants_that_only_some_can_read_stop_nobody_from_looking() {
    let house = House::new().await;
    let mut run = completed("r", "web-1", "2025-10-02", 5);
    run["data"]["ended_at"] = json!("2025-10-02T05:00:00+02:00[Europe/Berlin]");
    let ticket = json!({"ticket_id": "t", "priority": "low", "opened_at": "20251003T100000Z"});
    let closed = json!({"ticket_id": "u", "priority": "low", "opened_at": "2025-10-03T11:00:00Z", "closed_at": "2025-10-04T10:00:00Z"});
    house
        .take(&[
            protected("web-1", "backup", "2025-09-01"),
            run,
            event("t", "ticket.opened", "2025-10-03T10:00:00Z", ticket),
            event("u", "ticket.closed", "2025-10-04T10:00:00Z", closed),
        ])
        .await;
    assert_eq!(behind(&house, "2025-10", Meter::Runs).await, ["backup.completed-r-1"]);
    assert_eq!(behind(&house, "2025-10", Meter::Tickets).await, ["t", "u"]);
}
