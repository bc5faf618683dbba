//! What can go wrong in the warehouse.

use datafusion::error::DataFusionError;
use granary_types::{Classify, ErrorKind};

use crate::leash::End;
use crate::pool::OWN;
use crate::yaml::YamlError;

/// A failure of the warehouse.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// The statement is not a query that this session can answer; the text says where.
    #[error("{0}")]
    Query(String),
    /// A query asked for more than a budget allows; the message names the budget and its size.
    #[error("the query exceeds the warehouse's {budget} budget of {limit}")]
    Budget { budget: &'static str, limit: String },
    /// Others of the same MSP are asking.
    #[error("{0} questions of this MSP are being answered; ask again when one is done")]
    Busy(usize),
    /// The rest of an answer was not taken in time.
    #[error("the rest of the answer was not taken in time, and the query has ended; ask again")]
    Abandoned,
    /// A model file is wrong.
    #[error("model {model}: {problem}")]
    Model { model: String, problem: String },
    /// A description beside a model is not in the YAML subset.
    #[error("description of {model}: {source}")]
    Description { model: String, source: YamlError },
    /// A file of an MSP's own models is wrong; the place names it, and the line when it is known.
    #[error("{place}: {problem}")]
    OwnModel { place: String, problem: String },
    /// The MSP never pushed that version.
    #[error("there is no version {0} of the MSP's models; granary warehouse models lists them")]
    NoOwnVersion(i32),
    /// No model has the name.
    #[error("there is no model {0}; granary warehouse lineage lists them")]
    NoModel(String),
    /// Rows do not have the shape that the caller asked for.
    #[error("rows do not fit: {0}")]
    Rows(#[from] serde_json::Error),
    #[error(transparent)]
    Lake(#[from] granary_lake::LakeError),
    #[error("reading models: {0}")]
    Files(#[from] std::io::Error),
    #[error("reading the lake: {0}")]
    Engine(DataFusionError),
}

impl Classify for WarehouseError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Query(_) => ErrorKind::Invalid,
            Self::Budget { .. } => ErrorKind::TooLarge,
            Self::Busy(_) => ErrorKind::RateLimited,
            Self::Abandoned => ErrorKind::Conflict,
            Self::Lake(error) => error.kind(),
            Self::NoModel(_) | Self::NoOwnVersion(_) => ErrorKind::NotFound,
            Self::OwnModel { .. } => ErrorKind::Invalid,
            Self::Model { .. } | Self::Description { .. } => ErrorKind::Invalid,
            Self::Engine(error) if is_silence(error) => ErrorKind::Unavailable,
            Self::Rows(_) | Self::Files(_) | Self::Engine(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Query(_) => "query_refused",
            Self::Budget { .. } => "query_over_budget",
            Self::Busy(_) => "too_many_queries",
            Self::Abandoned => "answer_abandoned",
            Self::Lake(error) => error.code(),
            Self::NoModel(_) => "no_model",
            Self::NoOwnVersion(_) => "no_model_version",
            Self::OwnModel { .. } => "own_model_refused",
            Self::Model { .. } | Self::Description { .. } => "model_invalid",
            Self::Rows(_) => "rows_do_not_fit",
            Self::Files(_) => "models_unreadable",
            Self::Engine(_) => "lake_unreadable",
        }
    }
}

impl WarehouseError {
    /// Says that a step of a query broke off with a panic, which is the engine's fault and no reason for ours to end.
    pub(crate) fn panicked() -> Self {
        tracing::error!("a query panicked");
        Self::Query("the engine broke off within this query; ask in another way".to_owned())
    }

    /// Says whose fault an engine error is: the query's, a budget's, or ours.
    pub(crate) fn of_engine(error: DataFusionError, budget: &crate::Budget) -> Self {
        if let DataFusionError::External(cause) = error.find_root()
            && let Some(end) = cause.downcast_ref::<End>()
        {
            return (*end).into();
        }
        match error.find_root() {
            // The engine hands on what the library says that it uses.
            DataFusionError::External(cause) if cause.to_string().contains("regex") => {
                Self::Query("a regular expression in the query cannot be read".to_owned())
            }
            DataFusionError::ResourcesExhausted(message) if message.contains("disk") => {
                Self::Budget { budget: "spill", limit: crate::budget::bytes(budget.spill_bytes) }
            }
            DataFusionError::ResourcesExhausted(message) if message.contains(OWN) => {
                Self::Budget { budget: "memory", limit: crate::budget::bytes(budget.bytes_of_one()) }
            }
            DataFusionError::ResourcesExhausted(_) => {
                Self::Budget { budget: "shared memory", limit: crate::budget::bytes(budget.memory_bytes) }
            }
            DataFusionError::Plan(_) | DataFusionError::SchemaError(..) | DataFusionError::SQL(..) | DataFusionError::NotImplemented(_) => {
                Self::Query(first_line(&error.find_root().strip_backtrace()))
            }
            DataFusionError::ArrowError(..) | DataFusionError::Execution(_) | DataFusionError::Configuration(_) => {
                Self::Query(first_line(&error.find_root().strip_backtrace()))
            }
            _ => Self::Engine(error),
        }
    }
}

/// Tells whether the object store did not answer: it may later. The reader of files puts that into words and keeps no cause.
fn is_silence(error: &DataFusionError) -> bool {
    error.to_string().contains("Object Store error: Generic")
}

/// The engine's words in one line; where they do not help, our own.
fn first_line(message: &str) -> String {
    let mut line = message.lines().next().unwrap_or_default();
    let refusals =
        ["DDL not supported", "DML not supported", "Statement not supported", "Unsupported SQL statement", "Unsupported logical plan"];
    let is_refused = refusals.iter().any(|refusal| line.contains(refusal));
    if is_refused {
        "the warehouse is read-only: write a select".to_owned()
    } else if line.contains("only supports a single SQL statement") {
        "one statement at a time: write a single select".to_owned()
    } else if line.contains("No SQL statements") {
        "there is no query: write a select".to_owned()
    } else {
        for prefix in [
            "Error during planning: ",
            "This feature is not implemented: ",
            "Schema error: ",
            "Invalid or Unsupported Configuration: ",
            "SQL error: ",
            "ParserError(\"",
        ] {
            line = line.strip_prefix(prefix).unwrap_or(line);
        }
        line.strip_suffix("\")").unwrap_or(line).to_owned()
    }
}
