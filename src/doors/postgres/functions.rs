//! Functions that clients call about themselves and about the catalog. None of them reads a file, waits, or changes anything.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, ListArray, StringArray, new_null_array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion_pg_catalog::pg_catalog as foreign;

use super::catalog::Inventory;
use super::lists::subscripts;
use super::schema_tables;
use super::settings::{SERVER_VERSION, Settings};
use super::system_tables::{SYSTEM, said};

/// What a connection knows of itself.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) database: String,
    pub(super) user: String,
    pub(super) pid: i32,
    pub(super) default_schema: &'static str,
    pub(super) settings: Arc<Mutex<Settings>>,
}

/// Returns what `version()` says.
pub(super) fn version() -> String {
    format!("PostgreSQL {SERVER_VERSION} (Granary {})", env!("CARGO_PKG_VERSION"))
}

/// Returns every function.
pub(super) fn all(inventory: &Inventory, about: About) -> Vec<ScalarUDF> {
    let mut functions = of_others();
    functions.extend(of_the_connection(&about));
    functions.extend(of_the_catalog(inventory, &about));
    functions
}

fn of_others() -> Vec<ScalarUDF> {
    vec![
        foreign::format_type::create_format_type_udf(),
        foreign::pg_get_expr_udf::create_pg_get_expr_udf(),
        foreign::create_pg_get_partkeydef_udf(),
        foreign::create_pg_relation_is_publishable_udf(),
        foreign::create_pg_get_statisticsobjdef_columns_udf(),
        foreign::create_pg_encoding_to_char_udf(),
        foreign::create_pg_stat_get_numscans(),
        foreign::create_pg_get_constraintdef(),
        foreign::create_pg_get_partition_ancestors_udf(),
        foreign::quote_ident_udf::create_quote_ident_udf(),
        foreign::quote_ident_udf::create_parse_ident_udf(),
        foreign::array_bounds_udf::create_array_upper_udf(),
        foreign::array_bounds_udf::create_array_lower_udf(),
    ]
}

fn of_the_connection(about: &About) -> Vec<ScalarUDF> {
    let word = |name: &'static str, word: String| texts(name, 0, move |_, _| Some(word.clone()));
    let (settings, pid, schema) = (Arc::clone(&about.settings), about.pid, about.default_schema);
    let setting = move |given: &Given, row: usize| {
        let name = given.text(0, row)?;
        let settings = settings.lock().unwrap_or_else(PoisonError::into_inner);
        settings.get(&name).map(|(_, value)| value.to_owned())
    };
    vec![
        word("current_database", about.database.clone()),
        word("session_user", about.user.clone()),
        word("current_schema", about.default_schema.to_owned()),
        word("version", version()),
        word("getdatabaseencoding", "UTF8".to_owned()),
        texts("current_setting", 1, setting),
        schemas(schema),
        ints("pg_backend_pid", 0, move |_, _| Some(pid)),
        bools("pg_is_in_recovery", 0, |_, _| Some(false)),
        texts("inet_server_addr", 0, |_, _| None),
        texts("inet_client_addr", 0, |_, _| None),
        texts("pg_get_userbyid", 1, {
            let user = about.user.clone();
            move |_, _| Some(user.clone())
        }),
    ]
}

fn of_the_catalog(inventory: &Inventory, about: &About) -> Vec<ScalarUDF> {
    let comments: Arc<HashMap<(i64, i64), String>> =
        Arc::new(said(inventory).into_iter().map(|(oid, number, text)| ((oid.into(), number.into()), text.to_owned())).collect());
    let of_columns = Arc::clone(&comments);
    let mut names: HashMap<String, i32> = HashMap::new();
    for (name, oid) in SYSTEM {
        names.extend([(name.to_owned(), oid), (format!("pg_catalog.{name}"), oid)]);
    }
    for relation in &inventory.relations {
        names.insert(format!("{}.{}", relation.schema, relation.name), relation.oid);
        if relation.schema == about.default_schema {
            names.insert(relation.name.clone(), relation.oid);
        }
    }
    let hidden: Vec<i64> =
        inventory.relations.iter().filter(|relation| relation.schema != about.default_schema).map(|relation| relation.oid.into()).collect();
    let mut functions = vec![
        texts("obj_description", 1, move |given, row| comments.get(&(given.int(0, row)?, 0)).cloned()),
        texts("col_description", 2, move |given, row| of_columns.get(&(given.int(0, row)?, given.int(1, row)?)).cloned()),
        texts("format", 1, formatted),
        texts("json_build_object", 2, built),
        ints("to_regtype", 1, |given, row| type_by_name(&given.text(0, row)?)),
        ints("to_regclass", 1, move |given, row| names.get(&given.text(0, row)?.to_lowercase().replace('"', "")).copied()),
        bools("pg_table_is_visible", 1, move |given, row| given.int(0, row).map(|oid| !hidden.contains(&oid))),
        ints("pg_char_to_encoding", 1, |given, row| given.text(0, row).map(|name| if is_utf8(&name) { 6 } else { -1 })),
    ];
    functions.push(expanded());
    functions.push(subscripts());
    functions.extend(
        ["pg_type_is_visible", "pg_function_is_visible", "pg_opclass_is_visible", "pg_collation_is_visible", "pg_has_role"]
            .map(|name| bools(name, 1, |_, _| Some(true))),
    );
    let privileges = [
        "has_table_privilege",
        "has_schema_privilege",
        "has_database_privilege",
        "has_any_column_privilege",
        "has_column_privilege",
        "has_function_privilege",
    ];
    functions.extend(privileges.map(|name| bools(name, 1, is_granted)));
    let without_answer = [
        "shobj_description",
        "pg_get_viewdef",
        "pg_get_indexdef",
        "pg_get_triggerdef",
        "pg_get_ruledef",
        "pg_get_functiondef",
        "pg_get_function_result",
        "pg_get_function_arguments",
        "pg_get_function_identity_arguments",
        "pg_get_serial_sequence",
        "pg_tablespace_location",
        "pg_size_pretty",
    ];
    functions.extend(without_answer.map(|name| texts(name, 1, |_, _| None)));
    // Nobody is told how large things are.
    functions.extend(
        ["pg_relation_size", "pg_total_relation_size", "pg_table_size", "pg_indexes_size", "pg_database_size"]
            .map(|name| longs(name, 1, |_, _| None)),
    );
    functions
}

