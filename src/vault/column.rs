//! Single values that are sealed where they lie: personal data in columns, answers that name people.

use granary_foundation::Boxed;

use crate::keys::{Keys, Owner, WRAP, Wrapped};
use crate::{VaultError, seal};

/// What keeps a sealed value from passing for a sealed key.
const COLUMN: &str = "granary column ";

/// The one place where a sealed value opens: its table, column and row. The tenant is the owner of the key.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    pub table: &'static str,
    pub column: &'static str,
    /// The row's key, as bytes.
    pub row: &'a [u8],
}

impl<'a> Cell<'a> {
    /// Names a place.
    pub const fn of(table: &'static str, column: &'static str, row: &'a [u8]) -> Self {
        Self { table, column, row }
    }

    /// No name of a table or column has a zero byte, so that no two places read alike.
    fn name(&self) -> Vec<u8> {
        [COLUMN.as_bytes(), self.table.as_bytes(), &[0], self.column.as_bytes(), &[0], self.row].concat()
    }
}

impl Keys {
    /// Seals a value so that only its owner's key opens it, and only in its place.
    ///
    /// # Errors
    /// When the owner has no key, or it was destroyed.
    pub fn seal_column<'a>(&'a self, owner: Owner, plain: &'a [u8], cell: Cell<'a>) -> Boxed<'a, Result<Wrapped, VaultError>> {
        Box::pin(async move {
            let opened = self.open(owner).await?;
            let key = opened.get(owner, WRAP, opened.newest)?;
            Ok(Wrapped { bytes: seal::seal(key, plain, &cell.name())?, key_version: opened.newest })
        })
    }

    /// Opens what [`Keys::seal_column`] sealed.
    ///
    /// # Errors
    /// When the owner's key was destroyed, or the value was sealed for another owner or place.
    pub fn open_column<'a>(&'a self, owner: Owner, sealed: &'a Wrapped, cell: Cell<'a>) -> Boxed<'a, Result<Vec<u8>, VaultError>> {
        Box::pin(async move {
            let opened = self.open(owner).await?;
            let key = opened.get(owner, WRAP, sealed.key_version)?;
            seal::open(key, &sealed.bytes, &cell.name()).ok_or(VaultError::Sealed(owner))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_places_read_alike() {
        let cells = [
            Cell::of("mails", "sealed", b"1"),
            Cell::of("mails", "sealed", b"2"),
            Cell::of("mails", "seal", b"ed1"),
            Cell::of("contacts", "sealed", b"1"),
            Cell::of("mail", "ssealed", b"1"),
        ];
        let names: std::collections::BTreeSet<_> = cells.iter().map(Cell::name).collect();
        assert_eq!(names.len(), cells.len());
    }
}
