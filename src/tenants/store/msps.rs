//! MSPs.

use granary_db::{Row, Tx};
use granary_types::MspId;

use crate::error::TenantsError;
use crate::msp::{Msp, NewMsp};
use crate::store::{zone, zone_name};

const INSERT: &str = "
    insert into msps (id, code, name, time_zone, currency, partner_tier, counting_rule, brand_color, logo_svg, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    on conflict (code) do nothing";
const LIST: &str = "
    select id, code, name, time_zone, currency, partner_tier, counting_rule, brand_color, logo_svg, created_at
    from msps order by code";
const FIND: &str = "
    select id, code, name, time_zone, currency, partner_tier, counting_rule, brand_color, logo_svg, created_at
    from msps where id = $1";
const FIND_BY_CODE: &str = "
    select id, code, name, time_zone, currency, partner_tier, counting_rule, brand_color, logo_svg, created_at
    from msps where code = $1";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[INSERT, LIST, FIND, FIND_BY_CODE];

/// Inserts an MSP unless its code is taken.
pub(crate) async fn insert_msp(tx: &Tx, msp: &NewMsp) -> Result<(), TenantsError> {
    let created_at = msp.created_at.unwrap_or_else(|| tx.now());
    let (zone, currency) = (zone_name(&msp.time_zone)?, msp.currency.code());
    tx.execute(
        INSERT,
        &[
            &MspId::new(),
            &msp.code,
            &msp.name,
            &zone,
            &currency,
            &msp.partner_tier,
            &msp.counting_rule,
            &msp.brand_color,
            &msp.logo_svg,
            &created_at,
        ],
    )
    .await?;
    Ok(())
}

/// Lists MSPs by code.
pub(crate) async fn list_msps(tx: &Tx) -> Result<Vec<Msp>, TenantsError> {
    tx.query(LIST, &[]).await?.iter().map(msp).collect()
}

/// Finds an MSP.
pub(crate) async fn find_msp(tx: &Tx, id: MspId) -> Result<Option<Msp>, TenantsError> {
    tx.query_opt(FIND, &[&id]).await?.as_ref().map(msp).transpose()
}

/// Finds an MSP by its code.
pub(crate) async fn find_msp_by_code(tx: &Tx, code: &str) -> Result<Option<Msp>, TenantsError> {
    tx.query_opt(FIND_BY_CODE, &[&code]).await?.as_ref().map(msp).transpose()
}

fn msp(row: &Row) -> Result<Msp, TenantsError> {
    let get = TenantsError::column;
    Ok(Msp {
        id: row.try_get("id").map_err(get)?,
        code: row.try_get("code").map_err(get)?,
        name: row.try_get("name").map_err(get)?,
        time_zone: zone(row.try_get("time_zone").map_err(get)?)?,
        currency: row.try_get::<_, &str>("currency").map_err(get)?.parse()?,
        partner_tier: row.try_get("partner_tier").map_err(get)?,
        counting_rule: row.try_get("counting_rule").map_err(get)?,
        brand_color: row.try_get("brand_color").map_err(get)?,
        logo_svg: row.try_get("logo_svg").map_err(get)?,
        created_at: row.try_get("created_at").map_err(get)?,
    })
}
