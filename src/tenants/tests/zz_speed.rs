use granary_db::embedded::Server;
use granary_db::{Database, DatabaseConfig};
use granary_foundation::{Secret, Silent};
use granary_tenants::*;
use granary_types::*;
use granary_vault::{Keys, MasterKey};
use jiff::civil::date;
use jiff::tz::TimeZone;
#[tokio::test(flavor = "multi_thread")]
async fn speed() {
    let folder = std::path::PathBuf::from("/tmp/h1-speed");
    std::fs::create_dir_all(&folder).unwrap();
    let t = std::time::Instant::now();
    let server = Server::start(&folder, Silent::shared()).await.unwrap();
    eprintln!("server {:?}", t.elapsed());
    let t = std::time::Instant::now();
    let config = DatabaseConfig { url: server.url().clone(), app_password: Secret::new("x"), max_connections: 16 };
    let db = Database::connect(&config, Clock::System).await.unwrap();
    eprintln!("connect {:?}", t.elapsed());
    let keys = Keys::new(db.clone(), MasterKey::load_or_create(&folder.join("master")).unwrap());
    let tenants = Tenants::new(db.clone(), keys);
    let zone = TimeZone::get("America/New_York").unwrap();
    let msp = tenants.create_msp(&NewMsp::new("N", "N", zone.clone())).await.unwrap().id;
    let t = std::time::Instant::now();
    let next = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (tenants, next, zone) = (tenants.clone(), next.clone(), zone.clone());
        set.spawn(async move {
            loop {
                let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if n >= 60 {
                    return;
                }
                let c = NewContract::new(date(2025, 1, 1), Currency::USD, Tier::Backup, 10);
                tenants.provision_customer(&NewCustomer::new(msp, format!("C{n}").parse().unwrap(), "x", zone.clone(), c)).await.unwrap();
            }
        });
    }
    while let Some(x) = set.join_next().await {
        x.unwrap();
    }
    eprintln!("60 customers {:?}", t.elapsed());
    let scope = TenantScope::for_job(tenants.get_msp(msp).await.unwrap(), tenants.list_customers(msp).await.unwrap().remove(0), "x");
    let t = std::time::Instant::now();
    for _ in 0..500 {
        let tx = tenants.begin_tenant(&scope).await.unwrap();
        tx.query("select 1 from machines limit 1", &[]).await.unwrap();
        tx.commit().await.unwrap();
    }
    eprintln!("tenant tx {:?}", t.elapsed() / 500);
    db.close();
    server.stop().await.unwrap();
}
