-- A backup system proves itself by a key pair of its own: with a code that works once it hands over the public half.

create table enrolment_codes (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    customer_id uuid not null references customers (id),
    control_plane_id uuid not null references control_planes (id),
    code_hash bytea not null constraint enrolment_codes_hash_unique unique,
    created_at timestamptz not null,
    created_by text not null,
    expires_at timestamptz not null,
    -- used, replaced or taken back
    used_at timestamptz
);
create index enrolment_codes_plane on enrolment_codes (control_plane_id);

create table control_plane_keys (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    customer_id uuid not null references customers (id),
    control_plane_id uuid not null references control_planes (id),
    -- so that an exchange whose answer was lost can be repeated
    code_id uuid not null references enrolment_codes (id),
    public_key bytea not null,
    enrolled_at timestamptz not null,
    last_used_at timestamptz,
    revoked_at timestamptz
);
create unique index control_plane_keys_live on control_plane_keys (control_plane_id) where revoked_at is null;
create index control_plane_keys_customer on control_plane_keys (customer_id);

alter function control.secure(text) rename to secure_before_enrolment;
create function control.secure(prefix text) returns void language plpgsql set search_path = control, pg_temp as $$
declare
    access text := prefix || '_access';
    listed record;
begin
    perform secure_before_enrolment(prefix);
    for listed in select unnest(array['enrolment_codes', 'control_plane_keys']) as name loop
        execute format('grant select, insert, update, delete on control.%I to %I', listed.name, access);
        execute format('drop policy if exists for_access on control.%I', listed.name);
        execute format('create policy for_access on control.%I to %I using (true) with check (true)', listed.name, access);
    end loop;
end
$$;
revoke execute on function control.secure(text) from public;