/// `format('%s, %I and %L', …)`: as a text, as a name, as a literal.
fn formatted(given: &Given, row: usize) -> Option<String> {
    let (pattern, mut out, mut next) = (given.text(0, row)?, String::new(), 1);
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let kind = letters.next()?;
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = given.text(next, row).or_else(|| given.int(next, row).map(|number| number.to_string()));
        next += 1;
        match (kind, value) {
            ('s', value) => out.push_str(&value.unwrap_or_default()),
            ('I', Some(name)) if is_plain(&name) => out.push_str(&name),
            ('I', Some(name)) => out.push_str(&format!("\"{}\"", name.replace('"', "\"\""))),
            ('L', Some(text)) => out.push_str(&format!("'{}'", text.replace('\'', "''"))),
            ('L', None) => out.push_str("NULL"),
            _ => return None,
        }
        if out.len() > LONGEST {
            return None;
        }
    }
    Some(out)
}

/// `json_build_object('name', value, …)`.
fn built(given: &Given, row: usize) -> Option<String> {
    let mut object = serde_json::Map::new();
    for at in (0..given.count()).step_by(2) {
        let value = match (given.truth(at + 1, row), given.number(at + 1, row)) {
            (Some(truth), _) => truth.into(),
            (None, Some(number)) => number.into(),
            (None, None) => given.shown(at + 1, row).into(),
        };
        object.insert(given.shown(at, row)?, value);
    }
    serde_json::to_string(&object).ok()
}

/// What a formatted text may grow to.
const LONGEST: usize = 64 << 10;

fn is_plain(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    name.starts_with(is_letter) && name.chars().all(|letter| is_letter(letter) || letter.is_ascii_digit())
}

fn is_utf8(name: &str) -> bool {
    ["utf8", "utf-8", "unicode"].contains(&name.to_lowercase().as_str())
}

/// The number of a type that values here may have, by any of its names.
fn type_by_name(name: &str) -> Option<i32> {
    let name = name.trim().to_lowercase();
    let known = schema_tables::TYPES.iter().find(|kind| kind.name() == name || schema_tables::standard_name(kind) == name)?;
    i32::try_from(known.oid()).ok()
}

/// What is shown may be read, and nothing may be done but that.
fn is_granted(given: &Given, row: usize) -> Option<bool> {
    let last = given.text(given.count().checked_sub(1)?, row)?;
    Some(last.split(',').all(|wish| ["SELECT", "USAGE", "CONNECT", "EXECUTE"].contains(&wish.trim().to_uppercase().as_str())))
}

/// The numbers of a key's columns, one a row; there are no keys here.
fn expanded() -> ScalarUDF {
    let number = |name: &str| Field::new(name, DataType::Int32, true);
    let kind = DataType::Struct(vec![number("x"), number("n")].into());
    let rows = kind.clone();
    function("_pg_expandarray", 1, kind, move |given: &Given| Ok(new_null_array(&rows, given.rows)))
}

fn schemas(default_schema: &'static str) -> ScalarUDF {
    let kind = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
    let body = move |given: &Given| {
        let mut names = vec![default_schema];
        if given.is_true(0) {
            names.insert(0, "pg_catalog");
        }
        let list: ListArray = SingleRowListArrayBuilder::new(Arc::new(StringArray::from(names))).build_list_array();
        ScalarValue::try_from_array(&list, 0)?.to_array_of_size(given.rows)
    };
    function("current_schemas", 1, kind, body)
}

fn texts(name: &'static str, least: usize, value: impl Fn(&Given, usize) -> Option<String> + Send + Sync + 'static) -> ScalarUDF {
    let body = move |given: &Given| Ok(Arc::new((0..given.rows).map(|row| value(given, row)).collect::<StringArray>()) as ArrayRef);
    function(name, least, DataType::Utf8, body)
}

