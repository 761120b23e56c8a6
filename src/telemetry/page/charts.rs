//! Small charts of the last hour, drawn as SVG.

use super::History;
use super::history::Stretch;
use super::html::Html;
use super::words::{count, number, whole};
use crate::telemetry::metrics::Totals;

/// A chart: what is stacked in it, from the bottom up.
struct Chart {
    id: &'static str,
    title: &'static str,
    /// What one of them is; what several are.
    unit: (&'static str, &'static str),
    series: &'static [Series],
    /// What is said below the number of now: of the sums an hour ago and now, and
    /// of the highest point.
    total: fn(&Totals, &Totals, f64) -> String,
}

/// One layer of a chart: its class, its name, and its value.
type Series = (&'static str, &'static str, fn(&Stretch) -> f64);

const CHARTS: [Chart; 3] = [
    Chart {
        id: "requests",
        title: "Requests",
        unit: ("per second", "requests per second"),
        series: &[
            ("fine", "below 400", |one| one.fine),
            ("refused", "400 to 499", |one| one.refused),
            ("failed", "500 and more, or none", |one| one.failed),
        ],
        total: |first, now, _| {
            let all = |totals: &Totals| totals.fine + totals.refused + totals.failed;
            let sum = all(now).saturating_sub(all(first));
            let failed = now.failed.saturating_sub(first.failed);
            format!("{} in the last hour, {} failed", count(sum), count(failed))
        },
    },
    Chart {
        id: "connections",
        title: "Connections",
        unit: ("open", "open connections"),
        series: &[("fine", "open", |one| one.open)],
        total: |_, _, most| format!("at most {} when looked at in the last hour", number(most)),
    },
    Chart {
        id: "handshakes",
        title: "Handshakes",
        unit: ("per second", "handshakes per second"),
        series: &[
            ("fine", "accepted", |one| one.handshakes),
            ("refused", "refused", |one| one.turned_away),
        ],
        total: |first, now, _| {
            let sum = now.handshakes.saturating_sub(first.handshakes);
            let refused = now.turned_away.saturating_sub(first.turned_away);
            format!(
                "{} in the last hour, {} refused",
                count(sum),
                count(refused)
            )
        },
    },
];

/// Writes all charts, and their figures as a table.
pub(super) fn draw(html: &mut Html, stretches: &[Stretch], (first, now): (Totals, Totals)) {
    html.raw("<div class=\"charts\">");
    for chart in &CHARTS {
        chart.draw(html, stretches, (&first, &now));
    }
    html.raw("</div>");
    figures(html, stretches);
}

impl Chart {
    fn draw(&self, html: &mut Html, stretches: &[Stretch], (first, now): (&Totals, &Totals)) {
        let value = |one: &Stretch| self.series.iter().map(|(_, _, of)| of(one)).sum::<f64>();
        let most = stretches.iter().map(value).fold(0.0, f64::max);
        let latest = stretches.last().map_or(0.0, value);
        html.raw("<figure class=\"card chart\" id=\"chart-");
        html.raw(self.id).raw("\"><figcaption><h3>").raw(self.title);
        html.raw("</h3><p class=\"big\"><b>").text(number(latest));
        html.raw("</b> ")
            .raw(self.unit.0)
            .raw("</p><p class=\"small\">");
        html.text((self.total)(first, now, most))
            .raw("</p></figcaption>");
        html.raw("<div class=\"plot\"><span class=\"scale\" aria-hidden=\"true\">");
        html.text(number(ceiling(most))).raw("</span>");
        html.raw(
            "<svg viewBox=\"0 0 240 60\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"",
        );
        html.raw("The last hour: ")
            .raw(self.unit.1)
            .raw(", now ")
            .text(number(latest));
        html.raw(", at most ").text(number(most)).raw("\">");
        html.raw(
            "<path class=\"grid\" d=\"M0 .5H240M0 30H240M0 59.5H240M60 0V60M120 0V60M180 0V60\"/>",
        );
        self.draw_layers(html, stretches, ceiling(most));
        html.raw("</svg><span class=\"axis\" aria-hidden=\"true\"><i>60 min ago</i><i>30</i><i>now</i></span></div>");
        if self.series.len() > 1 {
            html.raw("<ul class=\"legend\" aria-hidden=\"true\">");
            for (class, name, _) in self.series {
                html.raw("<li class=\"")
                    .raw(class)
                    .raw("\">")
                    .raw(name)
                    .raw("</li>");
            }
            html.raw("</ul>");
        }
        html.raw("</figure>");
    }

