//! Operations on customers and how far they came.

use granary_db::{Row, Tx};
use granary_types::{CustomerId, MspId};

use crate::error::TenantsError;
use crate::lifecycle::{OpenRun, Operation};

/// An operation that is open already is gone on with; one that ended long ago begins anew.
const INSERT_RUN: &str = "
    insert into lifecycle_runs (customer_id, msp_id, operation, actor, reason, started_at, updated_at) values ($1, $2, $3, $4, $5, $6, $6)
    on conflict (customer_id, operation) do update
    set run = lifecycle_runs.run + 1, direction = 'forward', actor = excluded.actor, reason = excluded.reason, started_at = excluded.started_at,
        updated_at = excluded.updated_at, ended_at = null, last_error = null
    where lifecycle_runs.ended_at is not null";
const LIST_OPEN_RUNS: &str = "
    select customer_id, msp_id, operation, direction, reason, updated_at, last_error
    from lifecycle_runs where ended_at is null order by started_at";
const LIST_STEPS_DONE: &str = "
    select s.step from lifecycle_steps s
    join lifecycle_runs r on r.customer_id = s.customer_id and r.operation = s.operation and r.run = s.run
    where s.customer_id = $1 and s.operation = $2 and s.state = 'done'";
const TOUCH_RUN_FORWARD: &str = "
    update lifecycle_runs set updated_at = $3, last_error = null
    where customer_id = $1 and operation = $2 and direction = 'forward'";
const UPDATE_RUN_FAILURE: &str = "
    update lifecycle_runs set updated_at = $3, last_error = $4 where customer_id = $1 and operation = $2";
const UPDATE_RUN_ENDED: &str = "
    update lifecycle_runs set updated_at = $3, ended_at = $3, last_error = null where customer_id = $1 and operation = $2";
const UPDATE_RUN_BACK: &str = "
    update lifecycle_runs set direction = 'back', updated_at = $3 where customer_id = $1 and operation = $2 and ended_at is null";
const UPSERT_STEP: &str = "
    insert into lifecycle_steps (customer_id, operation, step, state, updated_at, run)
    select customer_id, operation, $3, $4, $5, run from lifecycle_runs where customer_id = $1 and operation = $2
    on conflict (customer_id, operation, step) do update set state = excluded.state, updated_at = excluded.updated_at, run = excluded.run";
/// The parts of a silo: schema, role, somebody who may become the role, and rights on every table. The tables are those that depend
/// on the schema, for which there is an index.
const LOOK_AT_SILO: &str = "
    select array[
        n.oid is not null,
        r.oid is not null,
        exists (select 1 from pg_catalog.pg_auth_members m where m.roleid = r.oid),
        coalesce((
            select bool_and(has_table_privilege(r.oid, c.oid, 'select'))
            from pg_catalog.pg_depend d
            join pg_catalog.pg_class c on c.oid = d.objid
            where d.refclassid = 'pg_catalog.pg_namespace'::regclass and d.refobjid = n.oid and d.classid = 'pg_catalog.pg_class'::regclass
                and c.relkind = 'r' and c.relname <> 'refinery_schema_history'), false)] as parts
    from (select $1::text as schema_name, $2::text as role_name) wanted
    left join pg_catalog.pg_namespace n on n.nspname = wanted.schema_name
    left join pg_catalog.pg_roles r on r.rolname = wanted.role_name";
/// A commit that does not wait for the disk.
const FORGET_AT_WORST: &str = "set local synchronous_commit = off";
const OPEN_CUSTOMER: &str = "update customers set schema_version = $2 where id = $1 and schema_version = 0";
/// The rows that entering a customer made, and its progress, in the order that their references ask for.
const DELETE_CUSTOMER: [&str; 10] = [
    "delete from lifecycle_steps where customer_id = $1",
    "delete from lifecycle_runs where customer_id = $1",
    "delete from contacts where customer_id = $1",
    "delete from customer_limits where customer_id = $1",
    "delete from control_planes where customer_id = $1",
    "delete from sites where customer_id = $1",
    "delete from status_changes where customer_id = $1",
    "delete from contract_limits where customer_id = $1",
    "delete from contracts where customer_id = $1",
    "delete from customers where id = $1 and schema_version = 0",
];

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    INSERT_RUN,
    LIST_OPEN_RUNS,
    LIST_STEPS_DONE,
    TOUCH_RUN_FORWARD,
    UPDATE_RUN_FAILURE,
    UPDATE_RUN_ENDED,
    UPDATE_RUN_BACK,
    UPSERT_STEP,
    LOOK_AT_SILO,
    OPEN_CUSTOMER,
];