fn ints(name: &'static str, least: usize, value: impl Fn(&Given, usize) -> Option<i32> + Send + Sync + 'static) -> ScalarUDF {
    let body = move |given: &Given| Ok(Arc::new((0..given.rows).map(|row| value(given, row)).collect::<Int32Array>()) as ArrayRef);
    function(name, least, DataType::Int32, body)
}

fn longs(name: &'static str, least: usize, value: impl Fn(&Given, usize) -> Option<i64> + Send + Sync + 'static) -> ScalarUDF {
    let body = move |given: &Given| Ok(Arc::new((0..given.rows).map(|row| value(given, row)).collect::<Int64Array>()) as ArrayRef);
    function(name, least, DataType::Int64, body)
}

fn bools(name: &'static str, least: usize, value: impl Fn(&Given, usize) -> Option<bool> + Send + Sync + 'static) -> ScalarUDF {
    let body = move |given: &Given| Ok(Arc::new((0..given.rows).map(|row| value(given, row)).collect::<BooleanArray>()) as ArrayRef);
    function(name, least, DataType::Boolean, body)
}

type Body = dyn Fn(&Given) -> Result<ArrayRef> + Send + Sync;

fn function(
    name: &'static str,
    least: usize,
    returns: DataType,
    body: impl Fn(&Given) -> Result<ArrayRef> + Send + Sync + 'static,
) -> ScalarUDF {
    let signature = if least == 0 { Signature::nullary(Volatility::Stable) } else { Signature::variadic_any(Volatility::Stable) };
    ScalarUDF::new_from_impl(Answering { name, least, signature, returns, body: Whole(Arc::new(body)) })
}

/// What a function was given, each as number and as text where it is one.
struct Given {
    numbers: Vec<Option<Int64Array>>,
    words: Vec<Option<StringArray>>,
    truths: Vec<Option<BooleanArray>>,
    /// Everything else, as it is shown.
    others: Vec<Option<StringArray>>,
    rows: usize,
}

impl Given {
    fn new(arguments: &ScalarFunctionArgs) -> Result<Self> {
        let (mut numbers, mut words, mut truths, mut others) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for argument in &arguments.args {
            let array = argument.to_array(arguments.number_rows)?;
            let kind = array.data_type().clone();
            numbers.push(if kind.is_integer() { Some(cast(&array, &DataType::Int64)?.as_primitive::<Int64Type>().clone()) } else { None });
            let is_text = matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
            words.push(if is_text { Some(cast(&array, &DataType::Utf8)?.as_string::<i32>().clone()) } else { None });
            others.push(cast(&array, &DataType::Utf8).ok().map(|shown| shown.as_string::<i32>().clone()));
            truths.push(if kind == DataType::Boolean { Some(array.as_boolean().clone()) } else { None });
        }
        Ok(Self { numbers, words, truths, others, rows: arguments.number_rows })
    }

    fn count(&self) -> usize {
        self.words.len()
    }

    /// A number, also one that is written as text.
    fn int(&self, at: usize, row: usize) -> Option<i64> {
        match self.numbers.get(at)? {
            Some(numbers) => numbers.is_valid(row).then(|| numbers.value(row)),
            None => self.text(at, row)?.trim().parse().ok(),
        }
    }

    fn text(&self, at: usize, row: usize) -> Option<String> {
        self.words.get(at)?.as_ref().filter(|words| words.is_valid(row)).map(|words| words.value(row).to_owned())
    }

    fn number(&self, at: usize, row: usize) -> Option<i64> {
        self.numbers.get(at)?.as_ref().filter(|numbers| numbers.is_valid(row)).map(|numbers| numbers.value(row))
    }

    fn truth(&self, at: usize, row: usize) -> Option<bool> {
        self.truths.get(at)?.as_ref().filter(|truths| truths.is_valid(row)).map(|truths| truths.value(row))
    }

    fn shown(&self, at: usize, row: usize) -> Option<String> {
        self.others.get(at)?.as_ref().filter(|others| others.is_valid(row)).map(|others| others.value(row).to_owned())
    }

    fn is_true(&self, at: usize) -> bool {
        self.truths.get(at).and_then(Option::as_ref).is_some_and(|truths| !truths.is_empty() && truths.is_valid(0) && truths.value(0))
    }
}

/// A function that answers row by row.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Answering {
    name: &'static str,
    least: usize,
    signature: Signature,
    returns: DataType,
    body: Whole,
}

/// Two are the same when they are one.
#[derive(Clone)]
struct Whole(Arc<Body>);

impl std::fmt::Debug for Whole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Body")
    }
}

impl PartialEq for Whole {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.0), Arc::as_ptr(&other.0))
    }
}

impl Eq for Whole {}

impl std::hash::Hash for Whole {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).cast::<()>().hash(state);
    }
}

impl ScalarUDFImpl for Answering {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        if arguments.len() < self.least {
            return datafusion::common::plan_err!("Invalid function '{}': it takes at least {} arguments", self.name, self.least);
        }
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        (self.body.0)(&Given::new(&arguments)?).map(ColumnarValue::Array)
    }
}