    /// Each layer stands on those below it, which are drawn over it.
    fn draw_layers(&self, html: &mut Html, stretches: &[Stretch], top: f64) {
        let left = History::STRETCHES.saturating_sub(stretches.len());
        for (index, (class, ..)) in self.series.iter().enumerate().rev() {
            let height = |one: &Stretch| {
                let upto = self.series.iter().take(index + 1);
                let value: f64 = upto.map(|(_, _, of)| of(one)).sum();
                60.0 - 58.0 * value / top
            };
            html.raw("<path class=\"").raw(class).raw("\" d=\"M");
            html.text(left).raw(" 60");
            for (at, one) in stretches.iter().enumerate() {
                let y = height(one);
                let (from, to) = (left + at, left + at + 1);
                html.text(format_args!("L{from} {y:.1}H{to}"));
            }
            html.raw("L240 60Z\"/>");
        }
    }
}

/// The top of a scale: a round number that nothing exceeds.
fn ceiling(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 3.0, 5.0, 10.0];
    let fitting = steps.iter().find(|step| *step * power >= most);
    fitting.unwrap_or(&10.0) * power
}

/// The same in figures, five minutes a row: for those who do not see charts,
/// and those who want to know.
fn figures(html: &mut Html, stretches: &[Stretch]) {
    const COLUMNS: &[super::table::Column] = &[
        ("Minutes ago", ""),
        ("Requests per second", "num"),
        ("400 to 499", "num"),
        ("500 and more", "num"),
        ("Open connections", "num"),
        ("Handshakes per second", "num"),
        ("Refused", "num"),
    ];
    html.raw("<details id=\"figures\" class=\"more\"><summary>The last hour in figures</summary>");
    let mut table = super::table::Table::begin(html, "The last hour in figures", COLUMNS);
    for (row, part) in stretches.rchunks(STRETCHES_OF_A_ROW).enumerate() {
        let average = |of: fn(&Stretch) -> f64| {
            number(part.iter().map(of).sum::<f64>() / part.len().max(1) as f64)
        };
        table.row();
        let minutes = row * MINUTES_OF_A_ROW;
        let cell = table.cell();
        cell.text(minutes)
            .raw(" to ")
            .text(minutes + MINUTES_OF_A_ROW);
        table.cell().text(average(Stretch::requests));
        table.cell().text(average(|one| one.refused));
        table.cell().text(average(|one| one.failed));
        let open = part.iter().map(|one| one.open).sum::<f64>() / part.len().max(1) as f64;
        table.cell().text(count(whole(open)));
        table.cell().text(average(|one| one.handshakes));
        table.cell().text(average(|one| one.turned_away));
    }
    table.end();
    html.raw("</details>");
}

const MINUTES_OF_A_ROW: usize = 5;
const STRETCHES_OF_A_ROW: usize = History::STRETCHES / 60 * MINUTES_OF_A_ROW;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_a_round_number_that_nothing_exceeds() {
        for (most, top) in [
            (0.0, 1.0),
            (0.4, 0.5),
            (21.0, 30.0),
            (1.0, 1.0),
            (7.2, 10.0),
            (1_900.0, 2_000.0),
        ] {
            assert!(
                (ceiling(most) - top).abs() < 1e-9,
                "{most}: {}",
                ceiling(most)
            );
        }
    }

    #[test]
    fn layers_stand_on_each_other_and_end_at_now() {
        let one = Stretch {
            fine: 50.0,
            refused: 50.0,
            ..Stretch::default()
        };
        let mut html = Html::default();
        draw(&mut html, &[one], (Totals::default(), Totals::default()));
        let html = html.into_string();
        assert!(
            html.contains("class=\"refused\" d=\"M239 60L239 2.0H240L240 60Z\""),
            "{html}"
        );
        assert!(
            html.contains("class=\"fine\" d=\"M239 60L239 31.0H240L240 60Z\""),
            "{html}"
        );
        assert!(html.contains("now 100, at most 100"), "{html}");
    }

    #[test]
    fn without_history_there_are_empty_charts() {
        let mut html = Html::default();
        draw(&mut html, &[], (Totals::default(), Totals::default()));
        assert!(!html.into_string().contains("NaN"));
    }
}
