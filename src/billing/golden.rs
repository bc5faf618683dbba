//! The golden numbers, and the properties that hold for every document.

use granary_types::{CountingRule, Currency, CustomerId, CustomerStatus, PartnerTier, Period, UnitPrice, line_amount};
use proptest::prelude::*;
use rust_decimal::Decimal;

use crate::price::default_list;
use crate::{
    AverageLimit, Coverage, Item, MachineCounts, Price, PriceBook, PriceOwner, RatedLine, RatingInput, Standing, Terms, WholesaleCustomer,
    margin_percent, rate, totals, wholesale,
};

const TERMS: Terms = Terms {
    currency: Currency::USD,
    storage_limit: AverageLimit::of_gib(1000),
    minimum_minor: 0,
    discount_percent: Decimal::ZERO,
    tax_percent: Decimal::ZERO,
    has_premium_support: false,
    has_white_label: false,
};

fn october() -> Period {
    "2025-10".parse().unwrap()
}

fn list() -> Vec<Price> {
    default_list(Currency::USD, "2015-01-01".parse().unwrap())
}

fn coverage(from: &str, status: CustomerStatus) -> Coverage {
    let from = from.parse().unwrap();
    Standing { contract_starts_on: from, contract_ends_on: None, changes: vec![(from, status)] }.coverage(october())
}

fn machines(backup: i64, enterprise: i64, replication: i64) -> MachineCounts {
    MachineCounts { backup: backup.into(), enterprise: enterprise.into(), replication: replication.into() }
}

fn input(prices: &PriceBook, machines: MachineCounts, terms: Terms) -> RatingInput<'_> {
    RatingInput {
        customer: CustomerId::new(),
        coverage: coverage("2025-01-01", CustomerStatus::Active),
        machines,
        counting_rule: CountingRule::DistinctInPeriod,
        stored_bytes_average: 0,
        is_estimated: false,
        terms,
        prices,
    }
}

fn net(lines: &[RatedLine]) -> i64 {
    totals(lines, Decimal::ZERO, Currency::USD).unwrap().net_minor
}

/// 50 customers whose machines add up to 1,500 + 750 + 250.
fn golden_portfolio() -> Vec<WholesaleCustomer> {
    let customer = |index: i64| WholesaleCustomer {
        customer: CustomerId::new(),
        code: format!("C{index:03}"),
        machines: machines(5 + index, 15, 5),
        overage_gib: Decimal::ZERO,
        share: Decimal::ONE,
        has_premium_support: false,
        has_white_label: false,
        has_retail_line: true,
    };
    let mut portfolio: Vec<_> = (0..50).map(customer).collect();
    portfolio[0].machines.backup += Decimal::from(25);
    portfolio
}

#[test]
fn the_golden_portfolio_is_billed_to_the_cent() {
    let book = PriceBook::new(list());
    let portfolio = golden_portfolio();
    let retail: i64 = portfolio.iter().map(|customer| net(&rate(&input(&book, customer.machines, TERMS)).unwrap())).sum();
    let lines = wholesale(&portfolio, &book, PartnerTier::Premier, Currency::USD, october()).unwrap();
    let (fee, machine_lines): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.item == Item::PlatformFee);
    let machine_cost: i64 = machine_lines.iter().map(|line| line.amount_minor).sum();
    assert_eq!(retail, 5_875_000);
    assert_eq!(machine_cost, 2_937_500);
    assert_eq!(machine_cost + fee[0].amount_minor, 2_957_500);
    assert_eq!(retail - machine_cost - fee[0].amount_minor, 2_917_500);
    assert_eq!(margin_percent(retail, machine_cost + fee[0].amount_minor), Some(Decimal::new(497, 1)));
}

#[test]
fn the_platform_fee_is_due_for_every_started_block_of_fifty() {
    let book = PriceBook::new(list());
    let fee = |customers: &[WholesaleCustomer]| {
        let lines = wholesale(customers, &book, PartnerTier::Elite, Currency::USD, october()).unwrap();
        lines.iter().filter(|line| line.item == Item::PlatformFee).map(|line| line.amount_minor).sum::<i64>()
    };
    let portfolio = golden_portfolio();
    let mut one_more = portfolio.clone();
    one_more.push(portfolio[0].clone());
    let on_free_trial = WholesaleCustomer { machines: machines(0, 0, 0), has_retail_line: false, ..portfolio[0].clone() };
    assert_eq!((fee(&[]), fee(&[on_free_trial]), fee(&portfolio), fee(&one_more)), (0, 0, 20_000, 40_000));
}

