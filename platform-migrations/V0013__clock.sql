-- The clock of a demo is kept in its data directory, where it can be read before there is a database.
alter table control.installations drop column clock_at;
