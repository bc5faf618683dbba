//! The sheet of customers: a CSV file with a header, a line a customer. Every fault of it is found before anything is done.

use std::fmt::Display;
use std::str::FromStr;

use granary_billing::Item;
use granary_tenants::{ContactKind, Contract, ControlPlane, Customer, Msp, NewContact, NewContract, NewCustomer, TRIAL_DAYS};
use granary_types::{Currency, CustomerCode, CustomerStatus, Money, Tier, UnitPrice};
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde::Serialize;

/// The columns that a sheet may have. The first two must be there and filled; whatever else is missing or empty is as in
/// `granary customer add`.
pub(crate) const COLUMNS: [&str; 34] = [
    "customer_code",
    "company_name",
    "status",
    "since",
    "time_zone",
    "country",
    "region",
    "deployment",
    "vertical",
    "plan_tier",
    "currency",
    "months",
    "notice_days",
    "contracted_vms",
    "max_vms",
    "storage_gb",
    "minimum",
    "discount_percent",
    "tax_percent",
    "payment_terms_days",
    "billing_channel",
    "premium_support",
    "white_label",
    "source",
    "main_name",
    "main_email",
    "main_phone",
    "billing_name",
    "billing_email",
    "price_backup",
    "price_enterprise",
    "price_replication",
    "price_storage_gb",
    "opening_balance",
];

/// The columns of prices, and what they price.
const PRICES: [(&str, Item); 4] = [
    ("price_backup", Item::MachineBackup),
    ("price_enterprise", Item::MachineEnterprise),
    ("price_replication", Item::MachineReplication),
    ("price_storage_gb", Item::StorageOverage),
];

/// What is wrong with a sheet, and where: the header is line 1.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    pub(crate) line: u64,
    pub(crate) column: String,
    pub(crate) problem: String,
}

/// A customer of the sheet.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) customer: NewCustomer,
    pub(crate) contacts: Vec<NewContact>,
    /// Prices of its own, in force from the month in which it began.
    pub(crate) prices: Vec<(Item, UnitPrice)>,
    /// What it owes today; below zero it has that to its credit.
    pub(crate) opening_balance: Option<Money>,
    /// The columns that are filled.
    stated: Vec<String>,
}

impl Line {
    /// Says in what a customer that is there differs from what the line states.
    pub(crate) fn difference(&self, standing: &Customer, first: &Contract, planes: &[ControlPlane]) -> Option<String> {
        if matches!(standing.status, CustomerStatus::Closed | CustomerStatus::Erased) {
            return Some(format!("is {}", standing.status));
        }
        let (new, terms) = (&self.customer, &self.customer.contract);
        let zone = |zone: &TimeZone| zone.iana_name().unwrap_or("UTC").to_owned();
        let count = |count: Option<i32>| count.map_or_else(|| "open".to_owned(), |count| count.to_string());
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let sources = planes.iter().map(|plane| plane.source.as_str()).collect::<Vec<_>>().join(", ");
        let source = new.control_planes.first().map_or("", |(_, source)| source);
        let money = |minor| Money::new(minor, first.currency).to_string();
        [
            ("company_name", standing.name.clone(), new.name.clone()),
            ("time_zone", zone(&standing.time_zone), zone(&new.time_zone)),
            ("country", standing.country.clone(), new.country.clone()),
            ("region", standing.region.clone(), new.region.clone()),
            ("deployment", standing.deployment.to_string(), new.deployment.to_string()),
            ("vertical", text(&standing.vertical), text(&new.vertical)),
            ("since", first.starts_on.to_string(), terms.starts_on.to_string()),
            ("plan_tier", first.default_tier.to_string(), terms.default_tier.to_string()),
            ("currency", first.currency.to_string(), terms.currency.to_string()),
            ("months", first.months.to_string(), terms.months.to_string()),
            ("notice_days", first.notice_days.to_string(), terms.notice_days.to_string()),
            ("contracted_vms", count(first.contracted_machines), count(terms.contracted_machines)),
            ("max_vms", count(first.machine_limit), count(terms.machine_limit)),
            ("storage_gb", first.storage_limit_gib.to_string(), terms.storage_limit_gib.to_string()),
            ("minimum", money(first.minimum_minor), money(terms.minimum_minor)),
            ("discount_percent", first.discount_percent.normalize().to_string(), terms.discount_percent.normalize().to_string()),
            ("tax_percent", first.tax_percent.normalize().to_string(), terms.tax_percent.normalize().to_string()),
            ("payment_terms_days", first.payment_terms_days.to_string(), terms.payment_terms_days.to_string()),
            ("billing_channel", first.billing_channel.to_string(), terms.billing_channel.to_string()),
            ("premium_support", first.has_premium_support.to_string(), terms.has_premium_support.to_string()),
            ("white_label", first.has_white_label.to_string(), terms.has_white_label.to_string()),
            ("source", if planes.iter().any(|plane| plane.source == source) { source.to_owned() } else { sources }, source.to_owned()),
        ]
        .into_iter()
        .find(|(column, stands, given)| stands != given && self.stated.iter().any(|stated| stated == column))
        .map(|(column, stands, given)| format!("its {column} is '{stands}', not '{given}'"))
    }
}

