//! Times as people and databases write them, without a zone.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// The instant of a local time: the first of an ambiguous hour, the moment after the gap of a skipped one.
pub(crate) fn instant(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(time);
    let at = match ambiguous.offset() {
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(time).ok()?,
        AmbiguousOffset::Gap { .. } | AmbiguousOffset::Unambiguous { .. } => ambiguous.compatible().ok()?,
    };
    Timestamp::from_microsecond(at.as_microsecond()).ok()
}

/// The second instant of an ambiguous local time; none for any other.
pub(crate) fn second_instant(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(time).offset() {
        AmbiguousOffset::Fold { after, .. } => after.to_timestamp(time).ok(),
        AmbiguousOffset::Gap { .. } | AmbiguousOffset::Unambiguous { .. } => None,
    }
}
