//! The numbers of the overview, gathered side by side from the warehouse.

use granary_access::Permission;
use granary_intelligence::churn::{NOTHING_STANDS_OUT, TOLD_FROM_LOG_ODDS};
use granary_types::{Currency, CustomerCode, Period, Tier};
use granary_warehouse::Session;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::format;
use crate::http::{Problem, Visitor};
use crate::queries::{Holes, portfolio_queries as sql, rows};

/// A month of the whole portfolio.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct HeadlineRow {
    pub(crate) active_customers: i64,
    pub(crate) machines_backup: i64,
    pub(crate) machines_enterprise: i64,
    pub(crate) machines_replication: i64,
    pub(crate) mrr_minor: i64,
    /// Recurring and usage revenue together.
    pub(crate) billed_minor: i64,
}

impl HeadlineRow {
    /// Machines of all tiers.
    pub(crate) const fn machines(&self) -> i64 {
        self.machines_backup + self.machines_enterprise + self.machines_replication
    }
}

#[derive(Debug, Deserialize)]
struct PeriodHeadlineRow {
    period: Period,
    #[serde(flatten)]
    headline: HeadlineRow,
}

/// What the open month would bill if it ended now.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RunRateRow {
    pub(crate) period: Period,
    pub(crate) amount_minor: i64,
}

/// Revenue of a month.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TrendRow {
    pub(crate) period: Period,
    pub(crate) mrr_minor: i64,
    pub(crate) usage_revenue_minor: i64,
}

/// A large customer.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TopRow {
    pub(crate) customer_code: CustomerCode,
    pub(crate) customer_name: String,
    pub(crate) machines: i64,
    pub(crate) mrr_minor: i64,
}

/// The machines of a tier.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct MixRow {
    pub(crate) tier: Tier,
    /// A quantity: whole machines, or four decimals where the price book averages.
    pub(crate) machines: Decimal,
    pub(crate) amount_minor: i64,
}

/// The chance that a customer gives notice within 90 days, and what says so.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ChurnScore {
    /// Hundredths of a per cent.
    pub(crate) risk_percent: i64,
    /// `high`, `medium`, `low`.
    pub(crate) risk: String,
    /// A JSON array of reasons, the weightiest first.
    reasons: String,
    /// The model in charge: `rule`, `held` or `learned`.
    model: String,
    /// Why it is in charge, in words.
    state: String,
    challenger_model: Option<String>,
    challenger_auc: Option<f64>,
    challenger_auc_low: Option<f64>,
    challenger_auc_high: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct ReasonIn {
    words: String,
    /// What it adds; what speaks against a departure is below zero.
    log_odds: f64,
}

impl ChurnScore {
    /// The weightiest reasons that speak for a departure, in words; the first is the one that the command line names.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let reasons: Vec<ReasonIn> = serde_json::from_str(&self.reasons).unwrap_or_default();
        let told = reasons.into_iter().filter(|reason| reason.log_odds > TOLD_FROM_LOG_ODDS).take(3).map(|reason| reason.words);
        let told: Vec<_> = told.collect();
        if told.is_empty() { vec![NOTHING_STANDS_OUT.to_owned()] } else { told }
    }

    /// The risk as a word and a number.
    pub(crate) fn words(&self) -> String {
        format!("{} · {}", self.risk, format::percent_of_basis(self.risk_percent))
    }

    /// The tone of the risk.
    pub(crate) fn tone(&self) -> &'static str {
        match self.risk.as_str() {
            "high" => "bad",
            "medium" => "warn",
            _ => "good",
        }
    }

    /// Says which model is in charge, why, and how good the one beside it is.
    pub(crate) fn sentence(&self) -> String {
        let in_charge = match self.model.as_str() {
            "rule" => "The rule is in charge",
            "held" => "A small learned model, held to the rule, is in charge",
            _ => "The learned model is in charge",
        };
        let mut text = format!("{in_charge}: {}.", self.state);
        if let (Some(model), Some(auc)) = (&self.challenger_model, self.challenger_auc) {
            text.push_str(&format!(" Beside it stands the {model} model with an AUC of {auc:.2}"));
            if let (Some(low), Some(high)) = (self.challenger_auc_low, self.challenger_auc_high) {
                text.push_str(&format!(" (95 % interval {low:.2} to {high:.2})"));
            }
            text.push('.');
        }
        text
    }
}

