//! What tools ask before their user asks anything.

use tokio_postgres::types::Type;

use super::house::{House, code, one, rows, said};

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

/// One house for all: an export takes longer than everything that is asked of it.
#[tokio::test(flavor = "multi_thread")]
async fn tools_learn_what_there_is() {
    let house = House::open().await;
    descriptions_are_comments(&house).await;
    the_catalog_is_the_same_over_every_connection(&house).await;
    columns_have_the_types_that_their_values_have(&house).await;
    npgsql_learns_the_types(&house).await;
    dbeaver_unfolds_its_tree(&house).await;
    sqlalchemy_reflects_columns(&house).await;
    sqlalchemy_reflects_keys(&house).await;
    sqlalchemy_reflects_indexes(&house).await;
    metabase_learns_tables_and_fields(&house).await;
    grafana_lists_tables_and_columns(&house).await;
}

async fn descriptions_are_comments(house: &House) {
    let client = house.north().await;
    let said = one(&client, "select obj_description('warehouse.customer_months'::regclass, 'pg_class')").await;
    let model = house.warehouse.models().iter().find(|model| model.name == "customer_months");
    let (description, columns) = model.map(|model| (model.description.description.clone(), model.description.columns.clone())).unwrap();
    assert!(said.starts_with(&description), "{said}");
    let sql = "select a.attname, d.description from pg_attribute a join pg_description d on d.objoid = a.attrelid and d.objsubid = a.attnum \
        join pg_class c on c.oid = a.attrelid where c.relname = 'customer_months' and d.classoid = 'pg_class'::regclass";
    let found = rows(&client, sql).await;
    assert_eq!(found.len(), columns.len());
    for row in &found {
        let name = row[0].as_deref().unwrap();
        assert_eq!(row[1].as_deref(), Some(columns[name].description.as_str()), "{name}");
        let sql = format!(
            "select col_description(c.oid, a.attnum) from pg_class c join pg_attribute a on a.attrelid = c.oid \
            where c.oid = 'warehouse.customer_months'::regclass and a.attname = '{name}'"
        );
        assert_eq!(one(&client, &sql).await, columns[name].description);
    }
}

async fn the_catalog_is_the_same_over_every_connection(house: &House) {
    let (one, other) = (house.north().await, house.north().await);
    let sql = "select c.oid, n.nspname, c.relname, c.relkind from pg_class c join pg_namespace n on n.oid = c.relnamespace \
        where n.nspname in ('lake', 'warehouse') order by 2, 3";
    let relations = rows(&one, sql).await;
    assert!(relations.len() > 40, "{}", relations.len());
    assert_eq!(relations, rows(&other, sql).await);
    assert_eq!(code(&one, "select 'nosuch.table'::regclass from nosuch").await, "42P01");
}

async fn columns_have_the_types_that_their_values_have(house: &House) {
    let client = house.north().await;
    let described = "select column_name, data_type, udt_name, numeric_precision, numeric_scale from information_schema.columns \
        where table_schema = 'lake' and table_name = 'customers' order by ordinal_position";
    let described = rows(&client, described).await;
    assert!(
        described.contains(&vec![text("created_at"), text("timestamp with time zone"), text("timestamptz"), None, None]),
        "{described:?}"
    );
    let statement = client.prepare("select * from lake.customers").await.unwrap();
    let kinds: Vec<_> = statement.columns().iter().map(|column| (text(column.name()), text(column.type_().name()))).collect();
    let told: Vec<_> = described.iter().map(|row| (row[0].clone(), row[2].clone())).collect();
    assert_eq!(kinds, told);
}

