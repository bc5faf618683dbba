//! Backups of the installation: made, listed, pruned, shipped on, restored.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use granary_db::plan_control;
use granary_foundation::{Config, Silent};
use granary_recovery::{Backups, Keep, Made, Making, RecoveryError, Restoring, Shipped, Shipping, make, restore, ship};
use granary_types::Clock;
use granary_vault::MasterKey;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::arguments::{Backup, BackupCommand, Global, Restore};
use super::files::Named;
use super::house::{self, DemoFile, House, Rooms, configuration};
use super::output::{Rows, print_json};
use super::progress::Reporter;
use super::{Failure, Usage};

/// How often the log is shipped: what a loss of the machine may cost.
const INTERVAL: Duration = Duration::from_secs(60);

pub(crate) async fn backup(global: &Global, command: Backup) -> Result<ExitCode, Failure> {
    let config = configuration(global)?;
    match (command.command, command.to) {
        (Some(BackupCommand::List { from, format }), _) => {
            let (bases, damaged) = existing(&config, &from)?.list().await?;
            let rows: Vec<_> = bases
                .iter()
                .map(|base| {
                    let manifest = &base.manifest;
                    json!({"base": manifest.base, "from_at": manifest.from_at, "until_at": base.until_at, "size_bytes": manifest.size_bytes(),
                           "postgres": manifest.postgres, "schema_version": manifest.schema_version, "granary": manifest.granary,
                           "master": manifest.envelope.master, "not_covered": manifest.not_covered.join(" ")})
                })
                .collect();
            let columns = ["base", "from_at", "until_at", "size_bytes", "postgres", "schema_version", "granary", "master", "not_covered"];
            Rows::of(&columns, &rows).print(format)?;
            damaged.iter().for_each(|error| say!("{error}"));
            Ok(if damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        (Some(BackupCommand::Prune { from, keep }), _) => {
            let pruned = existing(&config, &from)?.prune(Keep::Newest(keep.into()), Clock::System.now()).await?;
            print_json(&pruned)?;
            Ok(ExitCode::SUCCESS)
        }
        (Some(BackupCommand::Ship), _) => {
            let shipped = ship_once(&config).await?;
            print_json(&shipped)?;
            Ok(ExitCode::SUCCESS)
        }
        (None, Some(to)) => {
            let made = make_one(&config, &to).await?;
            for cluster in &made.not_covered {
                say!("cluster {cluster} is a server of its own and not in the backup: back it up by its own means");
            }
            print_json(&made)?;
            Ok(ExitCode::SUCCESS)
        }
        (None, None) => Err(Usage("name where backups lie with --to".to_owned()).into()),
    }
}

/// Opens a store that is only read: a folder that is mistyped must not be made.
pub(crate) fn existing(config: &Config, url: &str) -> Result<Backups, Failure> {
    if let Some(path) = url.strip_prefix("file://")
        && !Path::new(path).is_dir()
    {
        return Err(RecoveryError::NoBackup(url.to_owned()).into());
    }
    Ok(Backups::open(url, &config.lake.s3)?)
}

/// Backs up the house without opening it: whatever its version, it stays as it is, so that there is a way back from an upgrade.
async fn make_one(config: &Config, to: &str) -> Result<Made, Failure> {
    house::must_stand(config)?;
    let progress = Reporter::shared().port();
    let (server, url) = house::postgres(config, &progress).await?;
    let spool = server.as_ref().map(granary_db::embedded::Server::spool);
    let work = async {
        let missing = plan_control(&url).await?.1;
        let data_dir = std::fs::canonicalize(&config.data_dir).named("find the data directory", &config.data_dir)?;
        let demo = DemoFile::read(&config.data_dir)?.map(|demo| serde_json::to_string_pretty(&demo)).transpose()?;
        let making = Making {
            url: &url,
            spool: spool.as_ref(),
            to: &Backups::open(to, &config.lake.s3)?,
            s3: &config.lake.s3,
            master: &house::master(config, &data_dir.join("keys/master"))?,
            lake_url: house::lake_url(config, &data_dir),
            demo,
            not_covered: config.clusters.keys().cloned().collect(),
            keep_days: config.leaving.backup_days,
            progress: &progress,
        };
        let made = make(&making).await?;
        // The log of a house of another version is not ours to write.
        if missing.is_empty() {
            let house = House::open_with(config.clone(), Silent::shared()).await?;
            let noted = house.note(None, None, "backup.make", &format!("backup:{}", made.base), &json!({"until_at": made.until_at})).await;
            house.close().await?;
            noted?;
        }
        Ok::<_, Failure>(made)
    };
    let outcome = work.await;
    if let Some(server) = server {
        server.stop().await?;
    }
    outcome
}

async fn ship_once(config: &Config) -> Result<Option<Shipped>, Failure> {
    house::must_stand(config)?;
    let (server, url) = house::postgres(config, &Silent::shared()).await?;
    let Some(server) = server else {
        return Err(Usage("the log of a Postgres of your own is archived by its own means".to_owned()).into());
    };
    let work = async {
        let master = house::master(config, &config.data_dir.join("keys/master"))?;
        let shipping = Shipping { url: &url, spool: &server.spool(), s3: &config.lake.s3, master: &master, since: None };
        Ok::<_, Failure>(ship(&shipping).await?)
    };
    let outcome = work.await;
    server.stop().await?;
    match outcome? {
        Some(shipped) => Ok(Some(shipped)),
        None => Err(Usage("no backup was made of this house yet; make one with granary backup --to URL".to_owned()).into()),
    }
}

/// Ships the log every minute, once a backup was made, until it is told to stop.
pub(crate) fn keep_shipping(rooms: &Rooms, mut stopped: watch::Receiver<bool>) -> Option<JoinHandle<()>> {
    let (url, spool) = rooms.archive.clone()?;
    let config = Arc::clone(&rooms.config);
    Some(tokio::spawn(async move {
        let mut mark: Option<String> = None;
        while tokio::time::timeout(INTERVAL, stopped.wait_for(|is_stopped| *is_stopped)).await.is_err() {
            let work = async {
                let master = house::master(&config, &config.data_dir.join("keys/master"))?;
                let shipping = Shipping { url: &url, spool: &spool, s3: &config.lake.s3, master: &master, since: mark.as_deref() };
                Ok::<_, Failure>(ship(&shipping).await?)
            };
            match work.await {
                Ok(shipped) => mark = shipped.map(|shipped| shipped.mark),
                Err(error) => tracing::error!(%error, "the log could not be shipped; it waits in the spool beside the database"),
            }
        }
    }))
}

/// Finds the master that opens a backup: never makes one. Tells from which file it comes, when that is not in `data_dir`.
pub(crate) fn master_of(config: &Config, named: Option<&Path>, data_dir: &Path) -> Result<MasterKey, Failure> {
    let file = named.map_or_else(|| data_dir.join("keys/master"), Path::to_owned);
    if named.is_some() || (config.keys.master.is_none() && config.keys.kms.is_none()) {
        if !file.is_file() {
            return Err(RecoveryError::NoMaster(data_dir.to_owned()).into());
        }
        return Ok(MasterKey::load_or_create(&file)?);
    }
    house::master(config, &file)
}

pub(crate) async fn run_restore(global: &Global, command: Restore) -> Result<ExitCode, Failure> {
    let config = configuration(global)?;
    let named = command.master_key.as_deref();
    let restoring = Restoring {
        from: &existing(&config, &command.from)?,
        at: command.at,
        data_dir: &config.data_dir,
        master: &master_of(&config, named, &config.data_dir)?,
        master_file: named,
        lake_url: config.lake.url.as_deref(),
        progress: &Reporter::shared().port(),
    };
    let restored = restore(&restoring).await?;
    if restored.is_lake_there == Some(false) {
        say!("the lake is not at {}: bring it back there, or name where it is as lake.url of the configuration", restored.lake_url);
    }
    if config.database.url.is_some() {
        say!("GRANARY_DATABASE_URL, or database.url, leads elsewhere: without it the restored database is opened");
    }
    for cluster in &restored.not_covered {
        say!("cluster {cluster} was not in the backup: restore it by its own means");
    }
    print_json(&restored)?;
    Ok(ExitCode::SUCCESS)
}