#[test]
fn the_margin_follows_the_partner_tier_and_not_the_retail_price() {
    let book = PriceBook::new([list(), vec![Price { owner: PriceOwner::Msp, unit_price: 99.into(), ..list()[0].clone() }]].concat());
    let customers = [WholesaleCustomer {
        machines: machines(1, 0, 0),
        overage_gib: Decimal::new(1500, 3),
        has_premium_support: true,
        has_white_label: true,
        share: Decimal::new(5, 1),
        ..golden_portfolio()[1].clone()
    }];
    let amounts = |tier| -> Vec<i64> {
        wholesale(&customers, &book, tier, Currency::USD, october()).unwrap().iter().map(|line| line.amount_minor).collect()
    };
    assert_eq!(amounts(PartnerTier::Authorized), [550, 8, 2_500, 5_000, 20_000]);
    assert_eq!(amounts(PartnerTier::Premier), [500, 8, 2_500, 5_000, 20_000]);
    assert_eq!(amounts(PartnerTier::Elite), [450, 7, 2_500, 5_000, 20_000]);
}

#[test]
fn discount_and_tax_agree_with_vspc() {
    let book = PriceBook::new(list());
    let terms = Terms { discount_percent: 15.into(), tax_percent: 10.into(), ..TERMS };
    let lines = rate(&input(&book, machines(40, 0, 0), terms)).unwrap();
    let sums = totals(&lines, terms.tax_percent, Currency::USD).unwrap();
    assert_eq!((lines[0].amount_minor, sums.net_minor, sums.total_minor), (40_000, 34_000, 37_400));
}

#[test]
fn average_machines_of_the_veeam_file_cost_62_58() {
    let book = PriceBook::new(list());
    let average = MachineCounts { backup: Decimal::new(62_581, 4), ..machines(0, 0, 0) };
    assert_eq!(net(&rate(&input(&book, average, TERMS)).unwrap()), 6_258);
}

#[test]
fn the_sums_and_upgrades_of_the_specification_hold() {
    assert_eq!(1_127_000 + 2_234_000 + 1_428_000, 4_789_000);
    let upgrade = |count: i64, from: i64, to: i64| {
        line_amount(count.into(), UnitPrice::from(to) - UnitPrice::from(from), Currency::USD).unwrap().amount_minor
    };
    assert_eq!((upgrade(68, 10, 25), upgrade(24, 10, 20), upgrade(52, 25, 100)), (102_000, 24_000, 390_000));
}

#[test]
fn what_is_missing_to_the_minimum_is_a_line_of_its_own() {
    let book = PriceBook::new(list());
    let terms = Terms { minimum_minor: 50_000, discount_percent: 10.into(), ..TERMS };
    let lines = rate(&input(&book, machines(40, 0, 0), terms)).unwrap();
    let items: Vec<_> = lines.iter().map(|line| (line.item, line.amount_minor)).collect();
    assert_eq!(items, [(Item::MachineBackup, 40_000), (Item::Discount, -4_000), (Item::MinimumTopUp, 14_000)]);
    let half = RatingInput { coverage: coverage("2025-10-17", CustomerStatus::Active), ..input(&book, machines(0, 0, 0), terms) };
    assert_eq!(net(&rate(&half).unwrap()), 24_195, "15 of 31 days are 0.4839 of the minimum");
}

#[test]
fn a_trial_prints_zero_lines_and_nothing_else() {
    let book = PriceBook::new(Vec::new());
    let terms = Terms { minimum_minor: 50_000, has_premium_support: true, ..TERMS };
    let trial = RatingInput { coverage: coverage("2025-10-05", CustomerStatus::Trial), ..input(&book, machines(3, 0, 1), terms) };
    let lines = rate(&trial).unwrap();
    assert_eq!(
        lines.iter().map(|line| (line.item, line.amount_minor)).collect::<Vec<_>>(),
        [(Item::MachineBackup, 0), (Item::MachineReplication, 0)]
    );
    assert_eq!(lines[0].description, "Machines, backup (distinct in period, trial)");
    let closed = RatingInput { coverage: coverage("2025-10-01", CustomerStatus::Closed), ..trial };
    assert!(rate(&closed).unwrap().is_empty());
}