/// Asks what Npgsql asks when it first meets a server, on which Power BI stands: every type in one text, read from the answers in text.
/// Written after `GenerateLoadTypesQuery` in npgsql/npgsql, src/Npgsql/PostgresDatabaseInfo.cs at 00ee7a8a47cc61b9419dd334851ec5184ab5bcdd.
async fn npgsql_learns_the_types(house: &House) {
    let client = house.north().await;
    let types = "
        select ns.nspname, t.oid, t.typname, t.typtype, t.typnotnull, t.elemtypoid
        from (
            select inner_.oid, inner_.typnamespace, inner_.typname, inner_.typtype, inner_.typrelid, inner_.typnotnull, inner_.relkind, el.oid as elemtypoid,
                el.typname as elemtypname, elcls.relkind as elemrelkind,
                case when elproc.proname = 'array_recv' then 'a' else el.typtype end as elemtyptype
            from (
                select ty.oid, typnamespace, typname, typrelid, typnotnull, relkind, typelem as elemoid,
                    case when pr.proname = 'array_recv' then 'a' else ty.typtype end as typtype,
                    case
                        when pr.proname = 'array_recv' then ty.typelem
                        when ty.typtype = 'r' then rngsubtype
                        when ty.typtype = 'm' then (select rngtypid from pg_range where rngmultitypid = ty.oid)
                        when ty.typtype = 'd' then ty.typbasetype
                    end as elemtypoid
                from pg_type as ty
                left join pg_class as cls on (cls.oid = ty.typrelid)
                left join pg_proc as pr on pr.oid = ty.typreceive
                left join pg_range on (pg_range.rngtypid = ty.oid)
            ) as inner_
            left join pg_type as el on el.oid = elemtypoid
            left join pg_class as elcls on (elcls.oid = el.typrelid)
            left join pg_proc as elproc on elproc.oid = el.typreceive
        ) as t
        join pg_namespace as ns on (ns.oid = typnamespace)
        where typtype in ('b', 'r', 'm', 'e', 'd') or (typtype = 'c' and relkind = 'c')
            or (typtype = 'p' and typname in ('record', 'void'))
            or (typtype = 'a' and (elemtyptype in ('b', 'r', 'm', 'e', 'd') or (elemtyptype = 'p' and elemtypname in ('record', 'void'))
                or (elemtyptype = 'c' and elemrelkind = 'c')))
        order by case when typtype in ('b', 'e', 'p') then 0 when typtype = 'r' then 1 when typtype = 'm' then 2 when typtype = 'c' then 3
            when typtype = 'd' and elemtyptype <> 'a' then 4 when typtype = 'a' then 5 when typtype = 'd' and elemtyptype = 'a' then 6 end";
    let fields = "select ty.oid, att.attname, att.atttypid from pg_type as ty join pg_namespace as ns on (ns.oid = ty.typnamespace)
        join pg_class as cls on (cls.oid = ty.typrelid) join pg_attribute as att on (att.attrelid = ty.typrelid)
        where (ty.typtype = 'c' and cls.relkind = 'c') and attnum > 0 and not attisdropped order by ty.oid, att.attnum";
    let labels = "select pg_type.oid, enumlabel from pg_enum join pg_type on pg_type.oid = enumtypid order by oid, enumsortorder";
    let found = rows(&client, &format!("select version();\n{types};\n{fields};\n{labels};")).await;
    let of = |name: &str| found.iter().find(|row| row.get(2) == Some(&text(name))).unwrap_or_else(|| panic!("{name} is not there"));
    for (name, oid) in [("int8", "20"), ("text", "25"), ("numeric", "1700"), ("timestamptz", "1184"), ("date", "1082"), ("bool", "16")] {
        assert_eq!(of(name)[..4], [text("pg_catalog"), text(oid), text(name), text("b")]);
    }
    assert_eq!(of("_text")[3..], [text("a"), text("f"), text("25")]);
    assert_eq!((of("int4range")[5].clone(), of("int4multirange")[5].clone()), (text("23"), of("int4range")[1].clone()));
    assert!(found.len() > 100, "{}", found.len());
}

