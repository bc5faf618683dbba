-- Statements that somebody sends who wants more than his own: one a line, run at every door as an analyst confined to ACME. Under
-- "refused" none may be answered; under "harmless" each may be answered or refused, and shows nothing of anybody else; under "expanded"
-- the same holds, and {n*text} stands for a text n times. A heading is "-- ", the section, ":" and a remark. No statement may end
-- the process, take much longer than the budget of time, or be answered with an error that is ours. Written for Granary; Apache-2.0.

-- refused: changes of rows
insert into stg_metering__machines values (1)
insert into lake.machines select * from lake.machines
insert into invoice_lines (customer_code) values ('ACME')
update lake.machines set name = 'x'
update invoice_lines set amount_minor = 0 where customer_code = 'ACME'
delete from lake.machines
delete from invoice_lines where true
truncate table lake.machines
merge into lake.machines as m using lake.machines as n on m.id = n.id when matched then delete
insert overwrite lake.machines select * from lake.machines
replace into lake.machines values (1)
with gone as (delete from lake.machines returning *) select * from gone
with new as (insert into lake.machines values (1) returning *) select * from new
explain analyze delete from lake.machines
explain insert into lake.machines select * from lake.machines

-- refused: changes of the catalog
create table mine as select * from lake.machines
create table mine (id int)
create or replace table invoice_lines as select 1 as n
create temporary table mine as select 1 as n
create unbounded external table mine (a int) stored as csv location '/tmp/x'
create view mine as select * from lake.machines
create or replace view invoice_lines as select 1 as n
create materialized view mine as select 1
create schema mine
create schema if not exists lake
create database mine
create index i on lake.machines (id)
create function f(int) returns int return $1 + 1
create function f(text) returns text language plpython3u as 'import os'
create role eve login superuser
create user eve password 'x'
create extension dblink
create server s foreign data wrapper postgres_fdw
create trigger t before insert on machines execute function f()
create type t as enum ('a')
create sequence s
create secret s (type s3, key_id 'x', secret 'y')
create macro m(a) as a + 1
drop table lake.machines
drop table if exists invoice_lines
drop view invoice_lines
drop schema lake cascade
drop schema public
drop database granary
drop function sum
alter table lake.machines add column x int
alter table lake.machines rename to machines2
alter view invoice_lines as select 1
alter schema lake rename to mine
alter role current_user superuser
alter system set log_statement = 'all'
alter session set role = 'msp_admin'
comment on table lake.machines is 'x'
grant all on lake.machines to public
revoke all on lake.machines from public

-- refused: files and other machines
create external table passwd stored as csv location '/etc/passwd'
create external table passwd stored as csv location 'file:///etc/passwd' options ('has_header' 'false')
create external table far stored as parquet location 's3://bucket/key'
create external table far stored as parquet location 'http://169.254.169.254/latest/meta-data'
create external table all_files stored as parquet location 'granary://lake/'
create external table arrow stored as arrow location '/tmp/x.arrow'
create external table avro stored as avro location '/tmp/x.avro'
create external table json stored as json location '/proc/self/environ'
copy lake.machines to '/tmp/stolen.csv'
copy (select * from lake.machines) to '/tmp/stolen.parquet' stored as parquet
copy (select 1) to 's3://bucket/stolen.csv'
copy (select 1) to program 'curl http://127.0.0.1/'
copy lake.machines from '/etc/passwd'
copy lake.machines to stdout
copy (select 1) to stdout with (format csv)
export database 'x'
import database 'x'
attach 'other.db' as other
attach '/etc/passwd' as x (type sqlite)
detach lake
load 'httpfs'
install httpfs
select * from '/etc/passwd'
select * from "/etc/passwd"
select * from 'file:///etc/passwd'
select * from '/proc/self/environ'
select * from 'keys/master'
select * from 'https://example.com/x.parquet'
select * from 's3://bucket/x.parquet'
select * from 'granary://lake/'
select * from "granary://lake/machines"
select * from read_csv('/etc/passwd')
select * from read_csv_auto('/etc/passwd')
select * from read_parquet('/tmp/*.parquet')
select * from read_json('/proc/self/environ')
select * from read_text('/etc/passwd')
select * from read_blob('/etc/passwd')
select * from glob('/etc/*')
select * from parquet_metadata('/tmp/x.parquet')
select * from parquet_scan('/tmp/x.parquet')
select * from csv('/etc/passwd')
select * from s3('http://127.0.0.1/x')
select * from url('http://127.0.0.1/x')
select * from file('/etc/passwd')
select * from dblink('host=127.0.0.1', 'select 1') as t(a int)
select pg_read_file('/etc/passwd')
select pg_read_binary_file('/etc/passwd')
select pg_ls_dir('/')
select pg_stat_file('/etc/passwd')
select lo_import('/etc/passwd')
select lo_export(1, '/tmp/x')
select load_extension('x')
select query_to_xml('select 1', true, true, '')
select database_to_xml(true, true, '')
select http_get('http://127.0.0.1/')
select sys_exec('id')
select system('id')
select getenv('GRANARY_MASTER_KEY')
select current_setting('data_directory')

