-- An MSP's own models beside ours. Every push is a version, and so is going back to an earlier one: nothing is changed, so that it
-- can be said of every answer which models it was asked with.
create table own_models (
    msp_id uuid not null references msps (id),
    version int not null constraint own_models_version check (version > 0),
    -- path and text of every file as it was pushed
    files jsonb not null constraint own_models_files check (jsonb_typeof(files) = 'object'),
    -- the version whose files these are again
    restores int,
    pushed_by text not null,
    pushed_at timestamptz not null,
    primary key (msp_id, version)
);

create function refuse_change_of_own_models() returns trigger language plpgsql set search_path = control, pg_temp as $$
begin
    raise exception 'version % of the models stays what it was', old.version
        using errcode = 'check_violation', constraint = 'own_models_stay', table = 'own_models';
end
$$;
create trigger own_models_stay before update or delete on own_models for each row execute function refuse_change_of_own_models();
