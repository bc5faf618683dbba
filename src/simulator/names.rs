//! What customers and machines are called.

use std::collections::HashSet;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The customers that every portfolio begins with: name, code, vertical and, at fifty customers, machines by tier.
pub(crate) const FIRST: [(&str, &str, &str, [u32; 3]); 4] = [
    ("Acme Corp", "ACME", "construction", [68, 0, 0]),
    ("Globex Inc", "GLOBEX", "office", [0, 0, 45]),
    ("Wayne Enterprises", "WAYNE", "office", [0, 52, 0]),
    ("Local Bank", "LOCALBANK", "office", [0, 31, 0]),
];

/// The customer on trial, and its machines.
pub(crate) const TRIAL: (&str, &str, &str, u32) = ("Tech Startup LLC", "TECHSTARTUP", "office", 24);

const PLACES: [&str; 20] = [
    "Harbor",
    "Summit",
    "Cedar",
    "Lakeside",
    "Granite",
    "Prairie",
    "Beacon",
    "Juniper",
    "Ironwood",
    "Silver",
    "Canyon",
    "Willow",
    "Redstone",
    "Bluewater",
    "Maple",
    "Northgate",
    "Orchard",
    "Falcon",
    "Sterling",
    "Riverside",
];

const TRADES: [(&str, &[&str]); 4] = [
    ("office", &["Legal Partners", "Dental Group", "Insurance Agency", "Accounting", "Architects", "Consulting"]),
    ("education", &["School District", "Community College", "Academy", "Public Library"]),
    ("retail", &["Outfitters", "Grocers", "Home Supply", "Auto Parts", "Pharmacy"]),
    ("construction", &["Builders", "Mechanical", "Electric", "Paving"]),
];

const OF_MACHINES: [&str; 12] = ["DC", "FS", "SQL", "APP", "WEB", "RDS", "ERP", "MAIL", "PRT", "DEV", "HR", "BI"];

/// Hands out names that no two customers share.
#[derive(Debug)]
pub(crate) struct Names {
    places: Vec<&'static str>,
    given: HashSet<String>,
}

impl Names {
    pub(crate) fn new(rng: &mut ChaCha8Rng) -> Self {
        let mut places = PLACES.to_vec();
        places.shuffle(rng);
        Self { places, given: HashSet::new() }
    }

    /// Returns a name and a code for a customer of a vertical.
    pub(crate) fn next(&mut self, vertical: &str) -> (String, String) {
        let trades = TRADES.iter().find(|(name, _)| *name == vertical).map_or(TRADES[0].1, |(_, trades)| trades);
        let turn = self.given.len() / 3;
        let place = self.places[self.given.len() % self.places.len()];
        // when a place has had all trades of a vertical, numbers tell its customers apart
        let number = |round: usize| if round == 0 { String::new() } else { format!(" {}", round + 1) };
        let rounds = (0_usize..).flat_map(|round| {
            trades.iter().cycle().skip(turn).take(trades.len()).map(move |trade| format!("{place} {trade}{}", number(round)))
        });
        let name = rounds.into_iter().find(|name| !self.given.contains(name)).unwrap_or_else(|| place.to_owned());
        self.given.insert(name.clone());
        let code = name.to_ascii_uppercase().replace(' ', "-");
        (name, code)
    }
}

/// Returns a machine's name, `SQL-07`.
pub(crate) fn machine(number: u32) -> String {
    format!("{}-{:02}", OF_MACHINES[number as usize % OF_MACHINES.len()], number + 1)
}