/// Asks as DBeaver does when a connection is opened and its tree unfolded. Constraints and indexes after dbeaver/dbeaver,
/// plugins/org.jkiss.dbeaver.ext.postgresql/src/org/jkiss/dbeaver/ext/postgresql/model/PostgreSchema.java at
/// 001f621c651677a0e920556d41f533da67bd638b; the rest by hand.
async fn dbeaver_unfolds_its_tree(house: &House) {
    let client = house.north().await;
    for sql in ["SET application_name = 'DBeaver 25.3 - Main'", "SET search_path = warehouse,public", "SHOW search_path"] {
        client.simple_query(sql).await.unwrap();
    }
    assert_eq!(rows(&client, "SELECT current_schema(), session_user").await[0][0], text("warehouse"));
    let databases = rows(&client, "SELECT db.oid, db.* FROM pg_catalog.pg_database db WHERE datallowconn AND NOT datistemplate").await;
    assert_eq!(databases.len(), 1);
    assert!(databases[0].contains(&text("north")));
    let schemas = "SELECT n.oid, n.*, d.description FROM pg_catalog.pg_namespace n \
        LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = n.oid AND d.objsubid = 0 AND d.classoid = 'pg_namespace'::regclass \
        ORDER BY nspname";
    let schemas = rows(&client, schemas).await;
    let oid = schemas.iter().find(|row| row[2] == text("warehouse")).unwrap()[0].clone().unwrap();
    let tables = format!(
        "SELECT c.oid, c.*, d.description, pg_catalog.pg_get_expr(c.relpartbound, c.oid) as partition_expr, \
            pg_catalog.pg_get_partkeydef(c.oid::text) as partition_key \
        FROM pg_catalog.pg_class c \
        LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass \
        WHERE c.relnamespace = {oid} AND c.relkind not in ('i', 'I', 'c')"
    );
    let tables = rows(&client, &tables).await;
    let usage = tables.iter().find(|row| row[2] == text("customer_months")).expect("the models are shown");
    let columns = format!(
        "SELECT c.relname, a.*, pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) as def_value, dsc.description, dep.objid \
        FROM pg_catalog.pg_attribute a \
        INNER JOIN pg_catalog.pg_class c ON (a.attrelid = c.oid) \
        LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON (a.attrelid = ad.adrelid AND a.attnum = ad.adnum) \
        LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid = dsc.objoid AND a.attnum = dsc.objsubid) \
        LEFT OUTER JOIN pg_depend dep on dep.refobjid = a.attrelid AND dep.deptype = 'i' and dep.refobjsubid = a.attnum and dep.classid = dep.refclassid \
        WHERE NOT a.attisdropped AND c.oid = {} ORDER BY a.attnum",
        usage[0].as_deref().unwrap()
    );
    let columns = rows(&client, &columns).await;
    assert!(columns.iter().any(|row| row[2] == text("customer_code")), "{columns:?}");
    let mine = usage[0].as_deref().unwrap();
    let constraints = format!(
        "SELECT c.oid, c.*, t.relname as tabrelname, rt.relnamespace as refnamespace FROM pg_catalog.pg_constraint c \
        INNER JOIN pg_catalog.pg_class t ON t.oid = c.conrelid LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid = c.confrelid \
        WHERE c.conrelid = {mine} ORDER BY c.oid"
    );
    let indexes = format!(
        "SELECT i.*, i.indkey as keys, c.relname, c.relnamespace, c.relam, tc.relname as tabrelname, dsc.description \
        FROM pg_catalog.pg_index i INNER JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
        INNER JOIN pg_catalog.pg_class tc ON tc.oid = i.indrelid \
        LEFT OUTER JOIN pg_catalog.pg_description dsc ON i.indexrelid = dsc.objoid WHERE i.indrelid = {mine} ORDER BY c.relname"
    );
    assert!(rows(&client, &constraints).await.is_empty() && rows(&client, &indexes).await.is_empty());
}

