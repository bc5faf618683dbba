//! Functions that make much of little: what they make is held before any budget of memory sees it.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, Int64Array};
use datafusion::arrow::compute::kernels::length::length;
use datafusion::arrow::compute::{cast, concat, max, min, sum};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};
use datafusion::prelude::SessionContext;

use crate::leash::Leash;

/// What one call may make of the rows of one batch, where an argument says how much.
const MOST_BYTES: u128 = 64 << 20;
/// What one call may make at the worst of the rows of one batch, which is seldom what it makes.
const WORST_BYTES: u128 = 512 << 20;
/// Letters that one call may compare with each other.
const MOST_STEPS: u128 = 256 << 20;
/// What is made or compared between two looks at whether the query still runs.
const LOT: u128 = 4 << 20;
/// The longest letter.
const LETTER_BYTES: u128 = 4;
/// Texts of a length that an argument names: the second.
const STRETCHING: [&str; 3] = ["repeat", "lpad", "rpad"];
/// Texts in which every place that is found becomes another text: the third argument.
const REPLACING: [&str; 2] = ["replace", "regexp_replace"];
/// Texts put together with another between them: the first argument, and the second.
const JOINING: [&str; 2] = ["concat_ws", "array_to_string"];
/// Every letter of a text is held against a pattern, whose length is what that may take.
const MATCHING: [&str; 4] = ["regexp_like", "regexp_match", "regexp_count", "regexp_instr"];
/// Letters of the longest text and of its pattern, multiplied.
const MOST_MATCHING: u128 = 16 << 20;
/// Every letter of one text is held against every letter of another.
const COMPARING: &str = "levenshtein";
/// Lists of a length that an argument names. Series of rows are there as tables.
const LISTING: [&str; 6] = ["range", "generate_series", "array_repeat", "list_repeat", "array_resize", "list_resize"];

/// Bounds what functions make in a session of somebody else's questions, or takes them away.
pub(crate) fn bound(context: &SessionContext) -> Result<()> {
    for name in LISTING {
        context.deregister_udf(name);
    }
    for name in STRETCHING.into_iter().chain(REPLACING).chain(JOINING).chain(MATCHING).chain([COMPARING]) {
        let inner = context.udf(name)?;
        context.register_udf(ScalarUDF::new_from_impl(Bounded { inner }));
    }
    Ok(())
}

/// A function that refuses to make too much.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
}

impl Bounded {
    /// Works on lots of rows that cost little each, so that the end of the query is noticed between them.
    fn in_lots(&self, arguments: ScalarFunctionArgs, cost: u128) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let lot = usize::try_from((rows as u128).saturating_mul(LOT) / cost.max(1)).unwrap_or(rows).max(1);
        if lot >= rows || !arguments.args.iter().any(|argument| matches!(argument, ColumnarValue::Array(_))) {
            return self.inner.invoke_with_args(arguments);
        }
        let mut made = Vec::new();
        for start in (0..rows).step_by(lot) {
            Leash::check_current()?;
            let number_rows = lot.min(rows - start);
            let slice = |argument: &ColumnarValue| match argument {
                ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(start, number_rows)),
                ColumnarValue::Scalar(_) => argument.clone(),
            };
            let args = arguments.args.iter().map(slice).collect();
            let answer = self.inner.invoke_with_args(ScalarFunctionArgs { args, number_rows, ..arguments.clone() })?;
            made.push(answer.into_array(number_rows)?);
        }
        let made: Vec<&dyn Array> = made.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&made)?))
    }

    /// Returns what a call takes at the worst, and what it may.
    fn cost(&self, arguments: &ScalarFunctionArgs) -> Result<(u128, u128)> {
        let has_rows = arguments.args.iter().any(|argument| matches!(argument, ColumnarValue::Array(_)));
        let rows = if has_rows { arguments.number_rows as u128 } else { 1 };
        let args = arguments.args.as_slice();
        let worst = match (self.inner.name(), args) {
            ("repeat", [text, count]) => (largest(&values(count)?)?.saturating_mul(longest(text)?).saturating_mul(rows), MOST_BYTES),
            ("lpad" | "rpad", [_, count, ..]) => (largest(&values(count)?)?.saturating_mul(LETTER_BYTES).saturating_mul(rows), MOST_BYTES),
            ("replace", [text, from, to]) => {
                let places = total(text, rows)? / shortest(from)?.max(1) + rows;
                (places.saturating_mul(longest(to)?), WORST_BYTES)
            }
            ("regexp_replace", [text, _, to, ..]) => ((total(text, rows)? + rows).saturating_mul(longest(to)?), WORST_BYTES),
            ("concat_ws", [between, parts @ ..]) => {
                (longest(between)?.saturating_mul(parts.len() as u128).saturating_mul(rows), WORST_BYTES)
            }
            ("array_to_string", [list, between, ..]) => (total(list, rows)?.saturating_mul(longest(between)?), WORST_BYTES),
            (COMPARING, [one, other, ..]) => (longest(one)?.saturating_mul(longest(other)?).saturating_mul(rows), MOST_STEPS),
            (name, [text, pattern, ..]) if MATCHING.contains(&name) => {
                let each = longest(text)?.saturating_mul(longest(pattern)?);
                (each.saturating_mul(rows), MOST_MATCHING.saturating_mul(rows))
            }
            _ => (0, 0),
        };
        Ok(worst)
    }
}