-- refused: more than a question
select 1; select 2
select 1; drop table lake.machines
select 1;; select 2
begin
begin; select 1; commit
commit
rollback
savepoint a
start transaction isolation level serializable
lock table lake.machines
prepare p as select 1
execute p
deallocate p
declare c cursor for select 1
fetch all from c
listen x
notify x
unlisten *
vacuum
analyze
checkpoint
cluster
reindex database granary
discard all
call f()
do $$ begin perform 1; end $$
kill 1
shutdown
use lake
use granary.lake
set role msp_admin
set session authorization postgres
set search_path = public
set datafusion.execution.batch_size = 1
set datafusion.catalog.information_schema = true
set datafusion.catalog.location = '/etc'
set datafusion.runtime.memory_limit = '64G'
set datafusion.execution.target_partitions = 4096
set datafusion.sql_parser.dialect = 'mysql'
set variable x = 1
set time zone 'UTC'
reset all
reset datafusion.runtime.memory_limit
pragma table_info('machines')
;

-- refused: what is not in the catalog
select * from machines
select * from control.customers
select * from public.customers
select * from postgres.control.users
select * from users
select * from api_keys
select * from sessions
select * from tenant_keys
select * from lake_files
select * from margin
select * from margin_by_month
select * from health_scores where false union all select * from margin
select * from stg_billing__statement_lines
select * from stg_billing__statements
select * from granary.lake.statement_lines
select * from granary.warehouse.margin
select * from other.lake.machines
select * from "granary"."lake"."../machines"
select * from lake."machines/../../x"
select * from pg_shadow
select * from pg_authid
select * from pg_stat_activity
select * from pg_settings
select * from pg_file_settings
select * from mysql.user
select * from sqlite_master
select * from duckdb_secrets()
select * from system.runtime.queries
(table margin)
select (select count(*) from margin)
select exists (select from margin)
with margin_too as (select * from margin) select * from margin_too