/// Reads a sheet. `today` is when customers begin that do not say since when they are there.
pub(crate) fn read(content: &[u8], msp: &Msp, today: Date) -> Result<Vec<Line>, Vec<Fault>> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    // The reader counts lines by their ends, and of two-character ends it counts one too late.
    let content: Vec<u8> = content
        .iter()
        .enumerate()
        .filter(|&(at, byte)| *byte != b'\r' || content.get(at + 1) != Some(&b'\n'))
        .map(|(_, byte)| *byte)
        .collect();
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(content.as_slice());
    let header = reader.headers().cloned().map_err(|error| vec![unreadable(&error)])?;
    let mut faults = faults_of_header(&header);
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut lines: Vec<Line> = Vec::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                faults.push(unreadable(&error));
                break;
            }
        };
        let mut cells = Cells { header: &header, record: &record, faults: &mut faults };
        let Some(line) = line(&mut cells, msp, today) else { continue };
        if let Some(other) = lines.iter().find(|other| other.customer.code == line.customer.code) {
            cells.refuse("customer_code", format!("{} stands in line {} already", line.customer.code, other.number));
        }
        lines.push(line);
    }
    if lines.is_empty() && faults.is_empty() {
        faults.push(Fault { line: 1, column: String::new(), problem: "the sheet has no customers".to_owned() });
    }
    if faults.is_empty() { Ok(lines) } else { Err(faults) }
}

fn unreadable(error: &csv::Error) -> Fault {
    let line = error.position().map_or(1, csv::Position::line);
    let problem = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "the text is not UTF-8: save the sheet as CSV UTF-8".to_owned(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => format!("the line has {len} fields, and the header has {expected_len}"),
        _ => error.to_string(),
    };
    Fault { line, column: String::new(), problem }
}

fn faults_of_header(header: &csv::StringRecord) -> Vec<Fault> {
    let fault = |column: &str, problem: String| Fault { line: 1, column: column.to_owned(), problem };
    let mut faults = Vec::new();
    if let Some(sign) = [';', '\t'].into_iter().find(|sign| header.len() == 1 && header.iter().any(|name| name.contains(*sign))) {
        return vec![fault("", format!("columns are separated by commas, not by {sign:?}"))];
    }
    for (index, name) in header.iter().enumerate() {
        if !COLUMNS.contains(&name) {
            faults.push(fault(name, format!("there is no such column; those there are: {}", COLUMNS.join(", "))));
        } else if header.iter().take(index).any(|earlier| earlier == name) {
            faults.push(fault(name, "the column stands twice".to_owned()));
        }
    }
    for name in COLUMNS.iter().take(2).filter(|name| !header.iter().any(|column| column == **name)) {
        faults.push(fault(name, "the column is needed".to_owned()));
    }
    faults
}

/// The cells of one line, and the faults that are found in them.
struct Cells<'a> {
    header: &'a csv::StringRecord,
    record: &'a csv::StringRecord,
    faults: &'a mut Vec<Fault>,
}

impl Cells<'_> {
    fn number(&self) -> u64 {
        self.record.position().map_or(0, csv::Position::line)
    }

    fn refuse(&mut self, column: &str, problem: impl Display) {
        let line = self.number();
        self.faults.push(Fault { line, column: column.to_owned(), problem: problem.to_string() });
    }

    fn text(&self, column: &str) -> Option<String> {
        let index = self.header.iter().position(|name| name == column)?;
        self.record.get(index).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    fn needed(&mut self, column: &str) -> Option<String> {
        let text = self.text(column);
        if text.is_none() {
            self.refuse(column, "it is empty");
        }
        text
    }

    fn read<T>(&mut self, column: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(column)?;
        parse(&text).map_err(|problem| self.refuse(column, format!("'{text}': {problem}"))).ok()
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self, column: &str) -> Option<T> {
        self.read(column, |text| text.parse().map_err(|error: T::Err| error.to_string()))
    }

    /// An amount that the currency can express.
    fn amount(&mut self, column: &str, currency: Currency) -> Option<Money> {
        let amount: Decimal = self.parsed(column)?;
        if amount.normalize().scale() > currency.exponent() {
            self.refuse(column, format!("{amount} has more places than {currency} has"));
            return None;
        }
        Money::from_decimal(amount, currency).map_err(|error| self.refuse(column, error)).ok()
    }

    fn contact(&mut self, kind: ContactKind) -> Option<NewContact> {
        let column = |what: &str| format!("{}_{what}", kind.as_str());
        let (name, email, phone) = (self.text(&column("name")), self.text(&column("email")), self.text(&column("phone")));
        match (name, email) {
            (None, None) if phone.is_none() => None,
            (name, Some(email)) => Some(NewContact { kind, name: name.unwrap_or_else(|| email.clone()), email, phone }),
            (_, None) => {
                self.refuse(&column("email"), "it is empty, and a contact needs one");
                None
            }
        }
    }
}

