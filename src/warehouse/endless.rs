//! Tests of statements that would not end: each stops when its time is over or nobody waits for it, and leaves nothing behind.

use std::time::{Duration, Instant};

use futures::StreamExt;
use granary_types::{CustomerId, Role};
use serde_json::json;

use crate::fixture::{Shed, datasets, grant, models};
use crate::{Session, WarehouseError};

/// What one query may take.
const TIME: Duration = Duration::from_millis(300);
/// How much longer it may take to notice.
const GRACE: Duration = Duration::from_secs(1);

/// Statements that multiply rows, repeat steps or work long on few rows.
const ENDLESS: [&str; 27] = [
    "with recursive t as (select 1 as n union all select n + 1 from t) select count(*) from t",
    "with recursive t as (select 1 as n union all select n from t) select n from t",
    "with recursive t as (select 1 as n union all select n + 1 from t) select * from t as a, t as b where a.n < 0",
    "select count(*) from range(100000000) as a, range(100000) as b, range(100000) as c",
    "select a.value from range(1000000) as a, range(1000000) as b where a.value * b.value = -1",
    "select a.value from range(3000000) as a join range(3000000) as b on a.value + b.value < 0",
    "select a.value from range(3000000) as a left join range(3000000) as b on a.value + b.value < 0",
    "select a.value from range(1000000) as a join range(1000000) as b on a.value % 1 = b.value % 1 where a.value + b.value < 0",
    "select a.value from range(1000000) as a full join range(1000000) as b on a.value % 2 = b.value % 2 and a.value * b.value < 0",
    "select count(*) from range(1000000) as a where exists (select 1 from range(1000000) as b where a.value * b.value < 0)",
    "select count(*) from range(100000000) as a where a.value not in (select b.value * 2 from range(100000000) as b)",
    "select max(a.value) from range(100000000000) as a",
    "select count(distinct a.value % 10) from range(100000000000) as a",
    "select a.value from range(100000000000) as a order by a.value % 7 desc limit 1",
    "select sum(a.value) over (order by a.value rows between unbounded preceding and unbounded following) from range(1000000000) as a",
    "select max(n) from (select row_number() over (order by a.value % 3) as n from range(1000000000) as a)",
    "select max(length(s)) from (select string_agg('x', ',') over (order by a.value) as s from range(300000) as a)",
    "select max(m) from (select median(a.value) over (order by a.value) as m from range(1000000) as a)",
    "select max(m) from (select approx_percentile_cont(0.9) within group (order by a.value) over (order by a.value) as m from range(9000000) as a)",
    "select max(m[1]) from (select array_agg(a.value) over (order by a.value) as m from range(1000000) as a)",
    "select count(*) from range(1000000000) as a where levenshtein(repeat('a', 100) || a.value, repeat('b', 100)) < 0",
    "select count(*) from range(1000000000) as a where length(replace(repeat('ab', 500) || a.value, 'a', repeat('x', 20))) < 0",
    "select max(m) from (select count(distinct a.value) over (order by a.value rows between 100000 preceding and current row) as m from range(1000000) as a)",
    "select count(*) from range(1000000000) as a where regexp_like(repeat('a', 200) || a.value, '^(([a-z])+.)+[A-Z]([a-z])+$')",
    "select count(*) from range(100000000) as a cross join unnest([1, 2, 3, 4, 5, 6, 7, 8]) as u (x), range(100000) as c where a.value + u.x + c.value < 0",
    "select a.value from range(1000000000) as a union select b.value * 2 from range(1000000000) as b intersect select c.value * 3 from range(1000000000) as c",
    "select h.received from lake.heartbeats as h, range(1000000000) as a, range(1000) as b where h.received * a.value < b.value - 10000",
];