/// `$1` schema, `$2` role.
pub(crate) const DROP_SILO: &str = "
    select format('
        set local client_min_messages = warning;
        drop schema if exists %1$I cascade;
        drop role if exists %2$I', $1::text, $2::text)";

/// Enters an operation; false when it is open already.
pub(crate) async fn insert_run(
    tx: &Tx,
    (msp, customer): (MspId, CustomerId),
    operation: Operation,
    actor: &str,
    reason: Option<&str>,
) -> Result<bool, TenantsError> {
    Ok(tx.execute(INSERT_RUN, &[&customer, &msp, &operation.as_str(), &actor, &reason, &tx.now()]).await? == 1)
}

/// Lists the operations that have not ended, the oldest first.
pub(crate) async fn list_open_runs(tx: &Tx) -> Result<Vec<OpenRun>, TenantsError> {
    tx.query(LIST_OPEN_RUNS, &[]).await?.iter().map(run).collect()
}

/// Lists the steps that the present run of an operation has done.
pub(crate) async fn list_steps_done(tx: &Tx, customer: CustomerId, operation: Operation) -> Result<Vec<String>, TenantsError> {
    let rows = tx.query(LIST_STEPS_DONE, &[&customer, &operation.as_str()]).await?;
    rows.iter().map(|row| row.try_get("step").map_err(TenantsError::column)).collect()
}

/// Notes that an operation goes on; false when it is being withdrawn or is gone.
pub(crate) async fn touch_run_forward(tx: &Tx, customer: CustomerId, operation: Operation) -> Result<bool, TenantsError> {
    Ok(tx.execute(TOUCH_RUN_FORWARD, &[&customer, &operation.as_str(), &tx.now()]).await? == 1)
}

/// Notes why an operation stands still.
pub(crate) async fn update_run_failure(tx: &Tx, customer: CustomerId, operation: Operation, message: &str) -> Result<(), TenantsError> {
    tx.execute(UPDATE_RUN_FAILURE, &[&customer, &operation.as_str(), &tx.now(), &message]).await?;
    Ok(())
}

/// Notes that an operation is over.
pub(crate) async fn update_run_ended(tx: &Tx, customer: CustomerId, operation: Operation) -> Result<(), TenantsError> {
    tx.execute(UPDATE_RUN_ENDED, &[&customer, &operation.as_str(), &tx.now()]).await?;
    Ok(())
}

/// Turns an open operation back; false when it is not open.
pub(crate) async fn update_run_back(tx: &Tx, customer: CustomerId, operation: Operation) -> Result<bool, TenantsError> {
    Ok(tx.execute(UPDATE_RUN_BACK, &[&customer, &operation.as_str(), &tx.now()]).await? == 1)
}

/// Notes how far a step of an operation on a customer is.
pub(crate) async fn upsert_step(tx: &Tx, customer: CustomerId, operation: Operation, step: &str, state: &str) -> Result<(), TenantsError> {
    tx.execute(UPSERT_STEP, &[&customer, &operation.as_str(), &step, &state, &tx.now()]).await?;
    Ok(())
}

/// Looks which parts of a silo are there.
pub(crate) async fn look_at_silo(tx: &Tx, schema: &str, role: &str) -> Result<Vec<bool>, TenantsError> {
    tx.query_one(LOOK_AT_SILO, &[&schema, &role]).await?.try_get("parts").map_err(TenantsError::column)
}

/// Lets a note be lost by a crash of Postgres, for which its commit then does not wait: the step that it is of, or the end,
/// is found done and noted again. The order of commits stays.
pub(crate) async fn forget_at_worst(tx: &Tx) -> Result<(), TenantsError> {
    tx.execute(FORGET_AT_WORST, &[]).await?;
    Ok(())
}

/// Lets a customer be seen; false when it was seen already.
pub(crate) async fn open_customer(tx: &Tx, customer: CustomerId, version: i32) -> Result<bool, TenantsError> {
    Ok(tx.execute(OPEN_CUSTOMER, &[&customer, &version]).await? == 1)
}

/// Takes a customer that is not open out of the catalog.
pub(crate) async fn delete_customer(tx: &Tx, customer: CustomerId) -> Result<(), TenantsError> {
    for statement in DELETE_CUSTOMER {
        tx.execute(statement, &[&customer]).await?;
    }
    Ok(())
}

fn run(row: &Row) -> Result<OpenRun, TenantsError> {
    let get = TenantsError::column;
    let word: String = row.try_get("operation").map_err(get)?;
    Ok(OpenRun {
        customer_id: row.try_get("customer_id").map_err(get)?,
        msp_id: row.try_get("msp_id").map_err(get)?,
        operation: Operation::of_word(&word).ok_or_else(|| TenantsError::Stored(format!("'{word}' is no operation")))?,
        is_back: row.try_get::<_, &str>("direction").map_err(get)? == "back",
        reason: row.try_get("reason").map_err(get)?,
        updated_at: row.try_get("updated_at").map_err(get)?,
        last_error: row.try_get("last_error").map_err(get)?,
    })
}
