//! What an MSP knows about a customer and the customer does not meet: health, churn, revenue over time.

use granary_intelligence::health::most_points;
use granary_reports::charts::{ChartSpec, Form, SeriesRole, Unit};
use granary_types::{Currency, Period};
use granary_warehouse::Session;
use maud::{Markup, html};
use serde::Deserialize;

use crate::http::Problem;
use crate::pages::overview::band_tone;
use crate::pages::portfolio::{ChurnScore, TrendRow};
use crate::queries::{Holes, customer_queries as sql, rows};
use crate::{format, layout};

#[derive(Debug, Clone, Deserialize)]
struct HealthRow {
    score: Option<i64>,
    state: String,
    previous_score: Option<i64>,
    backup_points: Option<i64>,
    payment_points: Option<i64>,
    tickets_points: Option<i64>,
    adoption_points: Option<i64>,
    utilisation_points: Option<i64>,
    cap_points: i64,
    explanation: String,
    overdue_minor: i64,
    overdue_days: i64,
}

#[derive(Debug, Clone, Deserialize)]
struct HealthTrendRow {
    period: Period,
    score: Option<i64>,
}

#[derive(Debug, Clone, Deserialize)]
struct CurrencyRow {
    currency: Currency,
}

/// Health, churn and revenue of one customer.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    health: Option<HealthRow>,
    churn: Option<ChurnScore>,
    scores: Vec<HealthTrendRow>,
    revenue: Vec<TrendRow>,
    currency: Currency,
}

impl Standing {
    /// Asks all of it at once.
    pub(crate) async fn load(session: &Session, holes: &Holes) -> Result<Self, Problem> {
        let sql = [sql::HEALTH, sql::CHURN, sql::HEALTH_TREND, sql::REVENUE, sql::CURRENCY].map(|sql| holes.fill(sql));
        let (health, churn, scores, revenue, currency) = futures::try_join!(
            rows::<HealthRow>(session, &sql[0]),
            rows::<ChurnScore>(session, &sql[1]),
            rows::<HealthTrendRow>(session, &sql[2]),
            rows::<TrendRow>(session, &sql[3]),
            rows::<CurrencyRow>(session, &sql[4]),
        )?;
        Ok(Self {
            health: health.into_iter().next(),
            churn: churn.into_iter().next(),
            scores,
            revenue,
            currency: currency.first().map_or(Currency::USD, |row| row.currency),
        })
    }

    /// The cards.
    pub(crate) fn cards(&self) -> Markup {
        html! {
            div.grid {
                div.w-7.stack {
                    (layout::card("", "Revenue", &html! { "excluding tax" }, &self.revenue_trend()))
                    (layout::card("", "Churn risk", &html! { "notice within 90 days" }, &self.churn_reasons()))
                }
                (layout::card("w-5", "Health", &self.health_note(), &self.health_factors()))
            }
        }
    }

    fn health_note(&self) -> Markup {
        html! {
            @if let Some(health) = &self.health {
                (layout::chip(band_tone(&health.state), &health.state.replace('_', " ")))
            }
        }
    }

    fn health_factors(&self) -> Markup {
        let Some(health) = &self.health else {
            return layout::empty("No score for this month", "A customer is scored after each closed month that it was active in.");
        };
        let factors = [
            ("Backup success", health.backup_points),
            ("Payment", health.payment_points),
            ("Support tickets", health.tickets_points),
            ("Feature adoption", health.adoption_points),
            ("Licence utilisation", health.utilisation_points),
        ];
        // A factor without data drops out, and the others count for more.
        let most = most_points(&factors.map(|(_, points)| points.is_some()));
        let trend = self.scores.iter().map(|row| (format::short_month(row.period), row.score));
        html! {
            div.pair {
                div {
                    strong { @match health.score { Some(score) => { (score) " of 100" } None => { "unknown" } } }
                    @if let (Some(now), Some(before)) = (health.score, health.previous_score) {
                        span.soft { @if now == before { "as the month before" } @else { (before) " the month before" } }
                    }
                }
            }
            dl.sum {
                @for ((words, points), most) in factors.into_iter().zip(most) {
                    div { dt { (words) } dd { @match (points, most) { (Some(points), Some(most)) => { (points) small { " of " (most) } } _ => { span.soft { "no data" } } } } }
                }
                @if health.cap_points != 0 { div { dt { "Cap: one factor is at zero" } dd { (format::count(health.cap_points)) } } }
                @if health.overdue_minor > 0 {
                    div { dt { "Overdue" } dd { (format::money(health.overdue_minor, self.currency)) small { " for " (health.overdue_days) " days" } } }
                }
            }
            @if !health.explanation.is_empty() { p.soft { (format::with_minus(&health.explanation)) } }
            (layout::chart(&ChartSpec::new("health", "Score by month", Unit::Count, Form::Line, trend)))
        }
    }

    fn churn_reasons(&self) -> Markup {
        let Some(churn) = &self.churn else {
            return layout::empty("No score for this month", "Only customers that could leave are scored.");
        };
        html! {
            div.pair { div { strong { (format::percent_of_basis(churn.risk_percent)) } (layout::chip(churn.tone(), &churn.risk)) } }
            ul.reasons { @for reason in churn.reasons() { li { (reason) } } }
            p.soft { (churn.sentence()) }
        }
    }

    fn revenue_trend(&self) -> Markup {
        let points = self.revenue.iter().map(|row| (format::short_month(row.period), Some(row.mrr_minor)));
        let usage = self.revenue.iter().map(|row| Some(row.usage_revenue_minor)).collect();
        let spec = ChartSpec::new("mrr", "Recurring and usage revenue", Unit::Money(self.currency), Form::StackedBar, points)
            .named("Recurring")
            .with_series("Usage", SeriesRole::Current, usage);
        layout::chart(&spec)
    }
}
