//! An order-independent checksum of rows: what Postgres sent and what lies in a file are compared by it, and a month
//! whose checksum has not changed is not written again.
//!
//! Every row is folded into 128 bits, value by value in column order, and the rows are added up. It detects faults, not
//! forgeries: files are authenticated by their encryption.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use sha2::{Digest, Sha256};

use crate::LakeError;

/// Odd constants with about as many ones as zeros, one pair per lane and purpose.
const VALUE: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];
const NULL: [u64; 2] = [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db];
const END: [u64; 2] = [0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3];
const START: [u64; 2] = [0x1d8e_4e27_c47d_124f, 0x2d35_8dcc_aa6c_78a5];

/// The sum over a set of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Checksum {
    pub(crate) rows: u64,
    lanes: [u64; 2],
}

impl Checksum {
    /// Adds the rows of a batch.
    pub(crate) fn add(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        let mut rows = vec![START; batch.num_rows()];
        for column in batch.columns() {
            fold_column(&mut rows, column.as_ref())?;
        }
        for row in rows {
            for lane in 0..2 {
                self.lanes[lane] = self.lanes[lane].wrapping_add(fold(row[lane] ^ END[lane], END[lane]));
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Returns the digest of the rows under a schema.
    pub(crate) fn digest(&self, schema_signature: &[u8]) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(schema_signature);
        digest.update(self.rows.to_le_bytes());
        digest.update(self.lanes[0].to_le_bytes());
        digest.update(self.lanes[1].to_le_bytes());
        digest.finalize().into()
    }
}

fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a product")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

fn add_value(row: &mut [u64; 2], value: u64) {
    for lane in 0..2 {
        row[lane] = fold(row[lane] ^ value, VALUE[lane]).wrapping_add(VALUE[lane]);
    }
}

fn add_bytes(row: &mut [u64; 2], bytes: &[u8]) {
    add_value(row, bytes.len() as u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        add_value(row, u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        add_value(row, u64::from_le_bytes(word));
    }
}

fn fold_column(rows: &mut [[u64; 2]], column: &dyn Array) -> Result<(), LakeError> {
    macro_rules! fold_values {
        ($array:expr, |$row:ident, $value:ident| $add:expr) => {{
            let array = $array;
            for (index, $row) in rows.iter_mut().enumerate() {
                if array.is_null(index) {
                    for lane in 0..2 {
                        $row[lane] = fold($row[lane] ^ NULL[lane], NULL[lane]).wrapping_add(1);
                    }
                } else {
                    let $value = array.value(index);
                    $add;
                }
            }
        }};
    }
    match column.data_type() {
        DataType::Boolean => fold_values!(column.as_boolean(), |row, value| add_value(row, u64::from(value))),
        DataType::Int32 => fold_values!(column.as_primitive::<Int32Type>(), |row, value| add_value(row, i64::from(value).cast_unsigned())),
        DataType::Int64 => fold_values!(column.as_primitive::<Int64Type>(), |row, value| add_value(row, value.cast_unsigned())),
        DataType::Float64 => fold_values!(column.as_primitive::<Float64Type>(), |row, value| add_value(row, value.to_bits())),
        DataType::Decimal128(..) => fold_values!(column.as_primitive::<Decimal128Type>(), |row, value| {
            let [low, high] = halves(value);
            add_value(row, low);
            add_value(row, high);
        }),
        DataType::Utf8 => fold_values!(column.as_string::<i32>(), |row, value| add_bytes(row, value.as_bytes())),
        DataType::Date32 => {
            fold_values!(column.as_primitive::<Date32Type>(), |row, value| add_value(row, i64::from(value).cast_unsigned()))
        }
        DataType::Timestamp(..) => {
            fold_values!(column.as_primitive::<TimestampMicrosecondType>(), |row, value| add_value(row, value.cast_unsigned()));
        }
        other => return Err(LakeError::UnsupportedType(other.to_string())),
    }
    Ok(())
}

fn halves(value: i128) -> [u64; 2] {
    let bits = value.cast_unsigned();
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a decimal")]
    [bits as u64, (bits >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn checksum(rows: &[(Option<i64>, Option<&str>)]) -> Checksum {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.0)));
        let texts: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|row| row.1)));
        let mut sum = Checksum::default();
        sum.add(&RecordBatch::try_from_iter([("number", numbers), ("text", texts)]).unwrap()).unwrap();
        sum
    }

    #[test]
    fn order_does_not_matter_and_every_value_does() {
        let rows = [(Some(1), Some("a")), (Some(2), None), (None, Some(""))];
        let sum = checksum(&rows);
        assert_eq!(sum, checksum(&[rows[2], rows[0], rows[1]]));
        for other in [
            vec![rows[0], rows[1]],
            vec![rows[0], rows[1], (None, None)],
            vec![rows[0], (Some(2), Some("")), rows[2]],
            vec![(Some(1), Some("b")), rows[1], rows[2]],
            vec![(Some(2), Some("a")), (Some(1), None), rows[2]],
            vec![rows[0], rows[1], rows[2], rows[2]],
        ] {
            assert_ne!(sum, checksum(&other), "{other:?}");
        }
    }

    #[test]
    fn batches_may_be_cut_anywhere() {
        let rows: Vec<_> = (0..100).map(|number| (Some(number), (number % 3 == 0).then_some("third"))).collect();
        let (left, right) = rows.split_at(37);
        let mut sum = checksum(left);
        let right = checksum(right);
        sum.rows += right.rows;
        for lane in 0..2 {
            sum.lanes[lane] = sum.lanes[lane].wrapping_add(right.lanes[lane]);
        }
        assert_eq!(sum, checksum(&rows));
    }
}
