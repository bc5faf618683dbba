//! Where a customer may go from where it stands, and what is open to it there. Pure.

use granary_types::{CustomerStatus, LONGEST_REASON, Role, day_of, is_printable};
use jiff::{Timestamp, ToSpan};

use super::step::Operation;
use crate::customer::Customer;
use crate::error::TenantsError;
use crate::msp::Msp;

/// Days for which a customer that was suspended or has left may still restore and take its data along.
const GRACE_DAYS: i64 = 30;

/// A change of a customer's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// A trial becomes a customer; it never does by itself.
    Activate,
    Suspend,
    Resume,
    /// The customer leaves, or its trial is over.
    Close,
    Erase,
}

/// What a transition asks for.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub transition: Transition,
    pub from: &'static [CustomerStatus],
    pub to: CustomerStatus,
    /// Who may, besides the house itself.
    pub roles: &'static [Role],
    pub needs_reason: bool,
}

/// Every change of status that there is.
pub const TRANSITIONS: [Rule; 5] = [
    Rule {
        transition: Transition::Activate,
        from: &[CustomerStatus::Trial],
        to: CustomerStatus::Active,
        roles: &[Role::MspAdmin, Role::MspFinance],
        needs_reason: false,
    },
    Rule {
        transition: Transition::Suspend,
        from: &[CustomerStatus::Active],
        to: CustomerStatus::Suspended,
        roles: &[Role::MspAdmin, Role::MspFinance],
        needs_reason: true,
    },
    Rule {
        transition: Transition::Resume,
        from: &[CustomerStatus::Suspended],
        to: CustomerStatus::Active,
        roles: &[Role::MspAdmin, Role::MspFinance],
        needs_reason: false,
    },
    Rule {
        transition: Transition::Close,
        from: &[CustomerStatus::Trial, CustomerStatus::Active, CustomerStatus::Suspended],
        to: CustomerStatus::Closed,
        roles: &[Role::MspAdmin],
        needs_reason: true,
    },
    Rule {
        transition: Transition::Erase,
        from: &[CustomerStatus::Closed],
        to: CustomerStatus::Erased,
        roles: &[Role::MspAdmin],
        needs_reason: true,
    },
];

impl Transition {
    /// Returns its rule.
    pub const fn rule(self) -> &'static Rule {
        match self {
            Self::Activate => &TRANSITIONS[0],
            Self::Suspend => &TRANSITIONS[1],
            Self::Resume => &TRANSITIONS[2],
            Self::Close => &TRANSITIONS[3],
            Self::Erase => &TRANSITIONS[4],
        }
    }

    /// Returns the verb, as commands and the audit log write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Close => "close",
            Self::Erase => "erase",
        }
    }

    /// Finds the transition between two states.
    pub fn between(from: CustomerStatus, to: CustomerStatus) -> Option<Self> {
        TRANSITIONS.iter().find(|rule| rule.from.contains(&from) && rule.to == to).map(|rule| rule.transition)
    }

    /// Returns the operation whose steps other rooms add.
    pub const fn operation(self) -> Option<Operation> {
        match self {
            Self::Activate => None,
            Self::Suspend => Some(Operation::Suspend),
            Self::Resume => Some(Operation::Resume),
            Self::Close => Some(Operation::Close),
            Self::Erase => Some(Operation::Erase),
        }
    }

    /// Tells whether the change has anything to do; refuses one that cannot be made from here, or that lacks its reason.
    ///
    /// # Errors
    /// When the state machine has no such arrow, or the reason is missing or too long.
    pub fn check(self, from: CustomerStatus, reason: Option<&str>) -> Result<bool, TenantsError> {
        let rule = self.rule();
        if from != rule.to && !rule.from.contains(&from) {
            return Err(TenantsError::NoTransition { transition: self, from });
        }
        let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
        if rule.needs_reason && reason.is_none() {
            return Err(TenantsError::Invalid("a reason is needed"));
        }
        if reason.is_some_and(|reason| !is_printable(reason, LONGEST_REASON)) {
            return Err(TenantsError::Invalid("a reason has at most 500 characters, none of them a control character"));
        }
        Ok(from != rule.to)
    }
}

/// Something that a customer's state leaves open or shuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Usage events are counted: facts are never refused, late and after the end neither.
    Facts,
    /// Its people log in and read; its programs read.
    Portal,
    /// Commands are given, machines newly protected, control planes and sites added.
    Protection,
    /// Its own data is restored and taken along: nobody's data is held hostage.
    Restore,
}

impl Door {
    /// Every door.
    pub const ALL: [Self; 4] = [Self::Facts, Self::Portal, Self::Protection, Self::Restore];

    /// Returns what stands behind the door, for messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Facts => "usage events",
            Self::Portal => "the portal",
            Self::Protection => "new protection and commands",
            Self::Restore => "restore and export",
        }
    }
}

