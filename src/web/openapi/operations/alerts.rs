//! Limits, alerts and recommendations.

use super::Operation;

pub(super) const OPERATIONS: &[Operation] = &[];
