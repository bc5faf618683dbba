-- The customer's own log becomes a chain, as the control schema's are: every record carries a keyed digest over itself and the
-- digest before it, and the row of `audit_head` is its end. What was written before is counted, and covered by one digest over
-- who did what and when.
alter table audit_log
    add column sequence bigint constraint audit_log_sequence unique,
    add column salt bytea,
    add column words_digest bytea,
    add column previous_digest bytea,
    add column digest bytea;

create table audit_head (
    id int primary key constraint audit_head_is_single check (id = 1),
    sequence bigint not null,
    digest bytea,
    older bigint not null,
    older_digest bytea
);

insert into audit_head (id, sequence, older, older_digest)
select 1, 0, count(*), sha256(convert_to(string_agg(concat_ws(' ', id, '-', actor, action, (extract(epoch from happened_at) * 1000000)::bigint), chr(10) order by id), 'UTF8'))
from audit_log having count(*) > 0;
