//! What the server says of itself: what it can do, and its types.

use std::sync::LazyLock;

use arrow_flight::error::Result;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, SqlInfo, XdbcDataType, XdbcDatetimeSubcode};

/// No transactions: every question sees one version of the lake.
const NONE: i32 = 0;
/// Names are lower case unless they are quoted, and as they are when they are.
const LOWER_CASE: i32 = 3;
const CASE_SENSITIVE: i32 = 0;
/// Nulls come last in either order.
const NULLS_HIGH: i32 = 0;

/// What the server can do.
pub(super) static SQL_INFO: LazyLock<Result<SqlInfoData>> = LazyLock::new(|| {
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "Granary");
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    info.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
    info.append(SqlInfo::FlightSqlServerReadOnly, true);
    info.append(SqlInfo::FlightSqlServerSql, true);
    info.append(SqlInfo::FlightSqlServerSubstrait, false);
    info.append(SqlInfo::FlightSqlServerTransaction, NONE);
    info.append(SqlInfo::FlightSqlServerCancel, true);
    info.append(SqlInfo::FlightSqlServerBulkIngestion, false);
    info.append(SqlInfo::SqlDdlCatalog, false);
    info.append(SqlInfo::SqlDdlSchema, false);
    info.append(SqlInfo::SqlDdlTable, false);
    info.append(SqlInfo::SqlIdentifierCase, LOWER_CASE);
    info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    info.append(SqlInfo::SqlQuotedIdentifierCase, CASE_SENSITIVE);
    info.append(SqlInfo::SqlAllTablesAreSelectable, true);
    info.append(SqlInfo::SqlNullOrdering, NULLS_HIGH);
    info.append(SqlInfo::SqlKeywords, ["filter", "ilike", "qualify", "unnest"].as_slice());
    info.append(SqlInfo::SqlNumericFunctions, ["abs", "ceil", "exp", "floor", "ln", "log10", "power", "round", "sign", "sqrt"].as_slice());
    info.append(
        SqlInfo::SqlStringFunctions,
        ["concat", "left", "length", "lower", "ltrim", "replace", "right", "rtrim", "substr", "trim", "upper"].as_slice(),
    );
    info.append(SqlInfo::SqlSystemFunctions, ["coalesce", "nullif", "version"].as_slice());
    info.append(SqlInfo::SqlDatetimeFunctions, ["current_date", "date_part", "date_trunc", "now", "to_date", "to_timestamp"].as_slice());
    info.append(SqlInfo::SqlSearchStringEscape, "\\");
    info.append(SqlInfo::SqlSupportsColumnAliasing, true);
    info.append(SqlInfo::SqlNullPlusNullIsNull, true);
    info.append(SqlInfo::SqlSupportsTableCorrelationNames, true);
    info.append(SqlInfo::SqlSupportsDifferentTableCorrelationNames, false);
    info.append(SqlInfo::SqlSupportsExpressionsInOrderBy, true);
    info.append(SqlInfo::SqlSupportsOrderByUnrelated, true);
    info.append(SqlInfo::SqlSupportsLikeEscapeClause, true);
    info.append(SqlInfo::SqlSupportsNonNullableColumns, false);
    info.append(SqlInfo::SqlSupportsIntegrityEnhancementFacility, false);
    info.append(SqlInfo::SqlSchemaTerm, "schema");
    info.append(SqlInfo::SqlCatalogTerm, "catalog");
    info.append(SqlInfo::SqlCatalogAtStart, true);
    info.append(SqlInfo::SqlSelectForUpdateSupported, false);
    info.append(SqlInfo::SqlStoredProceduresSupported, false);
    info.append(SqlInfo::SqlCorrelatedSubqueriesSupported, true);
    info.append(SqlInfo::SqlBatchUpdatesSupported, false);
    info.append(SqlInfo::SqlSavepointsSupported, false);
    info.append(SqlInfo::SqlNamedParametersSupported, false);
    info.build()
});

/// The types of columns, as ODBC and JDBC name them.
pub(super) static TYPES: LazyLock<Result<XdbcTypeInfoData>> = LazyLock::new(|| {
    let mut types = XdbcTypeInfoDataBuilder::new();
    let number = |name: &str, kind, digits: i32, scale: i32| XdbcTypeInfo {
        unsigned_attribute: Some(false),
        fixed_prec_scale: false,
        minimum_scale: Some(0),
        maximum_scale: Some(scale),
        num_prec_radix: Some(10),
        ..plain(name, kind, Some(digits))
    };
    let quoted = |name: &str, kind, size| XdbcTypeInfo {
        literal_prefix: Some("'".to_owned()),
        literal_suffix: Some("'".to_owned()),
        ..plain(name, kind, size)
    };
    types.append(plain("BOOLEAN", XdbcDataType::XdbcBit, Some(1)));
    types.append(number("SMALLINT", XdbcDataType::XdbcSmallint, 5, 0));
    types.append(number("INTEGER", XdbcDataType::XdbcInteger, 10, 0));
    types.append(number("BIGINT", XdbcDataType::XdbcBigint, 19, 0));
    types.append(XdbcTypeInfo {
        create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
        ..number("DECIMAL", XdbcDataType::XdbcDecimal, 38, 38)
    });
    types.append(number("REAL", XdbcDataType::XdbcReal, 7, 7));
    types.append(number("DOUBLE", XdbcDataType::XdbcDouble, 15, 15));
    types.append(XdbcTypeInfo { case_sensitive: true, ..quoted("VARCHAR", XdbcDataType::XdbcVarchar, None) });
    types.append(plain("BYTEA", XdbcDataType::XdbcVarbinary, None));
    types.append(quoted("DATE", XdbcDataType::XdbcDate, Some(10)));
    types.append(XdbcTypeInfo {
        datetime_subcode: Some(XdbcDatetimeSubcode::XdbcSubcodeTimestamp),
        sql_data_type: XdbcDataType::XdbcDatetime,
        ..quoted("TIMESTAMP", XdbcDataType::XdbcTimestamp, Some(26))
    });
    types.build()
});

fn plain(name: &str, kind: XdbcDataType, size: Option<i32>) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type: kind,
        column_size: size,
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        sql_data_type: kind,
        ..XdbcTypeInfo::default()
    }
}
