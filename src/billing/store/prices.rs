//! Versions of prices.

use granary_db::{Row, Tx};
use granary_types::{CustomerId, MspId};
use uuid::Uuid;

use super::{currency, stored};
use crate::{BillingError, Price, PriceOwner};

const LIST: &str = "
    select msp_id, customer_id, item, unit_price, currency, valid_from
    from prices
    where msp_id is null or msp_id = $1
    order by item, currency, valid_from, msp_id, customer_id";

const INSERT: &str = "
    insert into prices (id, msp_id, customer_id, item, unit_price, currency, valid_from, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8)
    on conflict do nothing";

const FIND: &str = "
    select msp_id, customer_id, item, unit_price, currency, valid_from
    from prices
    where msp_id is not distinct from $1 and customer_id is not distinct from $2 and item = $3 and currency = $4 and valid_from = $5";

/// Lists the operator's list and an MSP's own prices, every version.
pub(crate) async fn list_prices(tx: &Tx, msp: MspId) -> Result<Vec<Price>, BillingError> {
    tx.query(LIST, &[&msp]).await?.iter().map(price).collect()
}

/// Inserts a version; tells whether it is new.
pub(crate) async fn insert_price(tx: &Tx, msp: Option<MspId>, price: &Price) -> Result<bool, BillingError> {
    let code = price.currency.code();
    let id = Uuid::now_v7();
    let inserted = tx
        .execute(INSERT, &[&id, &msp, &customer(price), &price.item.as_str(), &price.unit_price, &code, &price.valid_from, &tx.now()])
        .await?;
    Ok(inserted == 1)
}

/// Finds the version that stands where another would go.
pub(crate) async fn find_price(tx: &Tx, msp: Option<MspId>, wanted: &Price) -> Result<Option<Price>, BillingError> {
    let code = wanted.currency.code();
    let row = tx.query_opt(FIND, &[&msp, &customer(wanted), &wanted.item.as_str(), &code, &wanted.valid_from]).await?;
    row.as_ref().map(price).transpose()
}

fn customer(price: &Price) -> Option<CustomerId> {
    match price.owner {
        PriceOwner::Customer(id) => Some(id),
        PriceOwner::List | PriceOwner::Msp => None,
    }
}

fn price(row: &Row) -> Result<Price, BillingError> {
    let owner = match (row.get::<_, Option<MspId>>("msp_id"), row.get("customer_id")) {
        (None, _) => PriceOwner::List,
        (Some(_), None) => PriceOwner::Msp,
        (Some(_), Some(customer)) => PriceOwner::Customer(customer),
    };
    Ok(Price {
        owner,
        item: stored("billing item", row.get("item"))?,
        unit_price: row.get("unit_price"),
        currency: currency(row.get("currency"))?,
        valid_from: row.get("valid_from"),
    })
}
