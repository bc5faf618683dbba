//! One step of an operation, as rooms implement it.

use std::fmt;

use granary_foundation::Boxed;
use granary_types::Classify;

use crate::catalog::Tenants;
use crate::customer::Customer;
use crate::msp::Msp;

/// An operation on a whole customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    Provision,
    Suspend,
    Resume,
    Close,
    Erase,
}

impl Operation {
    /// Every operation, in the order of a customer's life.
    pub const ALL: &'static [Self] = &[Self::Provision, Self::Suspend, Self::Resume, Self::Close, Self::Erase];

    /// Returns the word as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Close => "close",
            Self::Erase => "erase",
        }
    }

    /// Finds an operation by its stored word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|operation| operation.as_str() == word)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whom a step works on.
#[derive(Debug, Clone)]
pub struct Subject {
    pub tenants: Tenants,
    pub msp: Msp,
    pub customer: Customer,
    pub operation: Operation,
    /// Why, in the words of whoever began it.
    pub reason: Option<String>,
}

/// How much of a step's result is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Nothing,
    /// It was interrupted: done again it becomes whole, undone it becomes nothing.
    Part,
    Whole,
}

impl Extent {
    /// Sums up the parts of a result: all there, none there, or some.
    pub fn of(parts: impl IntoIterator<Item = bool>) -> Self {
        let (mut some, mut all) = (false, true);
        for part in parts {
            some |= part;
            all &= part;
        }
        match (some, all) {
            (true, true) => Self::Whole,
            (false, _) => Self::Nothing,
            (true, false) => Self::Part,
        }
    }
}

/// Why a step failed: an error of the room that implements it.
#[derive(Debug)]
pub struct StepFailure(pub(crate) Box<dyn Classify + Send + Sync>);

impl<E: Classify + Send + Sync + 'static> From<E> for StepFailure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

/// A step of an operation. Doing it twice, or two doing it at once, is the same as doing it once; the same holds for undoing.
pub trait LifecycleStep: fmt::Debug + Send + Sync {
    /// Returns the stable name under which its progress is stored, unique in its operation: `silo`, `lake.files`.
    fn name(&self) -> &'static str;

    /// Does it.
    fn perform<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>>;

    /// Takes it back; what was never done is taken back already. A step that cannot be taken back (a destroyed key) fails
    /// once it has been done.
    fn undo<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>>;

    /// Looks what of its result is there, without trusting the stored progress.
    fn verify<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<Extent, StepFailure>>;
}