/// A customer that may leave.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ChurnRow {
    pub(crate) customer_code: CustomerCode,
    pub(crate) customer_name: String,
    pub(crate) mrr_minor: i64,
    #[serde(flatten)]
    pub(crate) score: ChurnScore,
}

/// Customers of a health band.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct HealthRow {
    pub(crate) band: String,
    pub(crate) customers: i64,
}

/// Service levels of all customers together.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct LevelsRow {
    pub(crate) customers: i64,
    pub(crate) customers_met: i64,
    pub(crate) machine_days_met: i64,
    pub(crate) machine_days_scheduled: i64,
    pub(crate) runs_succeeded: i64,
    pub(crate) runs_total: i64,
    pub(crate) restores: i64,
    pub(crate) tickets: i64,
    pub(crate) tickets_in_target: i64,
}

/// Something that could be sold.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ExpansionRow {
    pub(crate) customer_code: CustomerCode,
    pub(crate) customer_name: String,
    kind: String,
    item: String,
    quantity: i64,
    pub(crate) monthly_minor: i64,
}

impl ExpansionRow {
    /// What it is, in words.
    pub(crate) fn words(&self) -> String {
        let thing = self.item.trim_start_matches("machine_").replace('_', " ");
        let machines = format::counted(self.quantity, "machine", "machines");
        match self.kind.as_str() {
            "tier_upgrade" => format!("{machines} to {thing}"),
            "trial_conversion" => format!("Trial to convert: {machines} at {thing}"),
            "near_limit" => format!("Close to the machine limit: {machines} more at {thing}"),
            _ => format!("Not taken yet: {thing}"),
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
struct AmountRow {
    amount_minor: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct RetailRow {
    machines_minor: i64,
    all_minor: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct CostRow {
    wholesale_minor: i64,
    fee_minor: i64,
}

/// What the MSP itself pays.
#[derive(Debug, Clone)]
pub(crate) struct Cost {
    pub(crate) wholesale_minor: i64,
    pub(crate) fee_minor: i64,
}

/// The machine charges of the month.
#[derive(Debug, Clone)]
pub(crate) struct Charges {
    pub(crate) retail_minor: i64,
    /// With everything else that customers are charged for, before tax.
    pub(crate) all_minor: i64,
    /// None for those who do not see wholesale.
    pub(crate) cost: Option<Cost>,
}

/// Everything on the overview.
#[derive(Debug, Clone)]
pub(crate) struct Portfolio {
    pub(crate) period: Period,
    pub(crate) currency: Currency,
    pub(crate) now: HeadlineRow,
    pub(crate) before: HeadlineRow,
    pub(crate) run_rate: Option<RunRateRow>,
    pub(crate) trend: Vec<TrendRow>,
    pub(crate) charges: Charges,
    pub(crate) top: Vec<TopRow>,
    pub(crate) mix: Vec<MixRow>,
    pub(crate) churn: Vec<ChurnRow>,
    pub(crate) health: Vec<HealthRow>,
    pub(crate) levels: LevelsRow,
    pub(crate) expansion: Vec<ExpansionRow>,
    pub(crate) expansion_minor: i64,
}

/// Asks within a session, with the same holes each time.
struct Asker<'a> {
    session: &'a Session,
    holes: Holes,
    visitor: &'a Visitor,
}

impl Asker<'_> {
    async fn rows<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, Problem> {
        rows(self.session, &self.holes.fill(sql)).await
    }

    /// Asks what needs a permission; without it there are no rows, and the catalog would not have the table either.
    async fn rows_if<T: DeserializeOwned>(&self, permission: Permission, sql: &str) -> Result<Vec<T>, Problem> {
        if self.visitor.may(permission) { self.rows(sql).await } else { Ok(Vec::new()) }
    }

    /// Asks what belongs to the MSP as a whole.
    async fn rows_of_all<T: DeserializeOwned>(&self, permission: Permission, sql: &str) -> Result<Vec<T>, Problem> {
        if self.visitor.principal.sees_all() { self.rows_if(permission, sql).await } else { Ok(Vec::new()) }
    }
}

impl Portfolio {
    /// Asks everything at once: the page waits for the slowest answer, not for their sum.
    pub(crate) async fn load(session: &Session, visitor: &Visitor, period: Period) -> Result<Self, Problem> {
        let ask = Asker { session, holes: Holes::of_period(period), visitor };
        let money = async {
            futures::try_join!(
                ask.rows::<PeriodHeadlineRow>(sql::HEADLINE),
                ask.rows::<RunRateRow>(sql::RUN_RATE),
                ask.rows::<TrendRow>(sql::TREND),
                ask.rows::<RetailRow>(sql::RETAIL),
                ask.rows_of_all::<CostRow>(Permission::MarginRead, sql::MACHINE_COST),
                ask.rows::<TopRow>(sql::TOP_CUSTOMERS),
                ask.rows::<MixRow>(sql::PLAN_MIX),
            )
        };
        let scores = async {
            futures::try_join!(
                ask.rows_if::<ChurnRow>(Permission::IntelligenceRead, sql::CHURN_RISK),
                ask.rows_if::<HealthRow>(Permission::IntelligenceRead, sql::HEALTH_BANDS),
                ask.rows::<LevelsRow>(sql::SERVICE_LEVELS),
                ask.rows_if::<ExpansionRow>(Permission::IntelligenceRead, sql::EXPANSION_TOP),
                ask.rows_if::<AmountRow>(Permission::IntelligenceRead, sql::EXPANSION_TOTAL),
            )
        };
        let ((headlines, run_rate, trend, retail, cost, top, mix), (churn, health, levels, expansion, expansion_total)) =
            futures::try_join!(money, scores)?;
        let headline =
            |of: Period| headlines.iter().find(|row| row.period == of).map_or_else(HeadlineRow::default, |row| row.headline.clone());
        let amount = |rows: &[AmountRow]| rows.first().map_or(0, |row| row.amount_minor);
        Ok(Self {
            period,
            currency: visitor.msp()?.currency,
            now: headline(period),
            before: headline(period.previous()),
            run_rate: run_rate.into_iter().next(),
            trend,
            charges: Charges {
                retail_minor: retail.first().map_or(0, |row| row.machines_minor),
                all_minor: retail.first().map_or(0, |row| row.all_minor),
                cost: cost.first().map(|row| Cost { wholesale_minor: row.wholesale_minor, fee_minor: row.fee_minor }),
            },
            top,
            mix,
            churn,
            health,
            levels: levels.into_iter().next().unwrap_or_default(),
            expansion,
            expansion_minor: amount(&expansion_total),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_from_a_tenth_on_here_as_everywhere() {
        let score = |reasons: &str| ChurnScore {
            risk_percent: 500,
            risk: "low".to_owned(),
            reasons: reasons.to_owned(),
            model: "rule".to_owned(),
            state: String::new(),
            challenger_model: None,
            challenger_auc: None,
            challenger_auc_low: None,
            challenger_auc_high: None,
        };
        let weak = score(r#"[{"words": "a", "log_odds": -0.9}, {"words": "b", "log_odds": 0.08}]"#);
        assert_eq!(weak.reasons(), ["nothing stands out"]);
        let strong = score(r#"[{"words": "a", "log_odds": 0.4}, {"words": "b", "log_odds": 0.08}, {"words": "c", "log_odds": -0.01}]"#);
        assert_eq!(strong.reasons(), ["a"]);
    }
}
