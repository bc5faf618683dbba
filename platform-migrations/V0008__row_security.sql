-- Who may do what in the control schema. A function, because later migrations add tables: the runner calls it after each
-- migration with the beginning of this installation's role names. Nobody but the owner may call it.
create function control.secure(prefix text) returns void language plpgsql set search_path = control, pg_temp as $$
declare
    tenants text := prefix || '_tenants';
    msp text := prefix || '_msp';
    operator text := prefix || '_operator';
    access text := prefix || '_access';
    keystore text := prefix || '_keystore';
    -- the MSP of the transaction; nothing when none was set, and then no row matches
    own_msp constant text := 'nullif(current_setting(''granary.msp_id'', true), '''')::uuid';
    listed record;
begin
    execute format('grant usage on schema control to %I, %I, %I', msp, operator, access);
    execute format('grant usage on schema outbox to %I, %I, %I', tenants, msp, operator);
    execute format('grant usage on schema keystore to %I', keystore);

    for listed in
        select c.relname as name, a.attname is not null as has_msp, not a.attnotnull as may_be_nobody
        from pg_catalog.pg_class c
        left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'msp_id' and not a.attisdropped
        where c.relnamespace = 'control'::regnamespace and c.relkind = 'r' and c.relname <> 'refinery_schema_history'
    loop
        execute format('grant select, insert, update, delete on control.%I to %I', listed.name, operator);
        execute format('alter table control.%I enable row level security', listed.name);
        execute format('alter table control.%I force row level security', listed.name);
        execute format('drop policy if exists every_row on control.%I', listed.name);
        execute format('create policy every_row on control.%I to %I using (true) with check (true)', listed.name, operator);
        if listed.has_msp then
            execute format('grant select, insert, update, delete on control.%I to %I', listed.name, msp);
            execute format('drop policy if exists own_rows on control.%I', listed.name);
            execute format('create policy own_rows on control.%I to %I using (msp_id = %s) with check (msp_id = %s)',
                listed.name, msp, own_msp, own_msp);
        end if;
    end loop;

    -- An MSP reads itself, and the operator's list of prices.
    execute format('grant select, update on control.msps to %I', msp);
    execute 'drop policy if exists own_rows on control.msps';
    execute format('create policy own_rows on control.msps to %I using (id = %s) with check (id = %s)', msp, own_msp, own_msp);
    execute 'drop policy if exists operators_rows on control.prices';
    execute format('create policy operators_rows on control.prices for select to %I using (msp_id is null)', msp);

    -- Finding out who somebody is needs these tables, and nothing else of the schema.
    for listed in select unnest(array['users', 'user_customers', 'sessions', 'api_keys']) as name loop
        execute format('grant select, insert, update, delete on control.%I to %I', listed.name, access);
        execute format('drop policy if exists for_access on control.%I', listed.name);
        execute format('create policy for_access on control.%I to %I using (true) with check (true)', listed.name, access);
    end loop;
    for listed in select unnest(array['msps', 'customers', 'control_planes']) as name loop
        execute format('grant select on control.%I to %I', listed.name, access);
        execute format('drop policy if exists for_access on control.%I', listed.name);
        execute format('create policy for_access on control.%I for select to %I using (true)', listed.name, access);
    end loop;

    -- What was done stays done: the log is only added to.
    execute format('revoke update, delete on control.audit_log from %I, %I', msp, operator);
    execute format('grant insert on control.audit_log to %I', access);
    execute 'drop policy if exists for_access on control.audit_log';
    execute format('create policy for_access on control.audit_log for insert to %I with check (true)', access);

    execute 'alter table outbox.messages enable row level security';
    execute 'alter table outbox.messages force row level security';
    execute format('grant insert on outbox.messages to %I, %I', tenants, msp);
    execute format('grant select, insert, update, delete on outbox.messages to %I', operator);
    execute 'drop policy if exists own_name on outbox.messages';
    execute format('create policy own_name on outbox.messages for insert to %I with check (role_name = current_user and msp_id is null)', tenants);
    execute 'drop policy if exists own_msp on outbox.messages';
    execute format('create policy own_msp on outbox.messages for insert to %I with check (role_name = current_user and msp_id = %s)', msp, own_msp);
    execute 'drop policy if exists every_row on outbox.messages';
    execute format('create policy every_row on outbox.messages to %I using (true) with check (true)', operator);

    execute format('grant select, insert, update, delete on all tables in schema keystore to %I', keystore);
end
$$;
revoke execute on function control.secure(text) from public;
