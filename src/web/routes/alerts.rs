//! The rows of limits, alerts and recommendations.

use super::Route;

pub(super) const ROWS: &[Route] = &[];
