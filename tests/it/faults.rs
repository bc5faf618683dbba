//! Three faults that an operator's hand, or a bug, could leave behind in a billed month: the second road finds each with its cause.

use serde_json::Value;

use super::front_door::{House, summary};

/// One fault for each of three customers, as the owner of the database could make them. A victim has had one tier from
/// before the month: identifiers differ from run to run, and with another past a fault would be another one.
const PLANT: &str = r"
    do $$
    declare
        silo text;
        victim uuid;
    begin
        -- a machine whose runs of the month are gone
        select schema_name into strict silo from control.customers where code = 'ACME';
        perform set_config('search_path', silo, true);
        select machine_id into strict victim from backup_runs r
        where billing_on between '2025-10-01' and '2025-10-31' and state like 'completed%'
            and (select count(*) = 1 and min(valid_from) < '2025-10-01' from tier_assignments t where t.machine_id = r.machine_id)
        order by machine_id limit 1;
        delete from backup_runs where machine_id = victim and billing_on between '2025-10-01' and '2025-10-31';

        -- a tier that begins a month too late
        select schema_name into strict silo from control.customers where code = 'WAYNE';
        perform set_config('search_path', silo, true);
        select machine_id into strict victim from machine_days d
        where billing_on between '2025-10-01' and '2025-10-31' and runs_completed > 0
            and (select count(*) = 1 and min(valid_from) < '2025-10-01' from tier_assignments t where t.machine_id = d.machine_id)
        order by machine_id limit 1;
        update tier_assignments set valid_from = '2025-11-01' where machine_id = victim;

        -- a line that somebody has edited, around the trigger that refuses it
        select schema_name into strict silo from control.customers where code = 'GLOBEX';
        perform set_config('search_path', silo, true);
        alter table rated_lines disable trigger rated_lines_finalised;
        update rated_lines set amount_minor = amount_minor + 700 where period = '2025-10' and position = 1;
        alter table rated_lines enable trigger rated_lines_finalised;
    end
    $$";

fn row<'a>(found: &'a Value, customer: &str) -> &'a Value {
    found.as_array().unwrap().iter().find(|row| row["customer_code"] == customer).unwrap()
}

fn kinds(row: &Value) -> Vec<&str> {
    row["causes"].as_array().unwrap().iter().map(|cause| cause["kind"].as_str().unwrap()).collect()
}

#[test]
fn three_planted_faults_are_found_with_their_cause() {
    let house = House::empty();
    summary(&house, &["demo", "--once", "--customers", "5", "--months", "3", "--until", "2025-11-10"]);
    let reconcile = &["reconcile", "--period", "2025-10", "--format", "json"];
    let clean = house.json(reconcile);
    assert!(clean.as_array().unwrap().iter().all(|row| row["difference_minor"] == 0 && kinds(row).is_empty()), "{clean}");

    house.tamper(PLANT);
    house.ok(&["export", "run"]);
    let found = house.refused(reconcile);
    let (missing, tier, edited) = (row(&found, "ACME"), row(&found, "WAYNE"), row(&found, "GLOBEX"));
    assert_eq!((kinds(missing), missing["difference_minor"].as_i64()), (vec!["missing_run"], Some(1_000)), "{missing}");
    assert!(missing["causes"][0]["machine"].is_string() && missing["causes"][0]["day"].is_string(), "{missing}");
    assert_eq!((kinds(tier), tier["difference_minor"].as_i64()), (vec!["tier_date"], Some(2_500)), "{tier}");
    assert!(tier["causes"][0]["text"].as_str().unwrap().contains("enterprise"), "{tier}");
    assert_eq!(kinds(edited), ["edited_line", "invoice_total"], "{edited}");
    assert_eq!((edited["causes"][0]["amount_minor"].as_i64(), edited["difference_minor"].as_i64()), (Some(700), Some(0)), "{edited}");
    let clean = found.as_array().unwrap().iter().filter(|row| kinds(row).is_empty()).count();
    assert_eq!(clean + 3, found.as_array().unwrap().len(), "{found}");
}
