//! What the chain costs a commit.
//!
//! `cargo bench -p granary-tenants --bench audit` runs on a server of its own with fsync on: transactions with one audit entry
//! under the chain, beside the same transactions that only insert the row, in turns on one connection; then twenty writers on one
//! chain, who wait for its head, beside twenty who do not. Prints what was measured, the peer, and their ratio.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot go on has failed, and it prints")]

use std::time::{Duration, Instant};

use granary_tenants::{TenantScope, Tenants};
use granary_test_support::TestDatabase;
use serde_json::json;

const ROUNDS: usize = 1_000;
const WRITERS: usize = 20;
const SECONDS: u64 = 5;
const PLAIN: &str = "
    insert into audit_log (actor, action, subject, detail, reason, happened_at) values ('system:bench', 'bench', 'customer:ACME', '{\"a\": 1}', 'why', now())";

#[derive(Clone, Copy)]
enum How {
    Plain,
    Chained,
}

fn main() {
    // `cargo test --benches` passes --test: a promise is measured only when somebody asks.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let test = TestDatabase::alone(WRITERS + 4).await;
        let them = test.two_customers().await;
        println!("{:<60} {:>10} {:>10} {:>6}", "promise", "chained", "plain", "ratio");
        let (tenants, scope) = (test.tenants(), them.acme_scope());
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (index, how) in [How::Chained, How::Plain].into_iter().enumerate() {
                times[index].push(commit(tenants, &scope, how).await.as_secs_f64() * 1e3);
            }
        }
        let [chained, plain] = times.map(median);
        println!("{:<60} {chained:>10.2} {plain:>10.2} {:>6.2}", "one commit with an audit entry, median ms", chained / plain);
        let chained = together(tenants, &scope, How::Chained).await;
        let plain = together(tenants, &scope, How::Plain).await;
        println!("{:<60} {chained:>10.0} {plain:>10.0} {:>6.2}", "20 writers on one chain, commits a second", chained / plain);
    });
}

async fn commit(tenants: &Tenants, scope: &TenantScope, how: How) -> Duration {
    let begun = Instant::now();
    let tx = tenants.begin_tenant(scope).await.unwrap();
    match how {
        How::Plain => {
            tx.execute(PLAIN, &[]).await.unwrap();
        }
        How::Chained => tx.record_audit("bench", "customer:ACME", &json!({"a": 1}), Some("why")).await.unwrap(),
    }
    tx.commit().await.unwrap();
    begun.elapsed()
}

/// Commits a second of writers at once.
async fn together(tenants: &Tenants, scope: &TenantScope, how: How) -> f64 {
    let begun = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (tenants, scope) = (tenants.clone(), scope.clone());
            tokio::spawn(async move {
                let mut committed = 0_u32;
                while begun.elapsed() < Duration::from_secs(SECONDS) {
                    commit(&tenants, &scope, how).await;
                    committed += 1;
                }
                committed
            })
        })
        .collect();
    let mut committed = 0;
    for writer in writers {
        committed += writer.await.unwrap();
    }
    f64::from(committed) / begun.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