/// Asks for columns as SQLAlchemy 2.1.9 does over psycopg, with places for values: `_columns_query` in sqlalchemy/sqlalchemy,
/// lib/sqlalchemy/dialects/postgresql/base.py at rel_2_1_9, as its dialect writes it.
async fn sqlalchemy_reflects_columns(house: &House) {
    let client = house.north().await;
    let columns = r#"SELECT pg_catalog.pg_attribute.attname AS name,
            pg_catalog.format_type(pg_catalog.pg_attribute.atttypid, pg_catalog.pg_attribute.atttypmod) AS format_type,
            CASE WHEN pg_catalog.pg_attribute.atthasdef THEN (
                SELECT pg_catalog.pg_get_expr(pg_catalog.pg_attrdef.adbin, pg_catalog.pg_attrdef.adrelid) AS pg_get_expr_1
                FROM pg_catalog.pg_attrdef WHERE pg_catalog.pg_attribute.atthasdef
                    AND pg_catalog.pg_attrdef.adrelid = pg_catalog.pg_attribute.attrelid
                    AND pg_catalog.pg_attrdef.adnum = pg_catalog.pg_attribute.attnum) ELSE NULL END AS "default",
            pg_catalog.pg_attribute.attnotnull AS not_null, pg_catalog.pg_class.relname AS table_name,
            pg_catalog.pg_description.description AS comment, pg_catalog.pg_attribute.attgenerated AS generated,
            CASE WHEN (pg_catalog.pg_attribute.attidentity != $1::VARCHAR) THEN (
                SELECT json_build_object($2::VARCHAR, pg_catalog.pg_attribute.attidentity = $3::VARCHAR, 'start', pg_catalog.pg_sequence.seqstart,
                    'increment', pg_catalog.pg_sequence.seqincrement, 'minvalue', pg_catalog.pg_sequence.seqmin,
                    'maxvalue', pg_catalog.pg_sequence.seqmax, 'cache', pg_catalog.pg_sequence.seqcache,
                    'cycle', pg_catalog.pg_sequence.seqcycle) AS json_build_object_1
                FROM pg_catalog.pg_sequence WHERE pg_catalog.pg_attribute.attidentity != $4::VARCHAR
                    AND pg_catalog.pg_sequence.seqrelid = CAST(CAST(pg_catalog.pg_get_serial_sequence(
                        CAST(CAST(pg_catalog.pg_attribute.attrelid AS REGCLASS) AS TEXT), pg_catalog.pg_attribute.attname) AS REGCLASS) AS OID))
                ELSE NULL END AS identity_options,
            CASE WHEN (pg_catalog.pg_attribute.attcollation != $5::INTEGER AND (
                SELECT pg_catalog.pg_type.typcollation FROM pg_catalog.pg_type
                WHERE pg_catalog.pg_type.oid = pg_catalog.pg_attribute.atttypid) != pg_catalog.pg_attribute.attcollation) THEN (
                SELECT json_build_object('name', pg_catalog.pg_collation.collname, 'schema',
                    CASE WHEN pg_catalog.pg_collation_is_visible(pg_catalog.pg_collation.oid) THEN NULL ELSE pg_catalog.pg_namespace.nspname END)
                    AS json_build_object_9
                FROM pg_catalog.pg_collation
                JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_collation.collnamespace
                WHERE pg_catalog.pg_collation.oid = pg_catalog.pg_attribute.attcollation) ELSE NULL END AS collation
        FROM pg_catalog.pg_class
        LEFT OUTER JOIN pg_catalog.pg_attribute ON pg_catalog.pg_class.oid = pg_catalog.pg_attribute.attrelid
            AND pg_catalog.pg_attribute.attnum > $6::SMALLINT AND NOT pg_catalog.pg_attribute.attisdropped
        LEFT OUTER JOIN pg_catalog.pg_description ON pg_catalog.pg_description.objoid = pg_catalog.pg_attribute.attrelid
            AND pg_catalog.pg_description.objsubid = pg_catalog.pg_attribute.attnum
        JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace
        WHERE pg_catalog.pg_class.relkind = ANY (ARRAY['r'::VARCHAR, 'p'::VARCHAR, 'f'::VARCHAR, 'v'::VARCHAR, 'm'::VARCHAR])
            AND pg_catalog.pg_namespace.nspname = $7::VARCHAR AND pg_catalog.pg_class.relname IN ($8::VARCHAR)
        ORDER BY pg_catalog.pg_class.relname, pg_catalog.pg_attribute.attnum"#;
    let kinds = [Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT, Type::INT2, Type::INT2, Type::TEXT, Type::TEXT];
    let statement = client.prepare_typed(columns, &kinds).await.unwrap_or_else(|error| panic!("{}", said(&error)));
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 8] = [&"", &"always", &"a", &"", &0_i16, &0_i16, &"lake", &"customers"];
    let found = client.query(&statement, &values).await.unwrap_or_else(|error| panic!("{}", said(&error)));
    let created = found.iter().find(|row| row.get::<_, &str>("name") == "created_at").expect("the columns of the table");
    assert_eq!(created.get::<_, &str>("format_type"), "timestamp with time zone");
    assert_eq!((created.get::<_, Option<&str>>("default"), created.get::<_, Option<&str>>("collation")), (None, None));
}