/// Returns the length of the longest text or list.
fn longest(argument: &ColumnarValue) -> Result<u128> {
    lengths(argument).and_then(|lengths| largest(&lengths))
}

fn shortest(argument: &ColumnarValue) -> Result<u128> {
    let lengths = cast(&lengths(argument)?, &DataType::Int64)?;
    let least = lengths.as_any().downcast_ref::<Int64Array>().and_then(min).unwrap_or(0);
    Ok(u128::try_from(least).unwrap_or(0))
}

/// Returns the length of all texts or lists together.
fn total(argument: &ColumnarValue, rows: u128) -> Result<u128> {
    let of_rows = cast(&lengths(argument)?, &DataType::Int64)?;
    let sum = of_rows.as_any().downcast_ref::<Int64Array>().and_then(sum).unwrap_or(0);
    let times = if matches!(argument, ColumnarValue::Array(_)) { 1 } else { rows };
    Ok(u128::try_from(sum).unwrap_or(0).saturating_mul(times))
}

/// Returns the length of every text or list; of nothing, none.
fn lengths(argument: &ColumnarValue) -> Result<ArrayRef> {
    let values = values(argument)?;
    if values.data_type().is_null() { Ok(Arc::new(Int64Array::from(vec![0]))) } else { Ok(length(&values)?) }
}

/// A column, or the one row that a constant is.
fn values(argument: &ColumnarValue) -> Result<ArrayRef> {
    argument.to_array(1)
}

fn largest(numbers: &ArrayRef) -> Result<u128> {
    let numbers = cast(numbers, &DataType::Int64)?;
    let most = numbers.as_any().downcast_ref::<Int64Array>().and_then(max).unwrap_or(0);
    Ok(u128::try_from(most).unwrap_or(0))
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(arguments)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Leash::check_current()?;
        let (cost, most) = self.cost(&arguments)?;
        if cost > most && (self.name() == COMPARING || MATCHING.contains(&self.name())) {
            return exec_err!("{} would compare more than {} million letters at once", self.name(), most >> 20);
        }
        if cost > most {
            return exec_err!("{} would make more than {} MiB at once", self.name(), most >> 20);
        }
        self.in_lots(arguments, cost)
    }
}

#[cfg(test)]
mod tests {
    use granary_types::Role;
    use serde_json::{Value, json};

    use crate::fixture::{Shed, datasets, grant, models};

    #[tokio::test]
    async fn what_is_made_in_lots_is_what_is_made_at_once() {
        let shed = Shed::new(datasets(), models());
        let session = shed.session(&grant(Role::MspAdmin, None)).await.unwrap();
        let rows: Vec<Value> = session
            .rows(
                "select sum(length(replace(repeat('ab', 300) || a.value, 'b', 'ccc'))) as replaced, sum(length(a.value || '')) as digits,
                    max(levenshtein(repeat('x', 40) || a.value, repeat('y', 40) || a.value)) as apart,
                    count(*) filter (where regexp_like(repeat('a', 300) || a.value, '^a+7$')) as sevens
                 from range(5000) as a",
            )
            .await
            .unwrap();
        assert_eq!(rows, [json!({"replaced": 5_000 * 1_200 + 18_890, "digits": 18_890, "apart": 40, "sevens": 1})]);
    }

    #[tokio::test]
    async fn what_would_take_too_much_is_refused_by_name() {
        let shed = Shed::new(datasets(), models());
        let session = shed.session(&grant(Role::MspAdmin, None)).await.unwrap();
        for (sql, function) in [
            ("select repeat('x', 100000000)", "repeat"),
            ("select replace(repeat('a', 1000000), 'a', repeat('b', 1000000))", "replace"),
            ("select list_join(string_to_array(repeat('a,', 100000), ','), repeat('b', 100000))", "array_to_string"),
            ("select levenshtein(repeat('a', 100000), repeat('b', 100000))", "levenshtein"),
            ("select regexp_like(repeat('a', 100000), repeat('a?', 10000))", "regexp_like"),
        ] {
            let error = session.query(sql).await.unwrap_err().to_string();
            assert!(error.contains(&format!("{function} would")), "{sql}: {error}");
        }
    }
}
