//! Small tables made of things that are held anyway: one column after another, each told by a function of the thing.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_pg::datatypes::PG_CHAR_KEY;
use datafusion::arrow::array::{ArrayRef, BooleanArray, Float32Array, Int16Array, Int32Array, RecordBatch, StringArray, new_null_array};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::error::DataFusionError;
use datafusion_pg_catalog::pg_catalog::oid_field::oid_field;

/// A table in the making; each thing is a row.
pub(super) struct Sheet<'a, T> {
    things: &'a [T],
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl<'a, T> Sheet<'a, T> {
    pub(super) fn of(things: &'a [T]) -> Self {
        Self { things, fields: Vec::new(), arrays: Vec::new() }
    }

    fn with(mut self, field: Field, array: ArrayRef) -> Self {
        self.fields.push(field);
        self.arrays.push(array);
        self
    }

    /// A number of a thing, of a kind such as `oid` or `regclass`.
    pub(super) fn oid(self, name: &str, kind: &str, value: impl Fn(&T) -> i32) -> Self {
        let array: Int32Array = self.things.iter().map(|thing| Some(value(thing))).collect();
        self.with(oid_field(name, kind, true), Arc::new(array))
    }

    pub(super) fn int2(self, name: &str, value: impl Fn(&T) -> i16) -> Self {
        let array: Int16Array = self.things.iter().map(|thing| Some(value(thing))).collect();
        self.with(Field::new(name, DataType::Int16, true), Arc::new(array))
    }

    pub(super) fn int4(self, name: &str, value: impl Fn(&T) -> Option<i32>) -> Self {
        let array: Int32Array = self.things.iter().map(value).collect();
        self.with(Field::new(name, DataType::Int32, true), Arc::new(array))
    }

    pub(super) fn float4(self, name: &str, value: impl Fn(&T) -> f32) -> Self {
        let array: Float32Array = self.things.iter().map(|thing| Some(value(thing))).collect();
        self.with(Field::new(name, DataType::Float32, true), Arc::new(array))
    }

    pub(super) fn bool(self, name: &str, value: impl Fn(&T) -> bool) -> Self {
        let array: BooleanArray = self.things.iter().map(|thing| Some(value(thing))).collect();
        self.with(Field::new(name, DataType::Boolean, true), Arc::new(array))
    }

    pub(super) fn text(self, name: &str, value: impl Fn(&T) -> String) -> Self {
        self.texts(name, |thing| Some(value(thing)))
    }

    pub(super) fn texts(self, name: &str, value: impl Fn(&T) -> Option<String>) -> Self {
        let array: StringArray = self.things.iter().map(value).collect();
        self.with(Field::new(name, DataType::Utf8, true), Arc::new(array))
    }

    /// The same letter or word for all.
    pub(super) fn all(self, name: &str, word: &str) -> Self {
        self.text(name, |_| word.to_owned())
    }

    /// Nothing for all.
    pub(super) fn none(self, name: &str) -> Self {
        self.texts(name, |_| None)
    }

    /// No list for all.
    pub(super) fn no_list(self, name: &str) -> Self {
        self.no_list_of(name, DataType::Utf8)
    }

    /// No list for all, where clients take lists of one kind apart.
    pub(super) fn no_list_of(self, name: &str, item: DataType) -> Self {
        let kind = DataType::List(Arc::new(Field::new_list_field(item, true)));
        let array = new_null_array(&kind, self.things.len());
        self.with(Field::new(name, kind, true), array)
    }

    /// One letter, which Postgres has a type of its own for.
    pub(super) fn letter(self, name: &str, value: impl Fn(&T) -> char) -> Self {
        let array: StringArray = self.things.iter().map(|thing| Some(value(thing).to_string())).collect();
        let field = Field::new(name, DataType::Utf8, true).with_metadata(HashMap::from([(PG_CHAR_KEY.to_owned(), "char".to_owned())]));
        self.with(field, Arc::new(array))
    }

    pub(super) fn table(self) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        let schema = Arc::new(Schema::new(self.fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), self.arrays)?;
        Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
    }
}

/// A table that is there, and holds nothing.
pub(super) fn empty(columns: &[&str]) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    columns.iter().fold(Sheet::<()>::of(&[]), |sheet, name| sheet.none(name)).table()
}
