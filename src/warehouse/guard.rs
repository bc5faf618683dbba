//! Functions that make much of little: what they make is held before any budget of memory sees it.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, Int64Array};
use datafusion::arrow::compute::kernels::length::length;
use datafusion::arrow::compute::{cast, max};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};
use datafusion::prelude::SessionContext;

/// What one call may make of the rows of one batch.
const MOST_BYTES: u128 = 64 << 20;
/// The longest letter.
const LETTER_BYTES: u128 = 4;
/// Texts of a length that an argument names: the second.
const STRETCHING: [&str; 3] = ["repeat", "lpad", "rpad"];
/// Lists of a length that an argument names. Series of rows are there as tables.
const LISTING: [&str; 6] = ["range", "generate_series", "array_repeat", "list_repeat", "array_resize", "list_resize"];

/// Bounds what functions make in a session of somebody else's questions, or takes them away.
pub(crate) fn bound(context: &SessionContext) -> Result<()> {
    for name in LISTING {
        context.deregister_udf(name);
    }
    for name in STRETCHING {
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
    fn made_bytes(&self, arguments: &ScalarFunctionArgs) -> Result<u128> {
        let [text, count, ..] = arguments.args.as_slice() else { return Ok(0) };
        let has_rows = arguments.args.iter().any(|argument| matches!(argument, ColumnarValue::Array(_)));
        let rows = if has_rows { arguments.number_rows } else { 1 };
        let letters = if self.inner.name() == "repeat" { largest(&length(&values(text)?)?)? } else { LETTER_BYTES };
        Ok(largest(&values(count)?)?.saturating_mul(letters).saturating_mul(rows as u128))
    }
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
        if self.made_bytes(&arguments)? > MOST_BYTES {
            return exec_err!("{} would make more than {} MiB at once", self.name(), MOST_BYTES >> 20);
        }
        self.inner.invoke_with_args(arguments)
    }
}