#[test]
fn usage_and_monthly_charges_are_discounted_in_lines_of_their_own() {
    let book = PriceBook::new(list());
    let terms = Terms { discount_percent: 10.into(), ..TERMS };
    let stored_bytes_average = 1_100 * (1_i64 << 30) + (1_i64 << 29);
    let lines = rate(&RatingInput { stored_bytes_average, ..input(&book, machines(4, 0, 0), terms) }).unwrap();
    let all: Vec<_> = lines.iter().map(|line| (line.item, line.quantity.to_string(), line.amount_minor, line.is_recurring)).collect();
    assert_eq!(
        all,
        [
            (Item::MachineBackup, "4".to_owned(), 4_000, true),
            (Item::StorageOverage, "100.5".to_owned(), 1_005, false),
            (Item::Discount, "-1".to_owned(), -400, true),
            (Item::Discount, "-1".to_owned(), -101, false),
        ]
    );
}

prop_compose! {
    fn any_terms()(
        currency in prop_oneof![Just(Currency::USD), Just("JPY".parse().unwrap()), Just("KWD".parse().unwrap())],
        minimum_minor in 0..10_000_000_i64,
        discount in 0..=10_000_i64,
        tax in 0..=30_000_i64,
        has_premium_support: bool,
        has_white_label: bool,
    ) -> Terms {
        Terms {
            currency,
            storage_limit: AverageLimit::of_gib(100),
            minimum_minor,
            discount_percent: Decimal::new(discount, 2),
            tax_percent: Decimal::new(tax, 3),
            has_premium_support,
            has_white_label,
        }
    }
}

prop_compose! {
    fn any_book(currency: Currency)(prices in proptest::collection::vec(0..100_000_000_000_i64, 6)) -> PriceBook {
        let items = [Item::MachineBackup, Item::MachineEnterprise, Item::MachineReplication, Item::StorageOverage, Item::PremiumSupport, Item::WhiteLabel];
        let price = |(item, price): (Item, i64)| Price {
            owner: PriceOwner::Msp,
            item,
            unit_price: Decimal::new(price, 8),
            currency,
            valid_from: "2020-01-01".parse().unwrap(),
        };
        PriceBook::new(items.into_iter().zip(prices).map(price).collect())
    }
}

proptest! {
    #[test]
    fn printed_lines_multiply_and_add_up(
        (terms, book) in any_terms().prop_flat_map(|terms| (Just(terms), any_book(terms.currency))),
        counts in (0..100_000_000_i64, 0..100_000_000_i64, 0..100_000_000_i64),
        stored_bytes_average in 0..(1_i64 << 50),
        first_day in 1..=31_i8,
    ) {
        let counts = MachineCounts {
            backup: Decimal::new(counts.0, 4),
            enterprise: Decimal::new(counts.1, 4),
            replication: Decimal::new(counts.2, 4),
        };
        let coverage = coverage(&format!("2025-10-{first_day:02}"), CustomerStatus::Active);
        let lines = rate(&RatingInput { coverage, stored_bytes_average, ..input(&book, counts, terms) }).unwrap();
        for line in &lines {
            prop_assert!(line.quantity.normalize().scale() <= 4 && line.unit_price.normalize().scale() <= 8);
            prop_assert_eq!(line_amount(line.quantity, line.unit_price, terms.currency).unwrap().amount_minor, line.amount_minor);
        }
        let sums = totals(&lines, terms.tax_percent, terms.currency).unwrap();
        prop_assert_eq!(lines.iter().map(|line| line.amount_minor).sum::<i64>(), sums.net_minor);
        prop_assert_eq!(sums.net_minor + sums.tax_minor, sums.total_minor);
        let due = Decimal::from(terms.minimum_minor) * coverage.billable_share();
        prop_assert!(Decimal::from(sums.net_minor) >= due - Decimal::ONE, "the minimum is reached");
        prop_assert!(lines.iter().filter(|line| line.item != Item::Discount).all(|line| line.amount_minor >= 0));
    }
}
