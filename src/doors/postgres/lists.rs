//! Lists, counted out: what `generate_subscripts` numbers before its numbers become rows.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Array, ListArray, new_null_array};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// What one call may number of the rows of one batch: 64 MiB of numbers, for no budget of memory sees them.
const MOST_NUMBERS: usize = 16 << 20;

/// `list_subscripts(list, 1)`: the numbers of a list's items, from one. Postgres counts the keys of indexes from zero; there are none here.
pub(super) fn subscripts() -> ScalarUDF {
    ScalarUDF::new_from_impl(Subscripts { signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Subscripts {
    signature: Signature,
}

fn item() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Int32, true))
}

impl ScalarUDFImpl for Subscripts {
    fn name(&self) -> &str {
        "list_subscripts"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::List(_) | DataType::Null, dimension] if dimension.is_integer() => Ok(DataType::List(item())),
            _ => plan_err!("generate_subscripts takes a list and the number of its dimension"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [lists, dimension] = arguments.args.as_slice() else { return exec_err!("generate_subscripts takes two arguments") };
        let dimension = cast(&dimension.to_array(1)?, &DataType::Int64)?;
        if dimension.as_primitive::<Int64Type>().iter().any(|dimension| dimension != Some(1)) {
            return exec_err!("generate_subscripts numbers the first dimension only");
        }
        // A constant is numbered once, however many rows it stands in.
        match lists {
            ColumnarValue::Array(lists) => Ok(ColumnarValue::Array(numbered(lists)?)),
            ColumnarValue::Scalar(list) => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&numbered(&list.to_array()?)?, 0)?)),
        }
    }
}

fn numbered(lists: &ArrayRef) -> Result<ArrayRef> {
    if lists.data_type().is_null() {
        return Ok(new_null_array(&DataType::List(item()), lists.len()));
    }
    let Some(lists) = lists.as_list_opt::<i32>() else { return exec_err!("generate_subscripts takes a list") };
    let length = |row| if lists.is_null(row) { 0 } else { usize::try_from(lists.value_length(row)).unwrap_or(0) };
    let lengths: Vec<usize> = (0..lists.len()).map(length).collect();
    if lengths.iter().sum::<usize>() > MOST_NUMBERS {
        return exec_err!("generate_subscripts may make {MOST_NUMBERS} numbers at once: ask for fewer rows");
    }
    let numbers: Int32Array = lengths.iter().flat_map(|length| (1..).take(*length)).map(Some).collect();
    Ok(Arc::new(ListArray::try_new(item(), OffsetBuffer::from_lengths(lengths), Arc::new(numbers), lists.nulls().cloned())?))
}