/// Asks for primary keys and unique constraints as SQLAlchemy 2.1.9 does over psycopg: `_constraint_query` in sqlalchemy/sqlalchemy,
/// lib/sqlalchemy/dialects/postgresql/base.py at rel_2_1_9, as its dialect writes it.
async fn sqlalchemy_reflects_keys(house: &House) {
    let client = house.north().await;
    let keys = "SELECT attr.conrelid, array_agg(CAST(attr.attname AS TEXT) ORDER BY attr.ord) AS cols, attr.conname,
            min(attr.description) AS description, min(attr.indnkeyatts) AS indnkeyatts, bool_and(attr.indnullsnotdistinct) AS indnullsnotdistinct
        FROM (SELECT con.conrelid AS conrelid, con.conname AS conname, con.description AS description, con.ord AS ord,
                con.indnkeyatts AS indnkeyatts, con.indnullsnotdistinct AS indnullsnotdistinct, pg_catalog.pg_attribute.attname AS attname
            FROM pg_catalog.pg_attribute JOIN (
                SELECT pg_catalog.pg_constraint.conrelid AS conrelid, pg_catalog.pg_constraint.conname AS conname,
                    unnest(pg_catalog.pg_index.indkey) AS attnum, generate_subscripts(pg_catalog.pg_index.indkey, $1::INTEGER) AS ord,
                    pg_catalog.pg_index.indnkeyatts AS indnkeyatts, pg_catalog.pg_index.indnullsnotdistinct AS indnullsnotdistinct,
                    pg_catalog.pg_description.description AS description
                FROM pg_catalog.pg_constraint
                JOIN pg_catalog.pg_index ON pg_catalog.pg_constraint.conindid = pg_catalog.pg_index.indexrelid
                LEFT OUTER JOIN pg_catalog.pg_description ON pg_catalog.pg_description.objoid = pg_catalog.pg_constraint.oid
                    AND pg_catalog.pg_description.classoid = CAST($2 AS REGCLASS)
                WHERE pg_catalog.pg_constraint.contype = $3::VARCHAR AND pg_catalog.pg_constraint.conrelid IN ($4)) AS con
            ON pg_catalog.pg_attribute.attnum = con.attnum AND pg_catalog.pg_attribute.attrelid = con.conrelid
            WHERE con.conrelid IN ($4)) AS attr
        GROUP BY attr.conrelid, attr.conname ORDER BY attr.conrelid, attr.conname";
    let statement = client.prepare_typed(keys, &[Type::INT2, Type::TEXT, Type::TEXT, Type::INT4]).await;
    let statement = statement.unwrap_or_else(|error| panic!("{}", said(&error)));
    for kind in ["p", "u"] {
        let found = client.query(&statement, &[&1_i16, &"pg_catalog.pg_constraint", &kind, &months(house).await]).await;
        assert!(found.unwrap_or_else(|error| panic!("{}", said(&error))).is_empty(), "nothing has a key");
    }
    // Where there are lists, their items are numbered beside them.
    let listed = "select unnest(l) as item, generate_subscripts(l, 1) as at from (select make_array('a', 'b') as l union all select null) order by 2";
    assert_eq!(rows(&client, listed).await, [[text("a"), text("1")], [text("b"), text("2")]]);
    for wrong in ["select generate_subscripts(make_array(1), 2)", "select generate_subscripts(1, 1)"] {
        assert!(client.simple_query(wrong).await.is_err(), "{wrong}");
    }
}