-- refused: broken
select
select from from
select * from (((((
select 'unterminated
select "unterminated from x
select $$unterminated
select 1 /* unterminated
select * from lake.machines where
selec * from lake.machines
select * from lake.machines order by
select unknown_function(1)
select no_such_column from lake.machines
select sum(name) from lake.machines
select cast('x' as no_such_type)
select ?
select $1
select :name
select @@version

-- harmless: all that one may read, and what stands beside it
select * from lake.machines
select * from granary.lake.machines
select * from stg_metering__machines where customer_code = 'GLOBEX'
select * from stg_metering__machines where customer_code <> 'ACME' or true
select * from stg_metering__machines where customer_id is not null
select * from stg_metering__machines where 1 = 1 -- and customer_code = 'ACME'
select * from stg_metering__machines /* where customer_code = 'ACME' */
select * from lake.machines as a cross join lake.machines as b
select * from lake.machines union all select * from lake.machines
select * from (select * from lake.machines) as x full join lake.machines as y on false
select * from lake.customers
select * from lake.status_changes
select * from stg_tenants__customers
select * from stg_tenants__msps
select * from lake.msps
select * from stg_tenants__contracts
select * from invoice_lines
select * from usage_by_customer_month
select * from machine_months
select * from mrr_movements
select * from revenue_by_month
select * from service_levels
select * from customer_months
select count(*), count(distinct customer_code) from stg_metering__backup_runs
select customer_code, count(*) from stg_metering__backup_runs group by rollup (customer_code)
select distinct customer_id from lake.backup_runs
select min(name), max(name) from lake.machines
select approx_distinct(customer_code) from stg_metering__machines
select array_agg(name) from lake.machines
select string_agg(name, ',') from lake.machines
select lag(name) over (order by name), lead(name) over (order by name) from lake.machines
select name from lake.machines order by random() limit 1000
select name from lake.machines offset 0 limit all
select regexp_replace(name, 'ACME', 'GLOB' || 'EX') as name from lake.machines where false
select arrow_typeof(name) from lake.machines
select * from information_schema.tables
select * from information_schema.columns
select * from information_schema.views
select * from information_schema.df_settings
select * from information_schema.schemata
select * from information_schema.routines
select * from information_schema.parameters
show tables
show columns from lake.machines
show all
show functions
show datafusion.execution.batch_size
describe lake.machines
explain select * from lake.machines
explain verbose select * from lake.machines
explain analyze select * from lake.machines
explain format tree select * from lake.machines
explain analyze verbose select * from lake.machines
select version()
select current_user, session_user
select current_catalog, current_schema
select now(), current_date
select uuid(), random()
select 1/0
select cast(9223372036854775807 as bigint) + 1
select 1e308 * 10
select cast('nan' as double)
select cast('9999-12-31' as date) + interval '1 year'
select to_timestamp('99999-01-01')
select date_trunc('century', timestamp '0001-01-01')
select make_date(2025, 13, 45)
select chr(0)
select chr(1114112)
select repeat('x', 1000)
select lpad('x', 1000, 'y')
select encode('x', 'hex'), decode('ff', 'hex')
select E'\u0000'
select U&'\0000'
select 'Robert''); drop table students;--'
select '<script>alert(1)</script>' as "<img src=x onerror=alert(1)>"
select '=cmd|'' /C calc''!A0' as formula
select 1 as "customer_id", 'GLO' as "customer_code"
select * from generate_series(1, 100)
select * from range(1, 100)
select * from unnest([1, 2, 3])
values (1), (2), (3)
select struct(1, 2), make_array(1, 2)
select named_struct('a', 1)
select map(['a'], [1])
select interval '1 day'
select null
select sha256('x'), md5('x')
with recursive t as (select 1 as n union all select n + 1 from t where n < 1000) select max(n) from t
with recursive t as (select 1 as n union all select n from t) select count(*) from t
select count(*) from generate_series(1, 100000) as a cross join generate_series(1, 100000) as b cross join generate_series(1, 100000) as c
select a.value from generate_series(1, 3000000) as a order by a.value desc limit 1
select repeat('x', 1000000000)
select repeat(repeat('x', 1000000), 1000000)
select array_repeat(1, 1000000000)
select string_agg(repeat('x', 100000), '') from generate_series(1, 100000)
select array_agg(a.value || repeat('x', 1000)) from generate_series(1, 10000000) as a
select regexp_match(repeat('a', 50000), '(a+)+b')
select regexp_like(repeat('a', 50000) || 'b', '^(([a-z])+.)+[A-Z]([a-z])+$')
select levenshtein(repeat('a', 20000), repeat('b', 20000))
select * from lake.machines where customer_id in (select id from lake.customers)
select * from (select customer_code from lake.backup_runs union select code from lake.customers) as x
select * from lake.customers where code like '%' or code is null
select * from lake.customers where (code = 'GLOBEX') is not false
select * from lake.customers natural full join lake.contracts
select coalesce((select name from lake.customers where code = 'GLOBEX'), 'none')
select case when exists (select 1 from lake.customers where code = 'GLOBEX') then 1 / 0 else 1 end
select count(*) filter (where code <> 'ACME') from lake.customers
select max(code) over (), min(code) over (partition by 1) from lake.customers
select last_value(code order by code), nth_value(code, 2) from lake.customers
select code from lake.customers group by code having code <> 'ACME'
select * from lake.customers order by (select max(code) from lake.customers) desc
select * from lake.customers limit (select count(*) from lake.customers)
select table_name, column_name from information_schema.columns where table_name like '%margin%'
select * from information_schema.tables where table_schema not in ('lake', 'warehouse', 'information_schema')
select view_definition from information_schema.views where definition like '%margin%'
select * from "information_schema"."tables" where "table_catalog" <> 'granary'
select * from granary.information_schema.df_settings where name like '%key%'
explain analyze select * from lake.customers as a, lake.customers as b where a.code <> b.code
explain verbose select * from lake.customers where code = 'GLOBEX'
explain analyze verbose with recursive t as (select 1 as n union all select n + 1 from t) select count(*) from t
select "code" from "lake"."customers"
select "CODE" from "lake"."customers"
select * from "LAKE"."CUSTOMERS"
select * from "lake.customers"
select 1 as """", 2 as "''", 3 as "a.b"."c"
select 'ＧＬＯＢＥＸ', 'G​LOBEX', 'ǅ', '𝔊', '👩‍👩‍👧', 'ﷺ'
select * from lake.customers where code = 'ＧＬＯＢＥＸ' or upper(code) = upper('globex')
select * from lake.customers where code collate "C" = 'GLOBEX'
select normalize('ＧＬＯＢＥＸ'), initcap('ǆ'), reverse('👩‍👩‍👧'), character_length('👩‍👩‍👧'), substr('👩‍👩‍👧', 2, 1)
select * from lake.customers where code ~ '^(G|A).*' or code !~ 'x'
select * from lake.customers where code similar to '%(GLOBEX|ACME)%'
select regexp_replace('aaaa', '(a*)*b', 'x'), regexp_count('aaaa', ''), regexp_instr('aaaa', 'a{1000}')
select regexp_like('a', '(?i)(?:(?:(?:a{1,100}){1,100}){1,100}){1,100}')
select regexp_like('a', '[[:alpha:]') union all select regexp_like('a', '(?=a)')
select 1 union all select 'x'
select 1 union all select now() union all select array[1]
select cast(code as int) from lake.customers
select cast('99999999999999999999999999999999999999999' as decimal(38, 0))
select 1 union select null union select 1.5 union select true
select cast(cast('nan' as double) as bigint), cast(1e300 as int)
select arrow_cast(1, 'Dictionary(Int8, Utf8)'), arrow_cast('x', 'FixedSizeBinary(1000000000)')
select arrow_cast(array[1], 'FixedSizeList(1000000, Int64)')
select -9223372036854775808, abs(-9223372036854775808), -(-9223372036854775808), -9223372036854775808 / -1, -9223372036854775808 % -1
select power(10, 400), exp(1000), ln(-1), sqrt(-1), log(0), factorial(100), gcd(-9223372036854775808, -1), lcm(9223372036854775807, 2)
select round(1.5, 2147483647), trunc(1.5, -2147483648), round(cast(1 as decimal(38, 37)), 400)
select 1 << 64, 1 >> -1, 1 << -9223372036854775808, 5 % 0, 5.0 % 0
select interval '9223372036854775807 months', interval '-178956970 years -8 months'
select date '0001-01-01' - interval '10000 years', timestamp '9999-12-31' + interval '300000 years'
select date_bin(interval '0 seconds', now()), date_trunc('nosuch', now()), date_part('epoch', date '9999-12-31')
select to_char(now(), repeat('%Y', 100000)), to_timestamp('2025', repeat('%', 1000)), to_date('x', '%Q')
select now() at time zone 'Nowhere/Town', now() at time zone '../../etc/passwd'
select chr(-1), chr(55296), ascii(''), to_hex(-1), left('x', -9223372036854775808), right('x', 9223372036854775807), substr('x', -9223372036854775808, 9223372036854775807)
select split_part('a,b', ',', -9223372036854775808), split_part('a', '', 0), overlay('abc' placing 'x' from 9223372036854775807 for -1)
select lpad('x', 2147483647), rpad('x', -1, ''), repeat('x', -1), repeat('', 9223372036854775807)
select replace(repeat('a', 10000000), 'a', repeat('b', 10000000))
select regexp_replace(repeat('a', 10000000), 'a', repeat('b', 10000000), 'g')
select concat_ws(repeat('x', 60000000), 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l')
select array_to_string(string_to_array(repeat('a,', 1000000), ','), repeat('b', 1000000))
select list_join(string_to_array(repeat('a,', 1000000), ','), repeat('b', 1000000))
select levenshtein(repeat('a', 1000000), repeat('b', 1000000))
select array_length(array_concat([1], [2])), array_slice([1, 2], -9223372036854775808, 9223372036854775807), [1][9223372036854775807], [1][-9223372036854775808]
select make_array(), array_pop_back(make_array()), flatten([[[1]]]), array_position([1], 1, 9223372036854775807), cardinality(null)
select count(*) from generate_series(1, 9223372036854775807, 9223372036854775807)
select count(*) from generate_series(-9223372036854775808, 9223372036854775807)
select count(*) from generate_series(1, 10, 0)
select count(*) from generate_series(timestamp '2025-01-01', timestamp '9999-01-01', interval '1 microsecond')
select ntile(9223372036854775807) over (order by 1), lag(1, 9223372036854775807) over (order by 1), nth_value(1, -9223372036854775808) over (order by 1)
select sum(1) over (rows between 9223372036854775807 preceding and 18446744073709551615 following)
select sum(x) over (order by x range between 1 preceding and 9223372036854775807 following) from (values (9223372036854775807), (-9223372036854775808)) as v (x)
select max(length(s)) from (select string_agg('x', ',') over (order by a.value) as s from generate_series(1, 3000000) as a)
select max(m) from (select median(a.value) over (order by a.value) as m from generate_series(1, 3000000) as a)
select approx_percentile_cont(2.0) within group (order by n) from (values (1)) as v (n)
select percentile_cont(-1) within group (order by n) from (values (1)) as v (n)
select random() from lake.machines where random() < 2 order by random()
select uuid() = uuid(), now() = now(), random() = random()
with recursive t as (select 'x' as s union all select s || s from t) select max(length(s)) from t
with recursive t as (select 1 as n union all select t.n + 1 from t, lake.machines) select count(*) from t
with a as (select 1 as n), b as (select x.n from a as x, a as y), c as (select x.n from b as x, b as y), d as (select x.n from c as x, c as y), e as (select x.n from d as x, d as y), f as (select x.n from e as x, e as y), g as (select x.n from f as x, f as y), h as (select x.n from g as x, g as y), i as (select x.n from h as x, h as y), j as (select x.n from i as x, i as y), k as (select x.n from j as x, j as y), l as (select x.n from k as x, k as y), m as (select x.n from l as x, l as y), n as (select x.n from m as x, m as y), o as (select x.n from n as x, n as y), p as (select x.n from o as x, o as y), q as (select x.n from p as x, p as y), r as (select x.n from q as x, q as y), s as (select x.n from r as x, r as y), t as (select x.n from s as x, s as y), u as (select x.n from t as x, t as y) select count(*) from u
select a.value from generate_series(1, 3000000) as a join generate_series(1, 3000000) as b on a.value + b.value < 0
select a.value from generate_series(1, 3000000) as a full join generate_series(1, 3000000) as b on a.value % 2 = b.value % 2 and a.value * b.value < 0

-- expanded: depth and length
select {10000*(}1{10000*)}
select {10000*(select }1{10000*)}
select {10000*not }true
select {10000*- }1
select 1{5000* + 1}
select 1 where 1 = 1{5000* and 1 = 1}
select 1 where 1 = 0{5000* or 1 = 0}
select * from lake.customers where code in ('ACME'{20000*, 'GLOBEX'})
select {2000*case when true then }1{2000* else 0 end}
select {3000*coalesce(}1{3000*, 0)}
select {1000*[}1{1000*]}
select {500*1, }1
select {20000*1, }1
select '{1000000*x}'
select '{300000*é}' as "{100000*x}"
select 1 as a{3000*.b}
select {1000*"}
select /* {5000*/*} */ 1
select 1 {500*union all select 1 }
select 1 {5000*union all select 1 }
select * from (values (1){10000*, (1)}) as v (n)
select * from {2000*(}lake.customers{2000*)}
select * from lake.customers as a{60*, lake.customers}
select * from lake.customers{300* natural join lake.customers}
select {200*(select code from lake.customers limit 1) || }''
select cast({300*cast(}1{300* as int)} as text)
select 1 from lake.customers where code like '{20000*%_}'
select regexp_like('{5000*a}', '{5000*a?}{5000*a}')
select regexp_like('x', '{2000*(}x{2000*)}')
select {4000*x.}y from lake.customers as x
with a as (select 1 as n){2000*, b as (select 1)} select 1
select interval '{1000*9} days'
select 1{400*9}
select 1.{4000*9}
select 1e{100*9}
select x'{100000*ff}'
select {100000*;}
{100000* }select 1
{20000*select }
select {45*cast(}1{40* as int)}
select {45*not(}true{40*)} from
select {45*substring(}'x'{44* from 1)}
