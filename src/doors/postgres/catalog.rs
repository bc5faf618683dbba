//! The catalog that clients look tables up in: `pg_catalog` and `information_schema` of what the session shows, and of nothing else.
//!
//! The numbers of things are made of their names, so that a client that learns them over one connection may use them over the next.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use datafusion_pg_catalog::pg_catalog::PgCatalogStaticTables;
use datafusion_pg_catalog::pg_catalog::oid_type_planner::PgOidTypePlanner;
use granary_warehouse::{Furnishing, Models, Session, Shown, WarehouseError};
use pgwire::api::Type;

use super::columns::{modifier_of, size_of, type_of};
use super::functions::{self, About};
use super::{schema_tables, system_tables};

/// The number of the schema of the catalog itself, and of the user that is there.
pub(super) const PG_CATALOG_OID: i32 = 11;
pub(super) const USER_OID: i32 = 10;
/// What a comment is about: `'pg_class'::regclass`.
pub(super) const PG_CLASS_OID: i32 = 1259;

/// A table or view as clients see it.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub(super) oid: i32,
    pub(super) schema: &'static str,
    pub(super) schema_oid: i32,
    pub(super) name: String,
    pub(super) is_view: bool,
    pub(super) comment: Option<String>,
    pub(super) columns: Vec<Column>,
}

/// A column as clients see it.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Type,
    pub(super) size: i16,
    pub(super) modifier: i32,
    pub(super) is_nullable: bool,
    pub(super) digits: Option<(u8, i8)>,
    pub(super) comment: Option<String>,
}

/// What there is, and for whom.
#[derive(Debug)]
pub(super) struct Inventory {
    pub(super) database: String,
    pub(super) database_oid: i32,
    pub(super) user: String,
    /// Our own schemas and those of the catalog, with their numbers.
    pub(super) schemas: Vec<(&'static str, i32)>,
    pub(super) relations: Vec<Relation>,
}

/// Returns a session with the catalog of what it shows, under the name of the MSP's database.
pub(super) async fn furnish(session: &Session, models: &Models, about: About) -> Result<Session, WarehouseError> {
    let inventory = Inventory::of(session.shown().await?, models, &about);
    let schemas = tables(&inventory).map_err(WarehouseError::Engine)?;
    let default_schema = about.default_schema;
    let functions = functions::all(&inventory, about);
    let database = inventory.database.clone();
    session.furnished(Furnishing {
        database: &database,
        default_schema,
        schemas,
        functions,
        table_functions: vec![("pg_get_keywords", fixed()?.pg_get_keywords.clone())],
        types: Some(Arc::new(PgOidTypePlanner)),
    })
}

/// The tables that are the same for everybody: types, functions, operators.
pub(super) fn fixed() -> Result<&'static PgCatalogStaticTables, WarehouseError> {
    static FIXED: OnceLock<Result<PgCatalogStaticTables, String>> = OnceLock::new();
    let fixed = FIXED.get_or_init(|| PgCatalogStaticTables::try_new().map_err(|error| error.to_string()));
    fixed.as_ref().map_err(|error| WarehouseError::Engine(DataFusionError::Internal(error.clone())))
}

type Schemas = Vec<(&'static str, Vec<(String, Arc<dyn TableProvider>)>)>;

fn tables(inventory: &Inventory) -> Result<Schemas, DataFusionError> {
    let fixed = fixed().map_err(|error| DataFusionError::Internal(error.to_string()))?;
    Ok(vec![("pg_catalog", system_tables::all(inventory, fixed)?), ("information_schema", schema_tables::all(inventory)?)])
}

impl Inventory {
    fn of(shown: Vec<Shown>, models: &Models, about: &About) -> Self {
        let mut numbers = Numbers::default();
        let database_oid = numbers.of(&format!("database {}", about.database));
        let mut schemas = vec![("pg_catalog", PG_CATALOG_OID)];
        for schema in ["information_schema", "lake", "warehouse"] {
            schemas.push((schema, numbers.of(&format!("schema {schema}"))));
        }
        let schema_oids: HashMap<&str, i32> = schemas.iter().copied().collect();
        let said: HashMap<&str, _> = models.iter().map(|model| (model.name.as_str(), &model.description)).collect();
        let relations = shown.into_iter().map(|table| {
            let description = if table.schema == "warehouse" { said.get(table.name.as_str()) } else { None };
            let column = |field: &Arc<Field>| {
                let said = description.and_then(|description| description.columns.get(field.name()));
                column(field, said.map(|said| said.description.clone()))
            };
            let comment = match description {
                Some(description) => Some(format!("{}; {}", description.description, description.grain)),
                None => Some(format!("raw rows of {}, as they were exported", table.name)),
            };
            Relation {
                oid: numbers.of(&format!("relation {}.{}", table.schema, table.name)),
                schema: table.schema,
                schema_oid: schema_oids.get(table.schema).copied().unwrap_or(0),
                is_view: table.is_view,
                comment,
                columns: table.columns.fields().iter().map(column).collect(),
                name: table.name,
            }
        });
        let relations = relations.collect();
        Self { database: about.database.clone(), database_oid, user: about.user.clone(), schemas, relations }
    }
}

fn column(field: &Arc<Field>, comment: Option<String>) -> Column {
    // What Postgres has no type for is text when it is read by a cast.
    let kind = type_of(field).unwrap_or(Type::TEXT);
    let digits = match field.data_type() {
        DataType::Decimal128(digits, scale) | DataType::Decimal256(digits, scale) => Some((*digits, *scale)),
        _ => None,
    };
    Column {
        name: field.name().clone(),
        size: size_of(&kind),
        kind,
        modifier: modifier_of(field.data_type()),
        is_nullable: field.is_nullable(),
        digits,
        comment,
    }
}

/// Numbers for names: always the same for the same name, and never one that Postgres uses itself.
#[derive(Debug, Default)]
struct Numbers(BTreeSet<i32>);

impl Numbers {
    fn of(&mut self, name: &str) -> i32 {
        // FNV-1a.
        let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let mut number = i32::try_from(16_384 + hash % 2_000_000_000).unwrap_or(16_384);
        while !self.0.insert(number) {
            number += 1;
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_thing_follows_from_its_name() {
        let (mut some, mut others) = (Numbers::default(), Numbers::default());
        let first = some.of("relation warehouse.usage");
        others.of("relation warehouse.margin");
        assert_eq!(others.of("relation warehouse.usage"), first);
        assert_ne!(some.of("relation warehouse.usage"), first, "no two are the same");
        assert!(first >= 16_384);
    }
}