fn line(cells: &mut Cells<'_>, msp: &Msp, today: Date) -> Option<Line> {
    let (code, name) = (cells.needed("customer_code"), cells.needed("company_name"));
    let code = code.and_then(|_| cells.parsed::<CustomerCode>("customer_code"));
    let since = cells.parsed("since").unwrap_or(today);
    if since > today {
        cells.refuse("since", format!("{since} has not come yet"));
    }
    let status = cells.parsed("status").unwrap_or(CustomerStatus::Active);
    if status == CustomerStatus::Trial && since < today.saturating_sub(TRIAL_DAYS.days()) {
        cells.refuse("since", format!("a trial lasts {TRIAL_DAYS} days, and this one would be over"));
    }
    let zone = cells.read("time_zone", |name| TimeZone::get(name).map_err(|_| "no time zone such as America/New_York".to_owned()));
    let zone = zone.unwrap_or_else(|| msp.time_zone.clone());
    let contract = contract(cells, msp, since);
    let contacts = [ContactKind::Main, ContactKind::Billing].into_iter().filter_map(|kind| cells.contact(kind)).collect();
    let prices = PRICES.into_iter().filter_map(|(column, item)| Some((item, price(cells, column)?))).collect();
    let opening_balance = cells.amount("opening_balance", contract.currency);
    let (number, new) = (cells.number(), NewCustomer::new(msp.id, code?, name?, zone, contract));
    let customer = NewCustomer {
        status,
        country: cells.text("country").unwrap_or(new.country),
        region: cells.text("region").unwrap_or(new.region),
        deployment: cells.parsed("deployment").unwrap_or(new.deployment),
        vertical: cells.text("vertical"),
        created_at: since.to_zoned(msp.time_zone.clone()).map(|zoned| zoned.timestamp()).ok(),
        control_planes: cells.text("source").map(|source| ("control plane".to_owned(), source)).into_iter().collect(),
        ..new
    };
    let stated = COLUMNS.into_iter().filter(|column| cells.text(column).is_some()).map(str::to_owned).collect();
    Some(Line { number, customer, contacts, prices, opening_balance, stated })
}

fn contract(cells: &mut Cells<'_>, msp: &Msp, since: Date) -> NewContract {
    let currency = cells.parsed("currency").unwrap_or(msp.currency);
    let storage_gib = cells.parsed("storage_gb").unwrap_or(1_024);
    let new = NewContract::new(since, currency, cells.parsed("plan_tier").unwrap_or(Tier::Backup), storage_gib);
    NewContract {
        months: cells.parsed("months").unwrap_or(new.months),
        notice_days: cells.parsed("notice_days").unwrap_or(new.notice_days),
        contracted_machines: cells.parsed("contracted_vms"),
        machine_limit: cells.parsed("max_vms"),
        minimum_minor: cells.amount("minimum", currency).map_or(new.minimum_minor, |minimum| minimum.amount_minor),
        discount_percent: cells.parsed("discount_percent").unwrap_or(new.discount_percent),
        tax_percent: cells.parsed("tax_percent").unwrap_or(new.tax_percent),
        payment_terms_days: cells.parsed("payment_terms_days").unwrap_or(new.payment_terms_days),
        billing_channel: cells.parsed("billing_channel").unwrap_or(new.billing_channel),
        has_premium_support: cells.read("premium_support", yes_or_no).unwrap_or(new.has_premium_support),
        has_white_label: cells.read("white_label", yes_or_no).unwrap_or(new.has_white_label),
        ..new
    }
}

fn price(cells: &mut Cells<'_>, column: &str) -> Option<UnitPrice> {
    let price: UnitPrice = cells.parsed(column)?;
    if price.is_sign_negative() {
        cells.refuse(column, "a price cannot be negative");
        return None;
    }
    Some(price)
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err("write yes or no".to_owned()),
    }
}
