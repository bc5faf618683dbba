-- Erasing a customer is code now. Rules of retention never became code: their table goes.
drop table retention_rules;

-- What customers that have gone had billed goes to the lake like everything else of an MSP.
create trigger erased_totals_inserted after insert on erased_totals referencing new table as new_rows
    for each statement execute function mark_dirty();
create trigger erased_totals_updated after update on erased_totals referencing old table as old_rows new table as new_rows
    for each statement execute function mark_dirty();

-- The audit log is only added to. Of a customer that was erased it keeps who did what and when; the words, which may name
-- people and places, can be taken out, and nothing can be put in.
create function refuse_change_of_audit() returns trigger language plpgsql set search_path = control, pg_temp as $$
begin
    if to_jsonb(new) - array['subject', 'detail', 'reason'] is distinct from to_jsonb(old) - array['subject', 'detail', 'reason']
        or new.subject <> 'customer:' || old.customer_id or new.detail <> '{}' or new.reason is not null
        or not exists (select from customers where id = old.customer_id and status = 'erased')
    then
        raise exception 'the audit log is only added to'
            using errcode = 'check_violation', constraint = 'audit_log_only_grows', table = 'audit_log';
    end if;
    return new;
end
$$;
create trigger audit_log_only_grows before update on audit_log for each row execute function refuse_change_of_audit();

alter function control.secure(text) rename to secure_tables;
create function control.secure(prefix text) returns void language plpgsql set search_path = control, pg_temp as $$
begin
    perform secure_tables(prefix);
    execute format('grant update (subject, detail, reason) on control.audit_log to %I', prefix || '_operator');
end
$$;
revoke execute on function control.secure(text) from public;
