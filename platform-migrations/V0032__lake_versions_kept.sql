-- A label names a version for good: what a labelled version needs is kept.
alter table lake_versions add constraint lake_versions_label_unique unique (msp_id, label);

-- Versions before `kept_from` may have lost files, unless they are labelled; those before `whole_from` have lost the MSP's own, labelled or
-- not, because they held rows of a customer that was erased.
alter table lake_heads
    add column kept_from bigint not null default 0,
    add column whole_from bigint not null default 0;
