-- The operator's list stands in what every MSP exports: a new list price is written for each of them, not for none.
create or replace function mark_dirty() returns trigger language plpgsql as $$
begin
    if tg_op <> 'DELETE' then
        insert into dirty (msp_id, dataset, month) select distinct msp_id, tg_table_name, 'all' from new_rows where msp_id is not null;
        insert into dirty (msp_id, dataset, month)
        select id, tg_table_name, 'all' from msps where exists (select from new_rows where msp_id is null);
    end if;
    if tg_op <> 'INSERT' then
        insert into dirty (msp_id, dataset, month) select distinct msp_id, tg_table_name, 'all' from old_rows where msp_id is not null;
        insert into dirty (msp_id, dataset, month)
        select id, tg_table_name, 'all' from msps where exists (select from old_rows where msp_id is null);
    end if;
    return null;
end
$$;