fn shed() -> Shed {
    let mut shed = Shed::new(datasets(), models());
    let row = |day: i32| json!({"source": "dc1", "service_on": format!("2025-10-{day:02}"), "received": 90, "expected": 96, "last_at": "2025-10-01T23:45:00Z"});
    shed.write_rows("heartbeats", Some((CustomerId::new(), "ACME")), "2025-10", &(1..=9).map(row).collect::<Vec<_>>());
    shed.budget.time = TIME;
    shed
}

/// Waits until nothing is left of any query; tells how long that took, or none.
async fn quiet(shed: &Shed) -> Option<Duration> {
    let begun = Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(5));
    while shed.engine.running() > 0 {
        if begun.elapsed() > Duration::from_secs(20) {
            return None;
        }
        look.tick().await;
    }
    Some(begun.elapsed())
}

async fn ask(session: &Session, sql: &'static str) -> Result<usize, WarehouseError> {
    let session = session.clone();
    tokio::spawn(async move { session.query(sql).await.map(|batches| batches.len()) }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_statement_that_would_not_end_ends_in_time_and_leaves_nothing_running() {
    let shed = shed();
    let session = shed.session(&grant(Role::MspAdmin, None)).await.unwrap();
    let mut wrong = Vec::new();
    for sql in ENDLESS {
        let begun = Instant::now();
        let answer = ask(&session, sql).await;
        let told = begun.elapsed();
        let rest = quiet(&shed).await;
        println!("{told:?} then {rest:?}: {sql}: {answer:?}");
        let is_named = matches!(&answer, Err(WarehouseError::Budget { .. })) || matches!(&answer, Err(WarehouseError::Query(_)));
        if told > TIME + GRACE || rest.is_none_or(|rest| rest > GRACE) || !is_named {
            wrong.push(format!("{sql}: {answer:?} after {told:?}, and {rest:?} for the rest"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_query_ends_when_its_reader_leaves() {
    let mut shed = shed();
    shed.budget.time = Duration::from_secs(600);
    let session = shed.session(&grant(Role::MspAdmin, None)).await.unwrap();
    for sql in ENDLESS {
        // Those that refuse at once are as good.
        let Ok(question) = session.question(sql).await else { continue };
        let Ok((_, mut rows)) = session.stream(question).await else { continue };
        let _ = tokio::time::timeout(Duration::from_millis(50), rows.next()).await;
        drop(rows);
        let rest = quiet(&shed).await;
        assert!(rest.is_some_and(|rest| rest < GRACE), "{sql}: {rest:?}");
    }
}

#[tokio::test]
async fn the_clock_stands_still_while_the_reader_reads() {
    let shed = shed();
    let session = shed.session(&grant(Role::MspAdmin, None)).await.unwrap();
    let question = session.question("select a.value from range(1000000) as a").await.unwrap();
    let (_, mut rows) = session.stream(question).await.unwrap();
    let first = rows.next().await.unwrap().unwrap();
    // The reader takes longer over the first batch than the query may take for all.
    let begun = Instant::now();
    while begun.elapsed() < TIME * 2 {
        std::hint::black_box(first.num_rows());
    }
    let mut count = first.num_rows();
    while let Some(batch) = rows.next().await {
        count += batch.unwrap().num_rows();
    }
    assert_eq!(count, 1_000_000);
}

#[tokio::test]
async fn one_query_does_not_take_the_memory_of_all() {
    let mut shed = shed();
    shed.budget.time = Duration::from_secs(60);
    shed.budget.query_bytes = 24 << 20;
    shed.budget.spill_bytes = 1 << 40;
    let session = shed.session(&grant(Role::MspAdmin, None)).await.unwrap();
    let error = session.query("select a.value from range(3000000) as a join range(3000000) as b on a.value = b.value").await.unwrap_err();
    assert_eq!(error.to_string(), "the query exceeds the warehouse's memory budget of 24 MiB");
    let sorted = session
        .query("select count(*) from (select row_number() over (order by a.value % 1000) as n from range(2000000) as a) where n > 1")
        .await;
    assert!(sorted.is_ok(), "what can spill does: {sorted:?}");
}