/// Where a customer stands, since when, and whether its trial is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub status: CustomerStatus,
    pub since: Timestamp,
    pub is_trial_over: bool,
}

impl Standing {
    /// Returns how a customer stands at an instant; the last day of a trial is the one before `trial_ends_on`, in the MSP's zone.
    pub fn of(msp: &Msp, customer: &Customer, now: Timestamp) -> Self {
        let today = day_of(now, &msp.time_zone);
        let is_trial_over = customer.trial_ends_on.is_some_and(|end| today >= end);
        Self { status: customer.status, since: customer.status_since, is_trial_over }
    }

    /// Tells whether a door is open.
    pub fn opens(&self, door: Door, now: Timestamp) -> bool {
        let grace_ends = self.since.checked_add((GRACE_DAYS * 24).hours()).unwrap_or(Timestamp::MAX);
        let in_grace = now < grace_ends;
        match (self.status, door) {
            (CustomerStatus::Erased, _) => false,
            (_, Door::Facts) => true,
            (CustomerStatus::Active, _) => true,
            (CustomerStatus::Trial, Door::Protection) => !self.is_trial_over,
            (CustomerStatus::Trial, Door::Portal | Door::Restore) => true,
            (CustomerStatus::Suspended, Door::Portal) => true,
            (CustomerStatus::Suspended | CustomerStatus::Closed, Door::Protection) => false,
            (CustomerStatus::Suspended, Door::Restore) | (CustomerStatus::Closed, Door::Portal | Door::Restore) => in_grace,
        }
    }

    /// Refuses what is shut.
    ///
    /// # Errors
    /// When the customer's state shuts the door.
    pub fn require(&self, door: Door, now: Timestamp) -> Result<(), TenantsError> {
        if self.opens(door, now) { Ok(()) } else { Err(TenantsError::DoorShut { door, status: self.status }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CustomerStatus::{Active, Closed, Erased, Suspended, Trial};

    #[test]
    fn there_are_these_arrows_and_no_others() {
        let mut arrows = Vec::new();
        for &from in CustomerStatus::ALL {
            for &to in CustomerStatus::ALL {
                if let Some(transition) = Transition::between(from, to) {
                    assert_eq!(transition.rule().transition, transition);
                    assert!(transition.check(from, Some("because")).unwrap());
                    arrows.push((from, transition.as_str(), to));
                }
            }
        }
        let expected = [
            (Trial, "activate", Active),
            (Trial, "close", Closed),
            (Active, "suspend", Suspended),
            (Active, "close", Closed),
            (Suspended, "resume", Active),
            (Suspended, "close", Closed),
            (Closed, "erase", Erased),
        ];
        assert_eq!(arrows, expected);
        for rule in TRANSITIONS {
            for &from in CustomerStatus::ALL {
                let outcome = rule.transition.check(from, Some("because"));
                // What is done already is done: a second request changes nothing and is no error.
                let is_allowed = rule.from.contains(&from) || from == rule.to;
                assert_eq!(outcome.is_ok(), is_allowed, "{} from {from}", rule.transition.as_str());
            }
        }
    }

    #[test]
    fn a_reason_is_asked_for_where_somebody_will_ask_why() {
        for (transition, from) in [(Transition::Suspend, Active), (Transition::Close, Suspended), (Transition::Erase, Closed)] {
            assert!(transition.check(from, None).is_err());
            assert!(transition.check(from, Some("  ")).is_err());
            assert!(transition.check(from, Some(&"x".repeat(501))).is_err());
            assert!(transition.check(from, Some("a\u{0}b")).is_err());
        }
        assert!(Transition::Resume.check(Suspended, None).unwrap());
    }

    #[test]
    fn the_state_opens_and_shuts_the_doors() {
        let since: Timestamp = "2025-10-01T00:00:00Z".parse().unwrap();
        let doors = |status, is_trial_over, days: i64| {
            let now = since.checked_add((days * 24).hours()).unwrap();
            let standing = Standing { status, since, is_trial_over };
            Door::ALL.map(|door| standing.opens(door, now))
        };
        assert_eq!(doors(Trial, false, 3), [true, true, true, true]);
        assert_eq!(doors(Trial, true, 31), [true, true, false, true]);
        assert_eq!(doors(Active, true, 400), [true, true, true, true]);
        assert_eq!(doors(Suspended, false, 29), [true, true, false, true]);
        assert_eq!(doors(Suspended, false, 30), [true, true, false, false]);
        assert_eq!(doors(Closed, false, 29), [true, true, false, true]);
        assert_eq!(doors(Closed, false, 30), [true, false, false, false]);
        assert_eq!(doors(Erased, false, 0), [false, false, false, false]);
    }
}
