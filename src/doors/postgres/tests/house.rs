//! A house with two MSPs whose customers share codes, exported, and its doors.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use granary_access::{Access, ApiKey, ApiKeyScope, Manager, NewApiKey};
use granary_foundation::{Secret, Silent};
use granary_lake::Lake;
use granary_tenants::{Customer, Msp};
use granary_test_support::{TestDatabase, TwoCustomers};
use granary_warehouse::{Budget, Warehouse};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::Desk;
use crate::postgres::{Acceptor, DoorLimits, PostgresDoor};

pub(super) const COMMAND: Manager<'static> = Manager::Command("test");
const CERTIFICATE: &[u8] = include_bytes!("../../../../tests/data/tls/first.pem");
const PRIVATE: &[u8] = include_bytes!("../../../../tests/data/tls/first.key");

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(super) struct House {
    pub(super) test: TestDatabase,
    pub(super) made: TwoCustomers,
    pub(super) access: Access,
    pub(super) lake: Lake,
    pub(super) warehouse: Warehouse,
    pub(super) door: PostgresDoor,
}

impl House {
    pub(super) async fn open() -> Self {
        let test = TestDatabase::new().await;
        let made = test.two_customers().await;
        let access = Access::new(test.tenants().clone());
        let datasets =
            [granary_tenants::DATASETS, granary_metering::DATASETS, granary_billing::DATASETS, granary_intelligence::DATASETS].concat();
        let lake = Lake::new(test.tenants().clone(), test.keys().clone(), test.objects().clone(), datasets);
        let warehouse = Warehouse::new(lake.clone(), Budget::default()).unwrap();
        lake.export_night("2025-11-10".parse().unwrap(), Silent::shared()).await.unwrap();
        let desk = Desk::new(access.clone(), test.tenants().clone(), warehouse.clone());
        let door = PostgresDoor::open(desk, LOCAL, None, DoorLimits::default()).await.unwrap();
        Self { test, made, access, lake, warehouse, door }
    }

    /// Opens one door more.
    pub(super) async fn door(&self, limits: DoorLimits, tls: Option<Acceptor>) -> PostgresDoor {
        self.door_to(&self.warehouse, limits, tls).await
    }

    /// Opens a door to a warehouse with other budgets.
    pub(super) async fn door_to(&self, warehouse: &Warehouse, limits: DoorLimits, tls: Option<Acceptor>) -> PostgresDoor {
        let desk = Desk::new(self.access.clone(), self.test.tenants().clone(), warehouse.clone());
        PostgresDoor::open(desk, LOCAL, tls, limits).await.unwrap()
    }

    /// A key of an MSP, or of one of its customers.
    pub(super) async fn key(&self, msp: &Msp, customer: Option<&Customer>) -> (ApiKey, Secret) {
        self.key_with(msp, customer, &[ApiKeyScope::Sql]).await
    }

    pub(super) async fn key_with(&self, msp: &Msp, customer: Option<&Customer>, scopes: &[ApiKeyScope]) -> (ApiKey, Secret) {
        let key = NewApiKey {
            msp_id: msp.id,
            customer_id: customer.map(|customer| customer.id),
            control_plane_id: None,
            name: "analyst".to_owned(),
            scopes: scopes.to_vec(),
            expires_at: None,
            requests_per_minute: None,
        };
        self.access.create_api_key(COMMAND, &key).await.unwrap()
    }

    pub(super) fn config(&self, user: &str, password: &str) -> Config {
        self.config_of(&self.door, user, password)
    }

    pub(super) fn config_of(&self, door: &PostgresDoor, user: &str, password: &str) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(door.address().port()).user(user).password(password);
        config
    }

    /// Lets somebody in with a key of NORTH.
    pub(super) async fn north(&self) -> Client {
        self.north_by(&self.door).await
    }

    pub(super) async fn north_by(&self, door: &PostgresDoor) -> Client {
        let (key, secret) = self.key(&self.made.north, None).await;
        connect(&self.config_of(door, &key.prefix, secret.reveal())).await.unwrap()
    }

    /// Lets somebody in with a key of NORTH's ACME.
    pub(super) async fn acme(&self) -> Client {
        self.acme_by(&self.door).await
    }

    pub(super) async fn acme_by(&self, door: &PostgresDoor) -> Client {
        let (key, secret) = self.key(&self.made.north, Some(&self.made.acme)).await;
        connect(&self.config_of(door, &key.prefix, secret.reveal())).await.unwrap()
    }
}

pub(super) async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Returns what the door accepts with.
pub(super) fn tls() -> Acceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from_pem_slice(PRIVATE).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()], key)
        .unwrap();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Arc::new(move || acceptor.clone())
}

/// Asks for encryption as clients do, and begins it.
pub(super) async fn encrypted(address: SocketAddr) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'S');
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CERTIFICATE).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
}

/// The rows of a text of statements, each as its values.
pub(super) async fn rows(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {}", said(&error)));
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

/// The one value of an answer.
pub(super) async fn one(client: &Client, sql: &str) -> String {
    let rows = rows(client, sql).await;
    assert_eq!((rows.len(), rows[0].len()), (1, 1), "{sql}: {rows:?}");
    rows[0][0].clone().unwrap_or_default()
}

/// The code and message of an error of the server.
pub(super) fn said(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| format!("{} {}", error.code().code(), error.message()))
}

/// The code with which a statement fails.
pub(super) async fn code(client: &Client, sql: &str) -> String {
    match client.simple_query(sql).await {
        Ok(answer) => panic!("{sql} was answered: {answer:?}"),
        Err(error) => error.code().unwrap_or_else(|| panic!("{sql}: {error}")).code().to_owned(),
    }
}