/// Asks for indexes as SQLAlchemy 2.1.9 does over psycopg: `_index_query`, there as well.
async fn sqlalchemy_reflects_indexes(house: &House) {
    let client = house.north().await;
    let indexes = "SELECT pg_catalog.pg_index.indrelid, pg_catalog.pg_class.relname, pg_catalog.pg_index.indisunique,
            pg_catalog.pg_index.indisvalid, pg_catalog.pg_constraint.conrelid IS NOT NULL AS has_constraint, pg_catalog.pg_index.indoption,
            pg_catalog.pg_class.reloptions, pg_catalog.pg_class.relam, CASE WHEN (pg_catalog.pg_index.indpred IS NOT NULL)
                THEN pg_catalog.pg_get_expr(pg_catalog.pg_index.indpred, pg_catalog.pg_index.indrelid) END AS filter_definition,
            pg_catalog.pg_index.indnkeyatts, pg_catalog.pg_index.indnullsnotdistinct, idx_cols.elements, idx_cols.elements_is_expr,
            idx_cols.elements_opclass
        FROM pg_catalog.pg_index JOIN pg_catalog.pg_class ON pg_catalog.pg_index.indexrelid = pg_catalog.pg_class.oid LEFT OUTER JOIN (
            SELECT idx_attr.indexrelid AS indexrelid, min(idx_attr.indrelid) AS min_1,
                array_agg(idx_attr.element ORDER BY idx_attr.ord) AS elements,
                array_agg(idx_attr.is_expr ORDER BY idx_attr.ord) AS elements_is_expr,
                array_agg(idx_attr.att_opclass ORDER BY idx_attr.ord) AS elements_opclass
            FROM (SELECT idx.indexrelid AS indexrelid, idx.indrelid AS indrelid, idx.ord AS ord, CASE WHEN (idx.attnum = $1::INTEGER)
                    THEN pg_catalog.pg_get_indexdef(idx.indexrelid, idx.ord + $2::INTEGER, $3)
                    ELSE CAST(pg_catalog.pg_attribute.attname AS TEXT) END AS element,
                    idx.attnum = $4::INTEGER AS is_expr, CAST(idx.att_opclass AS BIGINT) AS att_opclass
                FROM (SELECT pg_catalog.pg_index.indexrelid AS indexrelid, pg_catalog.pg_index.indrelid AS indrelid,
                        unnest(pg_catalog.pg_index.indkey) AS attnum, unnest(pg_catalog.pg_index.indclass) AS att_opclass,
                        generate_subscripts(pg_catalog.pg_index.indkey, $5::INTEGER) AS ord
                    FROM pg_catalog.pg_index
                    WHERE NOT pg_catalog.pg_index.indisprimary AND pg_catalog.pg_index.indrelid IN ($6)) AS idx
                LEFT OUTER JOIN pg_catalog.pg_attribute ON pg_catalog.pg_attribute.attnum = idx.attnum
                    AND pg_catalog.pg_attribute.attrelid = idx.indrelid
                WHERE idx.indrelid IN ($6)) AS idx_attr GROUP BY idx_attr.indexrelid) AS idx_cols
            ON pg_catalog.pg_index.indexrelid = idx_cols.indexrelid
        LEFT OUTER JOIN pg_catalog.pg_constraint ON pg_catalog.pg_index.indrelid = pg_catalog.pg_constraint.conrelid
            AND pg_catalog.pg_index.indexrelid = pg_catalog.pg_constraint.conindid
            AND pg_catalog.pg_constraint.contype = ANY (ARRAY[$7::VARCHAR, $8::VARCHAR, $9::VARCHAR])
        WHERE pg_catalog.pg_index.indrelid IN ($6) AND NOT pg_catalog.pg_index.indisprimary
        ORDER BY pg_catalog.pg_index.indrelid, pg_catalog.pg_class.relname";
    let kinds = [Type::INT2, Type::INT2, Type::BOOL, Type::INT2, Type::INT2, Type::INT4, Type::TEXT, Type::TEXT, Type::TEXT];
    let statement = client.prepare_typed(indexes, &kinds).await.unwrap_or_else(|error| panic!("{}", said(&error)));
    let months = months(house).await;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 9] = [&0_i16, &1_i16, &true, &0_i16, &1_i16, &months, &"p", &"u", &"x"];
    let found = client.query(&statement, &values).await.unwrap_or_else(|error| panic!("{}", said(&error)));
    assert!(found.is_empty(), "nothing has an index");
}

/// The number of the model that all of them ask about.
async fn months(house: &House) -> i32 {
    let sql = "select oid from pg_class where oid = 'warehouse.customer_months'::regclass";
    one(&house.north().await, sql).await.parse().unwrap()
}

