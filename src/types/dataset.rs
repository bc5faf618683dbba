//! A table, described for the lake.

/// Whose schema a dataset is read from, and therefore whose key seals its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A table of every tenant schema; one set of files per customer, sealed with the customer's key.
    Tenant,
    /// A table of the control schema; one set of files per MSP, sealed with the MSP's key.
    Control,
    /// Rows that a room publishes itself (scores, marts); one set of files per MSP, sealed with the MSP's key.
    Published,
}

/// The types that travel from Postgres to the lake without loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnKind {
    /// `boolean`
    Bool,
    /// `integer`
    Int32,
    /// `bigint`
    Int64,
    /// `double precision`
    Float64,
    /// `numeric(precision, scale)`, exact
    Decimal { precision: u8, scale: i8 },
    /// `text`
    Text,
    /// `uuid`, written as text so that every client can join on it
    Uuid,
    /// `date`
    Date,
    /// `timestamptz`, microseconds in UTC
    Timestamp,
}

/// One column of a [`Dataset`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: ColumnKind,
    pub is_nullable: bool,
    /// Whether it may name somebody, or was written by somebody: a copy for strangers shows a pseudonym.
    pub is_personal: bool,
}

impl Column {
    /// Describes a column that is never null.
    pub const fn new(name: &'static str, kind: ColumnKind) -> Self {
        Self { name, kind, is_nullable: false, is_personal: false }
    }

    /// Describes a column that may be null.
    pub const fn nullable(name: &'static str, kind: ColumnKind) -> Self {
        Self { name, kind, is_nullable: true, is_personal: false }
    }

    /// Says that the column may name somebody; it is a text.
    #[must_use]
    pub const fn personal(self) -> Self {
        Self { is_personal: true, ..self }
    }
}

/// A table as the lake knows it. Rooms publish these; the lake knows no domain.
///
/// In the lake every row also carries `customer_id` (tenant datasets) and the partition column `month`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dataset {
    /// Name in the lake, `backup_runs`; the same as the table's.
    pub name: &'static str,
    pub source: Source,
    /// The `timestamptz` or `date` column whose UTC month decides the file; none for small tables that are written whole.
    pub month_column: Option<&'static str>,
    pub columns: &'static [Column],
    /// The order of rows in a file, and therefore what prunes well.
    pub sort: &'static [&'static str],
}
