-- A month of a large tenant lies in one file a day until it settles: a file's place in the manifest is (dataset, month, part). The part
-- is empty for a file that holds its month, or its dataset, alone. A program from before this knows no parts: it replaces all of a
-- month's at once, which is right.
alter table lake_files
    add column part text not null default '',
    -- the columns by which the file's rows are in ascending order, nulls last, texts by their bytes; empty when nobody can say
    add column sorted_by text[] not null default '{}';

drop index lake_files_current;
create unique index lake_files_current on lake_files (
    msp_id, coalesce(customer_id, '00000000-0000-0000-0000-000000000000'), dataset, month, part) where removed_version is null;
-- Which months lie in days is asked every night, of everybody at once.
create index lake_files_days on lake_files (msp_id) where removed_version is null and part <> '';