/// Asks as Metabase does when it learns a database. Written after `get-tables-sql` and `describe-fields-sql` in metabase/metabase,
/// src/metabase/driver/postgres.clj at 008fd6675457cdd62da2265628bed3b725a607ea.
async fn metabase_learns_tables_and_fields(house: &House) {
    let client = house.north().await;
    assert_eq!(one(&client, "show timezone;").await, "UTC");
    let enums = "SELECT nspname, typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace \
        WHERE t.oid IN (SELECT DISTINCT enumtypid FROM pg_enum e)";
    assert!(rows(&client, enums).await.is_empty());
    let tables = r#"SELECT "n"."nspname" AS "schema", "c"."relname" AS "name",
            CASE "c"."relkind" WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'PARTITIONED TABLE' WHEN 'v' THEN 'VIEW' WHEN 'f' THEN 'FOREIGN TABLE'
                WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE NULL END AS "type",
            "d"."description" AS "description", "stat"."n_live_tup" AS "estimated_row_count"
        FROM "pg_catalog"."pg_class" AS "c"
        INNER JOIN "pg_catalog"."pg_namespace" AS "n" ON "c"."relnamespace" = "n"."oid"
        LEFT JOIN "pg_catalog"."pg_description" AS "d" ON ("c"."oid" = "d"."objoid") AND ("d"."objsubid" = 0) AND ("d"."classoid" = 'pg_class'::regclass)
        LEFT JOIN "pg_stat_user_tables" AS "stat" ON ("n"."nspname" = "stat"."schemaname") AND ("c"."relname" = "stat"."relname")
        WHERE ("c"."relnamespace" = "n"."oid") AND ("n"."nspname" !~ '^pg_') AND ("n"."nspname" <> 'information_schema')
            AND c.relkind in ('r', 'p', 'v', 'f', 'm') AND ("n"."nspname" IN ('warehouse', 'lake'))
        ORDER BY "type" ASC, "schema" ASC, "name" ASC"#;
    let found = rows(&client, tables).await;
    let customers = found.iter().find(|row| row[..2] == [text("lake"), text("customers")]).expect("raw rows are shown");
    assert_eq!(customers[2], text("TABLE"));
    assert!(found.iter().any(|row| row[1] == text("customer_months") && row[3].is_some()), "{found:?}");
    let fields = r#"SELECT "c"."column_name" AS "name",
            CASE WHEN "c"."udt_schema" IN ('public', 'pg_catalog') THEN FORMAT('%s', "c"."udt_name")
                ELSE FORMAT('"%s"."%s"', "c"."udt_schema", "c"."udt_name") END AS "database-type",
            "c"."ordinal_position" - 1 AS "database-position", "c"."table_schema" AS "table-schema", "c"."table_name" AS "table-name",
            "pk"."column_name" IS NOT NULL AS "pk?",
            ("column_default" IS NULL OR LOWER("column_default") = 'null') AND "is_nullable" = 'NO' AS "database-required"
        FROM "information_schema"."columns" AS "c"
        LEFT JOIN (SELECT "tc"."table_schema", "tc"."table_name", "kc"."column_name" FROM "information_schema"."table_constraints" AS "tc"
            INNER JOIN "information_schema"."key_column_usage" AS "kc" ON "tc"."constraint_name" = "kc"."constraint_name"
                AND "tc"."table_schema" = "kc"."table_schema" AND "tc"."table_name" = "kc"."table_name"
            WHERE "tc"."constraint_type" = 'PRIMARY KEY') AS "pk"
            ON "c"."table_schema" = "pk"."table_schema" AND "c"."table_name" = "pk"."table_name" AND "c"."column_name" = "pk"."column_name"
        WHERE c.table_schema !~ '^information_schema|catalog_history|pg_' AND "c"."table_name" IN ('customers')
        ORDER BY "table-schema", "table-name", "database-position""#;
    let found = rows(&client, fields).await;
    assert!(found.iter().any(|row| row[0] == text("created_at") && row[1] == text("timestamptz")), "{found:?}");
    assert_eq!(found[0][2], text("0"));
}

/// Asks as Grafana does for its query builder. Written after grafana/grafana,
/// public/app/plugins/datasource/grafana-postgresql-datasource/postgresMetaQuery.ts at 12f912ab8d010f4d95a4043a0efaa20fc4ca0100.
async fn grafana_lists_tables_and_columns(house: &House) {
    let client = house.north().await;
    assert_eq!(one(&client, "SELECT current_setting('server_version_num')::int/100 as version").await, "1600");
    assert!(rows(&client, "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").await.is_empty());
    let schemas = "SELECT schema_name AS \"name\" FROM information_schema.schemata \
        WHERE schema_name NOT IN ('information_schema', 'pg_catalog', 'pg_toast') ORDER BY schema_name";
    assert_eq!(rows(&client, schemas).await, [[text("lake")], [text("warehouse")]]);
    let tables =
        "SELECT quote_ident(table_name) AS \"table\" FROM information_schema.tables WHERE quote_ident(table_schema) = 'lake' ORDER BY 1";
    assert!(rows(&client, tables).await.contains(&vec![text("customers")]));
    let columns = "SELECT quote_ident(column_name) AS \"column\", data_type AS \"type\" FROM information_schema.columns \
        WHERE CASE WHEN array_length(parse_ident('lake.customers'), 1) = 2 \
            THEN quote_ident(table_schema) = (parse_ident('lake.customers'))[1] AND quote_ident(table_name) = (parse_ident('lake.customers'))[2] \
            ELSE quote_ident(table_name) = 'lake.customers' END";
    assert!(rows(&client, columns).await.contains(&vec![text("created_at"), text("timestamp with time zone")]));
}
